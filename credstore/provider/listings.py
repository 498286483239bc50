"""The verbs that list: `list` and `scan`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import overload

from credstore.driver.values import ObjectInfo
from credstore.model import CommonPrefix, Listing, StorageItem
from credstore.provider.bulk import scan_names
from credstore.provider.call import Call
from credstore.provider.read import item_of
from credstore.provider.session import Foundation
from credstore.provider.validation import check_count, check_delimiter, check_prefix, check_start_after


class ListingVerbs(Foundation):
    """What is there, by the names of it."""

    async def list(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
    ) -> Listing:
        """All objects under a prefix, ascending by the UTF-8 bytes of their keys.

        With a delimiter only those up to it, as a directory is listed: the keys that go on beyond it are
        not looked at one by one, what they have in common is in `prefixes` of the result. What credstore
        keeps for itself beside them, below a segment `.credstore`, is not among them.

        Args:
            prefix: Leading part of the keys; "" for all.
            max_keys: Return at most so many, objects and prefixes together; None for all, however many
                there are.
            delimiter: Usually "/"; keys that have it after `prefix` are shown as their beginning up to it.
            start_after: Only keys and prefixes after this text, which need not be a key; to go on from the
                last one seen.

        Returns:
            A list of `StorageItem`, with `prefixes`: what to list next, each ending with the delimiter.

        Raises:
            StorageInvalidKeyError: A prefix that no key of a user's can start with.
            StorageIntegrityError: The provider's listing repeats itself, has no end, or ignores the
                delimiter.
            StorageInvalidRequestError: An empty delimiter, or a wrong argument; nothing was sent.
            StorageError: Anything else.

        Cost: 1 request per 1,000 objects and prefixes; a local store reads one directory for "/".
        Source: S3 API ListObjectsV2; promise P11.
        """
        with Call(self._lifetime, "list", None, awaited=False):
            items: list[StorageItem] = []
            prefixes: list[str] = []
            degraded = False
            async for found in self._names(prefix, max_keys, delimiter, start_after):
                degraded = degraded or found.degraded
                if isinstance(found, CommonPrefix):
                    prefixes.append(found.prefix)
                else:
                    items.append(item_of(found, self._driver.name))
                self._lifetime.check("list")
            return Listing(items, prefixes=prefixes, degraded=degraded)

    @overload
    def scan(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: None = None,
        start_after: str | None = None,
    ) -> AsyncIterator[StorageItem]: ...

    @overload
    def scan(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: str,
        start_after: str | None = None,
    ) -> AsyncIterator[StorageItem | CommonPrefix]: ...

    async def scan(
        self,
        prefix: str = "",
        max_keys: int | None = None,
        *,
        delimiter: str | None = None,
        start_after: str | None = None,
    ) -> AsyncIterator[StorageItem | CommonPrefix]:
        """As `list`, one item at a time, in bounded memory; with a delimiter `CommonPrefix`es between them.

        Raises:
            StorageIntegrityError: The provider's listing repeats itself, has no end, or ignores the
                delimiter.
            StorageInvalidRequestError: An empty delimiter, or a wrong argument; nothing was sent.
            StorageError: Anything else.
        """
        with Call(self._lifetime, "list", None, awaited=False):
            async for found in self._names(prefix, max_keys, delimiter, start_after):
                yield found if isinstance(found, CommonPrefix) else item_of(found, self._driver.name)
                self._lifetime.check("list")

    def _names(
        self, prefix: str, max_keys: int | None, delimiter: str | None, start_after: str | None
    ) -> AsyncIterator[ObjectInfo | CommonPrefix]:
        check_prefix(prefix, self.capabilities.max_key_size)
        if max_keys is not None:
            check_count("max_keys", max_keys)
        if delimiter is not None:
            check_delimiter(delimiter)
        if start_after is not None:
            check_start_after(start_after, self.capabilities.max_key_size)
        return scan_names(
            self._driver, prefix, max_keys, self._deadline, delimiter=delimiter, start_after=start_after
        )
