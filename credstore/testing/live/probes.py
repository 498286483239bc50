"""What a live check tries, one thing at a time: each with the check or the few requests that show it.

Rules of this file: a probe raises `ConformanceError` where the store does not do the thing, and `NotRunError`
where it cannot be found out here; it runs with the thing granted, so the driver asks the server for it.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from secrets import token_hex

from credstore.driver.capability_report import STORAGE_CLASS
from credstore.driver.contract import ReportsDigests, VersionedDriver
from credstore.driver.values import (
    CREATE,
    Capabilities,
    CopyRequest,
    Precondition,
    ReadOptions,
    SignRequest,
)
from credstore.encryption import CustomerKey
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageError,
    StoragePreconditionFailedError,
)
from credstore.model import NOTHING
from credstore.testing.checks import Check, listing, managing, parts, reading, writing
from credstore.testing.harness import (
    Harness,
    NotRunError,
    fail,
    fetched,
    needed,
    put,
    refuses,
    request,
    require,
    same,
)
from credstore.testing.live import extras

_MINUTE = 60
_OK = 200
_GOOD = range(200, 300)
_WRONG = range(400, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One thing that a store may do.

    Attributes:
        name: As in a report.
        tries: Shows whether it does.
        besides: What else has to be granted for that.
        granted: Whether all stores with these capabilities are relied on for it; None where nothing is. Of
            no use where the name is one that a row grants.
        if_granted: It is tried only where the row grants it, as it keeps objects for a while, or uses keys.
        in_parts: It is about bodies that go in parts, which not every store has.
    """

    name: str
    tries: Check
    besides: tuple[str, ...] = ()
    granted: Callable[[Capabilities], bool | None] = lambda _: True
    in_parts: bool = False
    if_granted: bool = False


