"""No frame with a secret: what fails on settings fails with a traceback that ends where it was called.

What users hand in (a mapping, a URL, the environment) may have secrets in plain text, and so has every
frame that reads it. Error reporters that show the locals of frames would show them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from credstore.errors import StorageError

P = ParamSpec("P")
R = TypeVar("R")


def traceless(function: Callable[P, R]) -> Callable[P, R]:
    """The same function, of whose errors no traceback has a frame that saw its arguments.

    The messages of credstore's errors say which setting is wrong without its value, so nothing is lost
    that users need. Any other exception keeps its frames.
    """

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except StorageError as error:
            failure = error.with_traceback(None)
        del args, kwargs
        failure.__context__ = failure.__cause__ = None
        raise failure

    return called
