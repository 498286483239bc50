"""What writes with the same options have in common, made once.

Rules of this file: what is kept holds no secret and nothing of an object, and a few are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from credstore.driver.values import ContentHeaders, Precondition, PutRequest
from credstore.encryption import CustomerKey, ServerEncryption
from credstore.model import NOTHING

T = TypeVar("T")
W = TypeVar("W")
_MOST = 64


class _Kept(NamedTuple, Generic[T]):
    """Options, and what is made of them."""

    content: ContentHeaders
    precondition: Precondition
    encryption: ServerEncryption | None
    storage_class: str | None
    within: object
    made: T


class SameOptions(Generic[T, W]):
    """Makes something of content headers, condition, encryption and storage class, once for equal ones."""

    def __init__(self, make: Callable[[PutRequest, W], T]) -> None:
        """Keep none yet.

        Args:
            make: Of a write with these options alone; must not look at anything else of it.
        """
        self._make = make
        self._kept: dict[int, _Kept[T]] = {}

    def of(self, request: PutRequest, within: W) -> T | None:
        """What is made of the options, shared by all writes that have them; None where there are rarer ones.

        Args:
            request: The write.
            within: What else it depends on, such as capabilities; compared by identity.

        Raises:
            StorageError: As `make`.
        """
        # An identity costs less than asking a mapping whether it is empty.
        rare = not (request.tags is request.extras is request.driver_options is NOTHING)
        if rare or request.retention is not None or isinstance(request.encryption, CustomerKey):
            return None
        # By identity: hashing and comparing values would cost as much as what is saved.
        kept = self._kept.get(id(request.headers))
        if (
            kept is not None
            and kept.content is request.headers
            and kept.precondition is request.precondition
            and kept.encryption is request.encryption
            and kept.storage_class is request.storage_class
            and kept.within is within
        ):
            return kept.made
        made = self._make(request, within)
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[id(request.headers)] = _Kept(
            request.headers, request.precondition, request.encryption, request.storage_class, within, made
        )
        return made
