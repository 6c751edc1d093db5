"""Python without network and without the data beside the checkout: whoever asks for either gets an error.

Python imports this module when it starts, if its folder is on PYTHONPATH: so do the processes that a notebook starts.
"""

import os
import sys

FORBIDDEN = os.environ.get("DMG_TEST_FORBIDDEN", "")
"""Folder of which no file may be opened."""
HERE = ("127.", "::1", "localhost")
"""Beginnings of the addresses of this machine, by which a notebook talks to its kernel."""


def _refuse(event: str, args: tuple) -> None:
    if event == "open" and FORBIDDEN and isinstance(args[0], str):
        if os.path.abspath(args[0]).startswith(FORBIDDEN):
            raise OSError(f"this must run without {FORBIDDEN}, and opens {args[0]}")
    elif event in ("socket.connect", "socket.getaddrinfo"):
        address = args[1] if event == "socket.connect" else args
        host = address[0] if isinstance(address, tuple) else None
        if host and not str(host).startswith(HERE):
            raise OSError(f"this must run without network, and asks for {host}")


sys.addaudithook(_refuse)
