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
    from credstore.cli.streams import prepare_streams

    try:
        prepare_streams()
        return _run()
    except KeyboardInterrupt:  # While modules are loaded; afterwards whoever runs a command ends it.
        return _end("interrupted", _INTERRUPTED, "Interrupted")


def _run() -> int:
    gc.disable()  # Looking for garbage while modules are loaded is a fifth of a short command's time.
    try:
        require_extra("cli", "the command line needs")
    except StorageConfigurationError as error:
        from credstore.cli.exits import exit_of

        return _end(f"{error.message} [{error.code}]", exit_of(error), type(error).__name__)
    from credstore.cli.main import run

    return run()


def _end(text: str, code: int, kind: str) -> int:
    """Report a failure as the command line does, which cannot yet."""
    if "--json" in sys.argv:
        import json

        document = {"type": kind, "message": text, "exit_code": int(code)}
        sys.stderr.write(json.dumps({"error": document}) + "\n")
    else:
        sys.stderr.write(f"credstore: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
