"""`python -m credstore` and the `credstore` program."""

from __future__ import annotations

import gc
import sys

from credstore.errors import StorageConfigurationError
from credstore.extras import require_extra

_INTERRUPTED = 130
"""As `Exit.INTERRUPTED` of the command line, which may not be loaded yet."""


def main() -> int:
    """Run the command line, or print one line where its extra is not installed.

    Returns:
        The exit code.
    """
    try:
        return _run()
    except KeyboardInterrupt:  # While modules are loaded; afterwards whoever runs a command ends it.
        sys.stderr.write("credstore: interrupted\n")
        return _INTERRUPTED


def _run() -> int:
    gc.disable()  # Looking for garbage while modules are loaded is a fifth of a short command's time.
    try:
        require_extra("cli", "the command line needs")
    except StorageConfigurationError as error:
        from credstore.cli.exits import exit_of

        sys.stderr.write(f"credstore: {error.message} [{error.code}]\n")
        return exit_of(error)
    from credstore.cli.main import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