def _large(harness: Harness) -> bytes:
    size = needed(harness.large, "a body that goes in parts")
    return (b"0123456789abcdef" * (size // 16 + 1))[:size]


async def _conditional(harness: Harness, data: bytes, mode: str) -> None:
    """A put of `data` under a condition is refused where that does not hold, and done where it does."""
    driver = harness.open()
    first = (await put(driver, "taken", b"first")).etag
    await put(driver, "taken", b"second")
    stale = CREATE if mode == "create" else Precondition("replace", first or "x")
    kind = StorageAlreadyExistsError if mode == "create" else StoragePreconditionFailedError
    call = driver.put(request("taken", data, precondition=stale))
    _of_server(await refuses(call, kind, what=f"a write to {mode}"))
    same(await fetched(driver, "taken"), b"second", "bytes after a write that was refused")
    key = "free" if mode == "create" else "taken"
    now = CREATE if mode == "create" else Precondition("replace", (await driver.head("taken")).etag)
    await driver.put(request(key, data, precondition=now))
    require(await fetched(driver, key) == data, f"a write to {mode} that was accepted is not there")


async def _creates(harness: Harness) -> None:
    driver = harness.open()
    # Alone first: where the driver asks the server whether it keeps conditions, it asks once.
    await driver.put(request("alone", b"data", precondition=CREATE))
    await writing.creates_once(harness)


async def _creates_in_parts(harness: Harness) -> None:
    await _conditional(harness, _large(harness), "create")


async def _replaces_in_parts(harness: Harness) -> None:
    await _conditional(harness, _large(harness), "replace")


async def _sends_parts(harness: Harness) -> None:
    driver = harness.open()
    data = _large(harness)
    await driver.put(request("key", data, metadata={"kind": "Größe"}))
    require(await fetched(driver, "key") == data, "a body that was sent in parts has other bytes")
    same(dict((await driver.head("key")).metadata or {}), {"kind": "Größe"}, "metadata of such an object")


async def _copies(harness: Harness, mode: str) -> None:
    driver = harness.open()
    await put(driver, "key", b"source")
    first = (await put(driver, "taken", b"first")).etag
    await put(driver, "taken", b"second")
    source = await driver.head("key")

    def order(destination: str, condition: Precondition) -> CopyRequest:
        return CopyRequest(
            source=source, destination=destination, write_id=token_hex(16), precondition=condition
        )

    stale = CREATE if mode == "create" else Precondition("replace", first or "x")
    kind = StorageAlreadyExistsError if mode == "create" else StoragePreconditionFailedError
    _of_server(await refuses(driver.copy(order("taken", stale)), kind, what=f"a copy to {mode}"))
    same(await fetched(driver, "taken"), b"second", "bytes after a copy that was refused")
    key = "free" if mode == "create" else "taken"
    now = CREATE if mode == "create" else Precondition("replace", (await driver.head("taken")).etag)
    await driver.copy(order(key, now))
    same(await fetched(driver, key), b"source", "bytes of a copy that was accepted")


async def _pins_copies(harness: Harness) -> None:
    driver = harness.open()
    await put(driver, "key", b"shown")
    source = await driver.head("key")
    await put(driver, "key", b"replaced since")
    if source.version_id is not None:
        raise NotRunError("needs a bucket without versions, as there the copy is pinned to one")
    order = CopyRequest(source=source, destination="copy", write_id=token_hex(16))
    call = driver.copy(order)
    _of_server(await refuses(call, StoragePreconditionFailedError, what="a copy of what was replaced"))


def _of_server(refusal: StorageError) -> None:
    """Continue only if the server itself refused, and it was not the driver that found out afterwards."""
    require(refusal.status_code in _WRONG, "the server did it, and only credstore found out afterwards")


async def _creates_by_copy(harness: Harness) -> None:
    await _copies(harness, "create")


async def _replaces_by_copy(harness: Harness) -> None:
    await _copies(harness, "replace")


async def _lists_in_order(harness: Harness) -> None:
    """By the UTF-8 bytes of the names, whatever their encoding as UTF-16, case or language says."""
    driver = harness.open()
    names = ["a", "a/b", "a-b", "a0", "B", "b", "é", "z", "\uffee", "😀", "a b", "a+b"]
    for name in reversed(names):
        await put(driver, name)
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await driver.list("", cursor, limit=1)  # A driver may sort what is on one page.
        found += [entry.key for entry in page.entries]
        cursor = page.cursor
        if cursor is None:
            break
    same(found, sorted(names, key=str.encode), "names in pages of one")


async def _lists_encoded(harness: Harness) -> None:
    driver = harness.open()
    names = ["a b", "a%20b", "a+b", "a&amp;b", "é"]
    for name in names:
        await put(driver, name)
    page = await driver.list()
    same(sorted(entry.key for entry in page.entries), sorted(names), "names with characters to encode")


async def _etags_are_of_content(harness: Harness) -> None:
    driver = harness.open()
    digest = hashlib.md5(b"data", usedforsecurity=False).hexdigest()
    same((await put(driver, "one", b"data")).etag, digest, "entity tag, which is the MD5 of the bytes")
    same((await put(driver, "two", b"data")).etag, digest, "entity tag of the same bytes elsewhere")


async def _digests_copies(harness: Harness) -> None:
    driver = harness.open()
    if not isinstance(driver, ReportsDigests):
        fail("credstore cannot ask for it here")
    await put(driver, "key", b"data")
    order = CopyRequest(
        source=await driver.head("key"), destination="copy", write_id=token_hex(16), provable=True
    )
    await driver.copy(order)
    found = await driver.stored_digest(await driver.head("copy"))
    same(found, hashlib.sha256(b"data").digest(), "SHA-256 of a copy's bytes")


async def _encrypts(harness: Harness) -> None:
    driver = harness.open()
    if driver.capabilities.sse_s3_implied:
        raise NotRunError("is not asked for here: everything is encrypted at rest anyway")
    result = await driver.put(request("key", b"data", encryption="AES256"))
    same(result.encryption, "AES256", "encryption of a write that asked for it")
    same((await driver.head("key")).encryption, "AES256", "encryption of what was written so")


async def _encrypts_with_customers_key(harness: Harness) -> None:
    driver = harness.open()
    key = CustomerKey(hashlib.sha256(b"a key of a check").digest())
    await driver.put(request("key", b"locked", encryption=key))
    same(await fetched(driver, "key", ReadOptions(customer_key=key)), b"locked", "bytes read with the key")
    try:
        found = await fetched(driver, "key")
    except StorageError:
        return
    fail(f"what was stored under a customer's key is given without it: {found!r}")


async def _keeps_versions(harness: Harness) -> None:
    driver = harness.open()
    if not isinstance(driver, VersionedDriver):
        fail("credstore has no versions here")
    first = await put(driver, "key", b"first")
    if first.version_id is None or not await driver.keeps_versions():
        raise NotRunError("needs a bucket that keeps versions, which this one does not")
    await put(driver, "key", b"second")
    old = await fetched(driver, "key", ReadOptions(version_id=first.version_id))
    same(old, b"first", "bytes of the version before")
    found = [each.key for each in (await driver.list_versions("key", exact=True)).entries]
    same(found, ["key", "key"], "keys of the versions listed")


async def _opens_links(harness: Harness) -> None:
    await _fetched_by_link(harness, NOTHING)


async def _overrides(harness: Harness) -> None:
    await _fetched_by_link(harness, {"content-disposition": 'attachment; filename="a b.txt"'})


async def _fetched_by_link(harness: Harness, overrides: Mapping[str, str]) -> None:
    driver = harness.open()
    fetch = needed(harness.fetch, "a server that responds to links")
    await put(driver, "dir/é +%", b"data")
    link = SignRequest(key="dir/é +%", expires_in=_MINUTE, overrides=overrides)
    answer = await fetch(await driver.sign(link), None)
    same((answer.status, answer.body), (_OK, b"data"), "what a link gives")
    for name, value in overrides.items():
        same(answer.headers.get(name), value, "header that a link imposes")


async def _refuses_wrong_bodies(harness: Harness) -> None:
    """Past the driver, since that sends no such body: by a link, with the MD5 of other bytes."""
    driver = harness.open()
    fetch = needed(harness.fetch, "a server that responds to links")
    if "PUT" not in driver.capabilities.presign:
        raise NotRunError("needs links that write")
    for data, right in ((b"data", True), (b"dath", False)):
        md5 = b64encode(hashlib.md5(b"data", usedforsecurity=False).digest()).decode()
        order = SignRequest(key="key", method="PUT", expires_in=_MINUTE, headers={"content-md5": md5})
        status = (await fetch(await driver.sign(order), data)).status
        if right:
            require(status in _GOOD, f"a body with its MD5 is answered {status}")
        else:
            require(status in _WRONG, f"a body with the MD5 of another is answered {status}")
    same(await fetched(driver, "key"), b"data", "bytes after a wrong body was refused")


def _not_tried(why: str) -> Check:
    async def tries(harness: Harness) -> None:
        del harness
        raise NotRunError(why)

    return tries


def _multipart(able: Capabilities) -> bool:
    return able.multipart


PROBES: tuple[Probe, ...] = (
    Probe(name="conditional_create", tries=_creates),
    Probe(name="conditional_replace", tries=writing.replaces_only_the_named_version),
    Probe(name="conditional_delete", tries=managing.deletes_only_the_named_version),
    Probe(
        name="create_by_multipart", tries=_creates_in_parts, besides=("conditional_create",), in_parts=True
    ),
    Probe(
        name="replace_by_multipart", tries=_replaces_in_parts, besides=("conditional_replace",), in_parts=True
    ),
    Probe(name="create_by_copy", tries=_creates_by_copy, besides=("conditional_create",)),
    Probe(name="replace_by_copy", tries=_replaces_by_copy, besides=("conditional_replace",)),
    Probe(name="pinned_copy", tries=_pins_copies),
    Probe(name="tags", tries=managing.keeps_tags),
    Probe(
        name="tags_in_parts",
        tries=parts.keeps_tags_in_parts,
        besides=("tags",),
        granted=lambda able: able.tags and able.multipart,
        in_parts=True,
    ),
    Probe(name="metadata", tries=writing.keeps_what_is_stored_beside),
    Probe(name="copy_keeps_metadata", tries=managing.copies_everything),
    Probe(name="multipart", tries=_sends_parts, granted=_multipart, in_parts=True),
    Probe(name="copy_in_parts", tries=parts.copies_in_parts, granted=_multipart, in_parts=True),
    Probe(name="ranges", tries=reading.reads_ranges),
    Probe(name="suffix_ranges", tries=reading.reads_the_last_bytes),
    Probe(name="ordered", tries=_lists_in_order),
    Probe(name="delimiter", tries=listing.lists_up_to_a_delimiter),
    Probe(name="any_delimiter", tries=listing.lists_up_to_any_delimiter),
    Probe(name="start_after", tries=listing.lists_from_a_name_on),
    Probe(name="url_encoded_list", tries=_lists_encoded),
    Probe(name="batch_delete", tries=managing.deletes_many_with_an_outcome_each),
    Probe(name="delete_tells_existence", tries=managing.deletes_and_tells),
    Probe(name="content_etags", tries=_etags_are_of_content),
    Probe(name="copy_digests", tries=_digests_copies),
    Probe(name="checksums", tries=_refuses_wrong_bodies, granted=lambda _: None),
    Probe(name="links", tries=_opens_links, granted=lambda able: "GET" in able.presign),
    Probe(name="response_overrides", tries=_overrides),
    Probe(name="versions", tries=_keeps_versions),
    Probe(name="sse_s3", tries=_encrypts),
    Probe(name="sse_c", tries=_encrypts_with_customers_key),
    Probe(name="sse_kms", tries=extras.encrypts_with_key_service, if_granted=True),
    Probe(name="upload_forms", tries=extras.takes_forms),
    Probe(name="acl", tries=_not_tried("would change who may read")),
    Probe(
        name="object_lock",
        tries=extras.locks,
        granted=lambda able: bool(able.retention_modes),
        if_granted=True,
    ),
)
"""In the order of the table."""
EVERYWHERE = frozenset(
    {
        "tags_in_parts",
        "metadata",
        "copy_keeps_metadata",
        "multipart",
        "copy_in_parts",
        "ranges",
        "suffix_ranges",
        "delimiter",
        "any_delimiter",
        "start_after",
        "batch_delete",
        "checksums",
        "links",
        "object_lock",
    }
)
"""What no row grants by name: every store is relied on for it, or has it as its capabilities say."""


def probes_of(able: Capabilities) -> tuple[Probe, ...]:
    """One for each storage class that a row grants."""
    return tuple(
        Probe(
            name=f"{STORAGE_CLASS}{name}",
            tries=partial(extras.keeps_class, name=name),
            granted=lambda _: True,
        )
        for name in sorted(able.storage_classes)
    )
