"""The verbs about versions: list them, and remove what should leave none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing

from credstore.driver.contract import VersionedDriver
from credstore.driver.internal import is_internal
from credstore.driver.refusals import LIST_VERSIONS
from credstore.errors import StorageError, StorageInvalidRequestError
from credstore.model import StorageVersion, VersionsDeletedResult
from credstore.provider.call import Call
from credstore.provider.erasing import erase_below, erase_keys, erase_old
from credstore.provider.removal import Erased, version_pages
from credstore.provider.session import Foundation
from credstore.provider.validation import check_count, check_flag, check_key, check_prefix


class VersionVerbs(Foundation):
    """What a provider does with the versions of its objects, in stores that keep them and in others."""

    async def list_versions(
        self, prefix: str, *, exact: bool = False, max_versions: int | None = None
    ) -> list[StorageVersion]:
        """The versions and delete markers of the objects under a prefix, by key, the newest first.

        Args:
            prefix: Leading part of the keys; "" for all.
            exact: Only those of the very key `prefix`.
            max_versions: Return at most so many; None for all.

        Raises:
            StorageUnsupportedError: The provider keeps no versions, or cannot list them.
            StorageIntegrityError: The provider's listing repeats itself or has no end.
            StorageError: Anything else.

        Cost: 1 request per 1,000 versions.
        """
        with Call(self._lifetime, "list_versions", prefix if exact else None, awaited=False):
            self._check_prefix(prefix, exact=exact)
            if max_versions is not None:
                check_count("max_versions", max_versions)
            driver = self._driver
            if not isinstance(driver, VersionedDriver):
                raise LIST_VERSIONS.of(driver.name)
            found: list[StorageVersion] = []
            async with aclosing(version_pages(driver, prefix, self._deadline, exact=exact)) as pages:
                async for entries, _ in pages:
                    found += [each for each in entries if not is_internal(each.key)]
                    if max_versions is not None and len(found) >= max_versions:
                        return found[:max_versions]
                    self._lifetime.check("list_versions")
            return found

    async def delete_versions(
        self, prefix: str, *, exact: bool = False, keep_latest: bool = False
    ) -> VersionsDeletedResult:
        """Delete the objects under a prefix so that nothing of them is left: no version, no delete marker.

        Older versions go first, so readers find what is there now or nothing, never an older version. What
        was cut off goes on with the same call. What stays is hidden by a delete marker. Where the store keeps
        no versions, deleting the objects is all there is to do. What is written meanwhile may go or stay.

        Args:
            prefix: Leading part of the keys, not empty.
            exact: Only the very key `prefix`, however others begin.
            keep_latest: Leave what the keys stand for now, and remove only what is older.

        Returns:
            How many versions were removed, and which stay: what keeps each, until when.

        Raises:
            StorageInvalidRequestError: An empty prefix, which would be the whole store.
            StorageVersionsRemainError: The credentials may not list versions, so nobody can tell what stays.
            StorageIntegrityError: The provider's listing repeats itself or has no end.
            StorageError: It ended early; the same call again goes on.

        Cost: 1 request where the provider can keep versions, to know whether it does. If not, 1 for one key,
            2 per 1,000 objects of a prefix; if so, 1 and at most 2 more per 1,000 versions, and up to 3 for
            each version that stays.
        """
        with self._call("delete_versions", prefix if exact else None, mutation=True) as call:
            check_flag("keep_latest", keep_latest)
            self._check_prefix(prefix, exact=exact)
            if not prefix:
                raise StorageInvalidRequestError(
                    "an empty prefix would delete every version of the whole store; give a longer one"
                )
            driver, deadline = self._driver, self._deadline
            if keep_latest:
                erased = await erase_old(driver, prefix, deadline, exact=exact)
            elif exact:
                erased = await self._erase_one(prefix)
            else:
                erased = await erase_below(driver, prefix, deadline)
            call.attributes.update(deleted=erased.deleted, remaining=erased.remaining_count)
            for each in erased.remaining:
                call.explain(each.error)
            return VersionsDeletedResult(
                deleted=erased.deleted,
                remaining=tuple(erased.remaining),
                remaining_count=erased.remaining_count,
            )

    async def _erase_one(self, key: str) -> Erased:
        erased, failed = await erase_keys(self._driver, [key], self._deadline)
        for error in failed.values():
            if not erased.remaining:
                raise error
        return erased

    async def _erase_keys(self, keys: Sequence[str]) -> Mapping[str, StorageError]:
        """The errors of removing every version of keys that were checked."""
        return (await erase_keys(self._driver, keys, self._deadline))[1]

    def _check_prefix(self, prefix: str, *, exact: bool) -> None:
        check_flag("exact", exact)
        if exact:
            check_key(prefix, self.capabilities.max_key_size)
        else:
            check_prefix(prefix, self.capabilities.max_key_size)
