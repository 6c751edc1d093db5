"""The command line: sub-commands, and one message and one exit code for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module

from dmg.errors import ConfigError, DmgError, UnknownNameError, did_you_mean

SUBCOMMANDS = {
    "budget": "dmg.cli_budget:main",
    "config": "dmg.cli_config:main",
    "data": "dmg.core.data.command:main",
    "engine": "dmg.cli_engine:main",
    "models": "dmg.cli_models:main",
    "report": "dmg.cli_report:main",
    "route": "dmg.cli_route:main",
    "run": "dmg.cli_run:main",
}

#: What the operating system says of a path that a user named and may not, or cannot, use.
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0 is success, 1 a failed run, 2 a command or configuration that cannot be run, 130 an interruption.

    Parameters
    ----------
    argv
        The words after the program's name; those of the process if not given.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return _command(argv)
    except (ConfigError, UnknownNameError) as error:
        return _say(error, USAGE)
    except DmgError as error:
        return _say(error, FAILED)
    except KeyboardInterrupt:
        return _say("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has enough of it, as `head` does. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if _disk_is_full(error):
            where = getattr(error, "filename", None)
            text = "the disk is full" + (f": {where} could not be written" if where else f" ({error})")
            return _say(f"{text}\n  hint: free some space, or choose another folder with output_dir=…", FAILED)
        if isinstance(error, OSError) and error.errno in REFUSED and error.filename:
            return _say(f"{error.strerror}: {error.filename}\n  hint: correct the path, or choose another", FAILED)
        traceback.print_exc()
        return FAILED


def _command(argv: list[str]) -> int:
    """Hand the words to the sub-command that the first of them names; without one, to ``run``."""
    first = argv[0] if argv else ""
    if first in SUBCOMMANDS:
        return _find(first)(argv[1:])
    if first and not first.startswith(("-", "~", "+")) and "=" not in first:
        raise ConfigError(
            f"'{first}' is neither a sub-command nor an override key=value", hint=did_you_mean(first, SUBCOMMANDS)
        )
    return _find("run")(argv)


def _find(name: str) -> Callable[[Sequence[str]], int]:
    module, _, function = SUBCOMMANDS[name].partition(":")
    return getattr(import_module(module), function)


def _say(error: object, code: int) -> int:
    sys.stdout.flush()
    print(f"error: {error}", file=sys.stderr)
    return code


def _disk_is_full(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that no space is left; some libraries say it in text."""
    found: BaseException | None = error
    while found is not None:
        if getattr(found, "errno", None) == errno.ENOSPC or "No space left on device" in str(found):
            return True
        found = found.__cause__ or found.__context__
    return False
