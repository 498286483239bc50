"""`python -m credstore` and the `credstore` program."""

from __future__ import annotations

import gc
import sys

from credstore.errors import StorageConfigurationError
from credstore.extras import require_extra


def main() -> int:
    """Run the command line, or print one line where its extra is not installed.

    Returns:
        The exit code.
    """
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
