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
        talkative: Names of loggers; those whose names begin with one are hushed too, also those that are made
            meanwhile, as by the first import of a package.
    """
    thread = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != thread or not record.name.startswith(talkative)

    # A copy: other threads may add some meanwhile.
    known = [
        each for each in list(logging.root.manager.loggerDict.values()) if isinstance(each, logging.Logger)
    ]
    loud: list[logging.Filterer] = [logging.getLogger(name) for name in talkative]
    loud += [each for each in known if each.name.startswith(talkative)]
    # A logger that does not exist yet has no filters, but it can only speak through what handles its records.
    loud += [handler for each in (logging.root, *known) for handler in each.handlers]
    loud += [] if logging.lastResort is None else [logging.lastResort]
    loud = list({id(each): each for each in loud}.values())
    for each in loud:
        each.addFilter(others)
    try:
        yield
    finally:
        for each in loud:
            each.removeFilter(others)
