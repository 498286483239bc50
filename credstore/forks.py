"""How often this process has come from a fork.

A connection must not be used by two processes, so whatever holds one compares this number with what it was
when that was made; asking the system for the process each time would cost more.
"""

from __future__ import annotations

import os

count: int = 0
"""Grows in the child process of each fork; read as `forks.count`, since a name that is imported stays."""


def _forked() -> None:
    global count  # noqa: PLW0603 - this module is the number
    count += 1


if hasattr(os, "register_at_fork"):  # Not on Windows, which has no forks.
    os.register_at_fork(after_in_child=_forked)
