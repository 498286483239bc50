"""Checks of `list`."""

from __future__ import annotations

from collections.abc import Sequence

from credstore.driver.contract import Driver
from credstore.errors import StorageUnsupportedError
from credstore.testing.harness import Harness, fill, keys, names, put, refuses, require, same

MANY = 1005


async def lists_all_objects_once(harness: Harness) -> None:
    """Beyond 1,000 objects, a listing is complete, without repeats, ascending by UTF-8 bytes."""
    driver = harness.open()
    names = [f"many/{number:05d}" for number in range(MANY)] + [
        "many",
        "manz",
        "z/é",
        "z/ü",
        "z/\uffee",
        "z/😀",
    ]
    await fill(driver, names)
    names.sort(key=str.encode)
    same(await keys(driver), names, "all keys")
    same(await keys(driver, limit=100), names, "all keys in pages of 100")
    same(
        await keys(driver, "many/"), [name for name in names if name.startswith("many/")], "keys of a prefix"
    )
    same(
        await keys(driver, "many/0050"),
        [f"many/0050{digit}" for digit in range(10)],
        "keys of a part of a name",
    )
    same(await keys(driver, "nothing"), [], "keys of an unused prefix")
    await driver.aclose()


async def lists_sizes_and_versions(harness: Harness) -> None:
    """An entry has size and time, and with `Capabilities.listed_etags` the etag from `head`."""
    driver = harness.open()
    await put(driver, "key", b"12345")
    page = await driver.list()
    same(len(page.entries), 1, "entries")
    entry, info = page.entries[0], await driver.head("key")
    same((entry.key, entry.size), ("key", 5), "key and size listed")
    if entry.etag is not None or driver.capabilities.listed_etags:
        same(entry.etag, info.etag, "etag listed")
    require(entry.last_modified is not None, "no time is listed")
    require(
        entry.last_modified is None or entry.last_modified.utcoffset() is not None, "a time has no time zone"
    )
    await driver.aclose()


async def lists_on_while_objects_go(harness: Harness) -> None:
    """Deleting what was listed does not hide what comes after it."""
    driver = harness.open()
    names = [f"{number:02d}" for number in range(30)]
    await fill(driver, names)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = await driver.list("", cursor, limit=7)
        seen += [entry.key for entry in page.entries]
        for entry in page.entries:
            await driver.delete(entry.key)
        cursor = page.cursor
        if cursor is None:
            break
    found = seen if driver.capabilities.ordered else sorted(seen)
    same(found, names, "keys seen by a listing that deletes as it goes")
    same(await keys(driver), [], "keys left")
    await driver.aclose()


TREE = (
    "a",
    "a-1",
    "a/",
    "a/b",
    "a/b-2",
    "a/b/c",
    "a/b/d",
    "a/x",
    "b//f",
    "b/c/d",
    "b/e",
    "z",
    "é/ü",
    "é/😀/1",
)
PREFIXES = ("", "a", "a/", "a/b", "a/b/", "b/", "b//", "z/", "é", "nothing/")
MARKS = ("", "0", "a", "a-", "a/", "a/b", "a/b/c", "a/b/zz", "b", "b/", "b/c/", "c", "é/ü", "é/😀/", "é😀")
"""Names to start after: keys, prefixes, what is within a prefix, and what does not exist."""


def _wanted(prefix: str, delimiter: str | None, start_after: str | None) -> list[str]:
    """What a listing of the tree shows: keys, and prefixes in place of those beyond the delimiter."""
    found: set[str] = set()
    for key in TREE:
        if key.startswith(prefix):
            cut = -1 if delimiter is None else key.find(delimiter, len(prefix))
            found.add(key if delimiter is None or cut < 0 else key[: cut + len(delimiter)])
    after = (start_after or "").encode()
    return sorted((name for name in found if name.encode() > after), key=str.encode)


async def lists_up_to_a_delimiter(harness: Harness) -> None:
    """With a delimiter, keys beyond it are one prefix, in order with the other names, on any page."""
    driver = harness.open()
    await fill(driver, TREE)
    for prefix in PREFIXES:
        wanted = _wanted(prefix, "/", None)
        for limit in (1, 2, 1000):
            found = await names(driver, prefix, delimiter="/", limit=limit)
            same(found, wanted, f"names under {prefix!r} up to '/', in pages of {limit}")
    page = await driver.list("", delimiter="/")
    keys_there = [entry.key for entry in page.entries]
    same((keys_there, list(page.prefixes)), (["a", "a-1", "z"], ["a/", "b/", "é/"]), "keys and prefixes")
    same(list((await driver.list("a/")).prefixes), [], "prefixes without a delimiter")
    await driver.aclose()


async def lists_up_to_any_delimiter(harness: Harness) -> None:
    """A delimiter other than "/" is honoured too, or refused before anything is sent."""
    driver = harness.open()
    await fill(driver, TREE)
    for delimiter in ("-", "b/", "ü"):
        try:
            found = await names(driver, "", delimiter=delimiter, limit=2)
        except StorageUnsupportedError:
            call = driver.list("", delimiter=delimiter)
            await refuses(call, StorageUnsupportedError, what=f"delimiter {delimiter!r}", harness=harness)
        else:
            same(found, _wanted("", delimiter, None), f"names up to {delimiter!r}")
    await driver.aclose()


async def lists_from_a_name_on(harness: Harness) -> None:
    """`start_after` leaves out what does not come after it, keys and prefixes, on all pages."""
    driver = harness.open()
    await fill(driver, TREE)
    for delimiter in (None, "/"):
        for start_after in MARKS:
            await _from_on(driver, ("", "a/"), delimiter, start_after, (1, 1000))
    await driver.aclose()


async def _from_on(
    driver: Driver, prefixes: Sequence[str], delimiter: str | None, start_after: str, limits: Sequence[int]
) -> None:
    for prefix in prefixes:
        wanted = _wanted(prefix, delimiter, start_after)
        for limit in limits:
            found = await names(driver, prefix, delimiter=delimiter, start_after=start_after, limit=limit)
            what = f"names under {prefix!r} after {start_after!r}, delimiter {delimiter!r}, pages of {limit}"
            same(found, wanted, what)


async def lists_prefixes_without_what_is_below(harness: Harness) -> None:
    """A page of prefixes costs one wire request, however many objects they stand for."""
    if harness.requests is None:
        return
    driver = harness.open()
    await fill(driver, [f"{number:02d}/{each:02d}" for number in range(30) for each in range(40)])
    before = harness.requests()
    page = await driver.list("", delimiter="/")
    same(harness.requests() - before, 1, "wire requests of a page of prefixes")
    same((len(page.entries), len(page.prefixes), page.cursor), (0, 30, None), "objects, prefixes and cursor")
    await driver.aclose()
