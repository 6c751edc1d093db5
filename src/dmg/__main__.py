"""``python -m dmg``."""

import sys

from dmg.cli import main

if __name__ == "__main__":
    sys.exit(main())
