"""Errors that are made of others, each with what it was made of as its cause."""

from __future__ import annotations

from typing import NoReturn

from credstore.errors import StorageError


def raise_explained(found: StorageError, error: StorageError) -> NoReturn:
    """Raise what was made of an error, with the error as its cause; nothing if it is the error itself.

    An error that is its own cause would never end for whoever follows the causes.

    Args:
        found: What was made of it.
        error: As it was caught; to be called where it is handled.

    Raises:
        StorageError: `found`.
    """
    if found is error:
        raise error
    raise found from error
