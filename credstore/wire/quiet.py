"""Other packages' logs kept quiet about the credentials that they handle for us."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def hushed(*talkative: str) -> Generator[None]:
    """Keep this thread's requests and responses out of the log, whatever level the application has chosen.

    Args:
        talkative: Names of loggers; those whose names begin with one are hushed too.
    """
    thread = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    # A copy: other threads may add some meanwhile.
    known = [name for name in list(logging.root.manager.loggerDict) if name.startswith(talkative)]
    loggers = [logging.getLogger(name) for name in {*known, *talkative}]
    for logger in loggers:
        logger.addFilter(from_elsewhere)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(from_elsewhere)
