"""`python -m credstore` and the `credstore` program."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> int:
    """Run the command line; one line instead of it where its extra is not installed.

    Returns:
        The exit code.
    """
    if any(find_spec(needed) is None for needed in ("click", "rich")):
        sys.stderr.write("credstore: the command line needs its extra: pip install 'credstore[cli]'\n")
        return 1
    from credstore.cli.main import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
