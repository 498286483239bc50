"""Checks of the optional protocols `VersionedDriver` and `RetainingDriver`.

A driver that implements neither passes them; one that does, in a store without versions, must say so.
"""

from __future__ import annotations

from secrets import token_hex

from credstore.driver.contract import Driver, RetainingDriver, VersionedDriver
from credstore.driver.values import CopyRequest, ReadOptions
from credstore.errors import StorageError, StorageUnsupportedError
from credstore.model import Retention, StorageVersion
from credstore.testing.harness import Harness, fail, fetched, keys, put, request, require, same


async def keeps_versions_apart(harness: Harness) -> None:
    """Every version is listed only with its own key, once, the newest as the latest, and can be read."""
    driver = harness.open()
    versioned = await with_versions(driver)
    if versioned is not None:
        await put(driver, "key", b"one")
        suspended = (await put(driver, "key", b"second")).version_id is None
        await driver.delete("key")
        await put(driver, "key2", b"other")
        await put(driver, "ke", b"other")
        found = await all_versions(versioned, "key", exact=True)
        same(
            [each.key for each in found if each.key != "key"], [], "other keys among the versions of one key"
        )
        content = [each for each in found if not each.is_delete_marker]
        if suspended:
            same(content, [], "versions where versioning is suspended")
        else:
            await _all_there(driver, versioned, found, content)
    await driver.aclose()


async def _all_there(
    driver: Driver, versioned: VersionedDriver, found: list[StorageVersion], content: list[StorageVersion]
) -> None:
    same(len({each.version_id for each in found}), len(found), "different ids of versions")
    # A strategy lists what each member has, one after the other.
    latest = [each.served_by for each in found if each.is_latest]
    same(
        sorted(latest),
        sorted({each.served_by for each in found}),
        "stores of the versions that are the latest",
    )
    require(
        found[0].is_latest and found[0].is_delete_marker, "a deletion is not listed as the latest version"
    )
    same([each.size for each in content], [6, 3], "sizes of the versions, the newest first")
    same(await all_versions(versioned, "key", exact=True, limit=1), found, "the same in pages of 1")
    below = await all_versions(versioned, "key", limit=2)
    same({each.key for each in below}, {"key", "key2"}, "keys of the versions under a prefix")
    if driver.capabilities.versions:
        options = ReadOptions(version_id=content[1].version_id)
        same(await fetched(driver, "key", options), b"one", "bytes of an old version")


async def removes_versions_for_good(harness: Harness) -> None:
    """A removed version is gone, and nothing else; each has an outcome, even a missing one."""
    driver = harness.open()
    versioned = await with_versions(driver)
    if versioned is not None:
        await put(driver, "key", b"one")
        await put(driver, "key", b"second")
        await put(driver, "key2", b"other")
        found = await all_versions(versioned, "key", exact=True)
        older = [each for each in found if not each.is_latest]  # None where versioning is suspended.
        await _remove(versioned, older)
        latest = [each for each in found if each.is_latest]
        same(
            await all_versions(versioned, "key", exact=True), latest, "versions after the others were removed"
        )
        await _remove(versioned, older)
        same(await fetched(driver, "key"), b"second", "bytes after the older versions were removed")
        await driver.delete("key")
        await _remove(versioned, await all_versions(versioned, "key", exact=True))
        same(await all_versions(versioned, "key", exact=True), [], "versions after all were removed")
        same(await keys(driver), ["key2"], "keys after all versions of another were removed")
        same(await fetched(driver, "key2"), b"other", "bytes of another key")
    await driver.aclose()


async def tells_what_keeps_a_version(harness: Harness) -> None:
    """Where nothing keeps a version, that is what is reported."""
    driver = harness.open()
    versioned = await with_versions(driver)
    if versioned is not None and isinstance(driver, RetainingDriver):
        await put(driver, "key", b"one")
        for version in await all_versions(versioned, "key", exact=True):
            retention = await driver.get_retention("key", version.version_id)
            same(retention, Retention(), "retention of a version that nothing keeps")
    await driver.aclose()


async def restores_a_version(harness: Harness) -> None:
    """A kept version that is copied onto its own key is the current one, also under a delete marker."""
    driver = harness.open()
    versioned = await with_versions(driver)
    if versioned is not None and driver.capabilities.versions:
        first = await driver.put(request("key", b"one", metadata={"a": "b"}))
        await put(driver, "key", b"second")
        if first.version_id is not None:  # None where versioning is suspended.
            source = await driver.head("key", ReadOptions(version_id=first.version_id))
            for deleted in (False, True):
                if deleted:
                    await driver.delete("key")
                order = CopyRequest(source=source, destination="key", write_id=token_hex(16))
                await driver.copy(order)
                same(await fetched(driver, "key"), b"one", "bytes of a version that was restored")
                now = await driver.head("key")
                same(
                    (now.metadata, now.write_id), ({"a": "b"}, order.write_id), "metadata and write-id of it"
                )
            found = await all_versions(versioned, "key", exact=True)
            sizes = sorted(each.size for each in found if not each.is_delete_marker)
            same(sizes, [3, 3, 3, 6], "sizes of all versions after one was restored twice")
            old = await fetched(driver, "key", ReadOptions(version_id=first.version_id))
            same(old, b"one", "bytes of the version that was restored")
    await driver.aclose()


async def says_when_it_keeps_no_versions(harness: Harness) -> None:
    """`keeps_versions` is false only where a delete leaves nothing."""
    driver = harness.open()
    if isinstance(driver, VersionedDriver) and not await driver.keeps_versions():
        await put(driver, "key", b"one")
        await put(driver, "key", b"second")
        outcome = await driver.delete("key")
        same(outcome.version_id, None, "delete marker of a store that says it keeps no versions")
        try:
            left = await all_versions(driver, "key", exact=True)
        except StorageUnsupportedError:
            left = []
        same(left, [], "versions left by a delete in a store that says it keeps none")
    await driver.aclose()


async def with_versions(driver: Driver) -> VersionedDriver | None:
    """The driver, if its store keeps versions now, and not only something that it cannot list."""
    if not isinstance(driver, VersionedDriver) or not await driver.keeps_versions():
        return None
    if not driver.capabilities.versions:
        try:
            await driver.list_versions("key", exact=True, limit=1)
        except StorageUnsupportedError:
            return None
    return driver


async def all_versions(
    driver: VersionedDriver, prefix: str, *, exact: bool = False, limit: int = 1000
) -> list[StorageVersion]:
    """All versions of a listing, page by page."""
    found: list[StorageVersion] = []
    cursor: str | None = None
    while True:
        page = await driver.list_versions(prefix, cursor, exact=exact, limit=limit)
        require(len(page.entries) <= limit, f"a page has {len(page.entries)} versions, more than {limit}")
        found += page.entries
        if page.cursor is None:
            return found
        require(page.cursor != cursor, "a listing of versions returns the same cursor twice")
        cursor = page.cursor


async def _remove(driver: VersionedDriver, versions: list[StorageVersion]) -> None:
    asked = [(each.key, each.version_id) for each in versions]
    outcomes = await driver.delete_versions(asked)
    same(sorted(outcomes), sorted(asked), "versions with an outcome")
    for outcome in outcomes.values():
        if isinstance(outcome, StorageError):
            fail(f"a version could not be removed: {outcome}")
