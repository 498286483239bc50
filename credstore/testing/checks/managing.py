"""Checks of `delete`, `delete_many` and `copy`."""

from __future__ import annotations

from dataclasses import replace
from secrets import token_hex

from credstore.driver.contract import TaggedDriver
from credstore.driver.values import ContentHeaders, CopyRequest, ObjectInfo, Precondition, ReadOptions
from credstore.encryption import CustomerKey
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageError,
    StorageIntegrityError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.testing.harness import (
    Harness,
    fetched,
    fill,
    keys,
    needed,
    put,
    refuses,
    request,
    same,
    unsupported,
)


async def deletes_and_tells(harness: Harness) -> None:
    """A deleted object is gone for everyone; deleting a missing object is not an error."""
    driver = harness.open()
    await put(driver, "key")
    outcome = await driver.delete("key")
    again = await driver.delete("key")
    told = (True, False) if driver.capabilities.delete_tells_existence else (None, None)
    same((outcome.existed, again.existed), told, "whether an object existed, as reported by two deletes")
    same(await fetched(driver, "key"), None, "bytes of a deleted object")
    same(await keys(driver), [], "keys after a delete")
    await driver.aclose()


async def deletes_only_the_named_version(harness: Harness) -> None:
    """`if_match` deletes that version and no other."""
    driver = harness.open()
    first = await put(driver, "key", b"one")
    if not driver.capabilities.conditional_delete:
        await unsupported(
            driver.delete("key", if_match=first.etag or "etag"), "delete with if_match", harness
        )
        same(await fetched(driver, "key"), b"one", "bytes after a refused delete")
        await driver.aclose()
        return
    second = await put(driver, "key", b"two")
    call = driver.delete("key", if_match=first.etag)
    await refuses(call, StoragePreconditionFailedError, what="deleting an old version")
    same(await fetched(driver, "key"), b"two", "bytes after a refused delete")
    await driver.delete("key", if_match=second.etag)
    same(await fetched(driver, "key"), None, "bytes after a delete")
    await driver.aclose()


async def deletes_no_version_of_nothing(harness: Harness) -> None:
    """`if_match` on what is not there fails, whatever it names; nothing was applied."""
    driver = harness.open()
    if not driver.capabilities.conditional_delete:
        await unsupported(driver.delete("never-there", if_match="x"), "delete with if_match", harness)
        await driver.aclose()
        return
    await put(driver, "key")
    etag = (await driver.head("key")).etag or "x"
    await driver.delete("key")
    for key, named in (("key", etag), ("never-there", etag), ("never-there", "x")):
        call = driver.delete(key, if_match=named)
        error = await refuses(call, StoragePreconditionFailedError, what="deleting a version of nothing")
        same(error.applied, "no", "`applied` of deleting a version of nothing")
    await driver.aclose()


async def deletes_many_with_an_outcome_each(harness: Harness) -> None:
    """Every key of a batch has one outcome, and is gone unless that is an error."""
    driver = harness.open()
    names = [f"batch/{number:03d}" for number in range(60)]
    await fill(driver, names[:40])
    outcomes = await driver.delete_many(names)
    same(sorted(outcomes), names, "keys with an outcome")
    failed = [key for key, outcome in outcomes.items() if isinstance(outcome, StorageError)]
    same(failed, [], "keys that could not be deleted")
    same(await keys(driver), [], "keys left")
    await driver.aclose()


async def deletes_from_the_store(harness: Harness) -> None:
    """What was deleted, alone or in a batch, lies in the store no more."""
    peek = needed(harness.peek, "`peek`")
    driver = harness.open()
    await fill(driver, ["one", "two", "three"])
    await driver.delete("one")
    same(await peek("one"), None, "bytes in the store after a delete")
    await driver.delete_many(["two", "three"])
    same([await peek(key) for key in ("two", "three")], [None, None], "bytes in the store after a batch")
    await driver.aclose()


async def copies_everything(harness: Harness) -> None:
    """A copy has the source's bytes, headers, metadata and digest, and its own write-id."""
    driver = harness.open()
    given = request(
        "quelle/é +%",
        b"data of the copy",
        headers=ContentHeaders(content_type="image/png", cache_control="no-store", content_language="fr"),
        metadata={"author": "Ünï"},
        system={"x-compression": "none"},
    )
    await driver.put(given)
    source = await driver.head(given.key)
    order = CopyRequest(source=source, destination="ziel/日本 語", write_id=token_hex(16))
    result = await driver.copy(order)
    same(result.size, 16, "size of the copy")
    copied = await driver.head(order.destination)
    same(_carried(copied), _carried(source), "what is stored with the copy")
    same(copied.write_id, order.write_id, "write-id of the copy")
    same(await fetched(driver, order.destination), b"data of the copy", "bytes of the copy")
    same(await fetched(driver, given.key), b"data of the copy", "bytes of the source")
    await driver.aclose()


def _carried(info: ObjectInfo) -> tuple[object, ...]:
    return (info.size, info.headers, dict(info.metadata or {}), dict(info.system or {}), info.digest)


async def copies_under_a_customer_key(harness: Harness) -> None:
    """What is encrypted with a customer-provided key is read and copied with it, and the copy keeps it."""
    driver = harness.open()
    key = CustomerKey(b"k" * 32)
    order = request("locked", b"under a key", encryption=key)
    if not driver.capabilities.sse_c:
        await unsupported(driver.put(order), "storing under a customer key", harness)
        await driver.aclose()
        return
    try:
        await driver.put(order)
    except StorageIntegrityError as error:
        same(error.code, ErrorCode.NOT_ENCRYPTED, "why a write under a customer key failed")
        same(await fetched(driver, "locked"), None, "bytes of a write that was not encrypted")
        await driver.aclose()
        return
    options = ReadOptions(customer_key=key)
    source = await driver.head("locked", options)
    await driver.copy(
        CopyRequest(
            source=source, destination="copy", write_id=token_hex(16), encryption=key, source_customer_key=key
        )
    )
    async with await driver.get("copy", options) as copy:
        same(await copy.read(), b"under a key", "bytes of the copy")
        same(copy.info.encryption, "SSE-C", "encryption of the copy")
    await driver.aclose()


async def copies_the_version_it_was_shown(harness: Harness) -> None:
    """A source that was replaced or removed since `head` is not copied."""
    driver = harness.open()
    await put(driver, "key", b"shown")
    source = await driver.head("key")
    await put(driver, "key", b"replaced since")
    order = CopyRequest(source=source, destination="copy", write_id=token_hex(16))
    if source.version_id is not None:
        # What was shown still exists, as a version.
        await driver.copy(order)
        same(await fetched(driver, "copy"), b"shown", "bytes of a copy of the version that was shown")
        await driver.aclose()
        return
    await refuses(driver.copy(order), StoragePreconditionFailedError, what="copying a replaced source")
    same(await fetched(driver, "copy"), None, "bytes of a refused copy")
    await driver.delete("key")
    await driver.delete("copy")
    await refuses(driver.copy(order), StorageNotFoundError, what="copying a removed source")
    same(await fetched(driver, "copy"), None, "bytes of a copy of nothing")
    await driver.aclose()


async def copies_under_a_condition(harness: Harness) -> None:
    """A copy that must not replace anything does not."""
    driver = harness.open()
    await put(driver, "key", b"source")
    await put(driver, "taken", b"other")
    order = CopyRequest(
        source=await driver.head("key"),
        destination="taken",
        write_id=token_hex(16),
        precondition=Precondition("create"),
    )
    if driver.capabilities.conditional_create:
        # Some stores have the condition only for puts.
        kinds = (StorageAlreadyExistsError, StorageUnsupportedError)
        await refuses(driver.copy(order), *kinds, what="copying onto an object")
    else:
        await unsupported(driver.copy(order), "copy with if_absent", harness)
    same(await fetched(driver, "taken"), b"other", "bytes after a refused copy")
    await driver.aclose()


async def keeps_tags(harness: Harness) -> None:
    """A driver that has tags reports them, replaces them, and keeps them with every copy."""
    driver = harness.open()
    if not isinstance(driver, TaggedDriver) or not driver.capabilities.tags:
        await driver.aclose()
        return  # `refuses_what_it_has_not` checks those without tags.
    tags = {"a": "1", "größe": "x = y+z", "empty": ""}
    await driver.put(request("key", b"tagged", tags=tags))
    await put(driver, "plain")
    same(dict(await driver.get_tags("key")), tags, "tags of an object")
    same(dict(await driver.get_tags("plain")), {}, "tags of an object without")
    order = CopyRequest(source=await driver.head("key"), destination="copy", write_id=token_hex(16))
    await driver.copy(order)
    same(dict(await driver.get_tags("copy")), tags, "tags of a copy")
    order = CopyRequest(source=await driver.head("key"), destination="key", write_id=token_hex(16), system={})
    await driver.copy(order)
    same(dict(await driver.get_tags("key")), tags, "tags after a copy onto itself")
    await driver.put_tags("key", {"b": "2"})
    same(dict(await driver.get_tags("key")), {"b": "2"}, "tags after they were replaced")
    same(await fetched(driver, "key"), b"tagged", "bytes after the tags were replaced")
    same(dict(await driver.get_tags("copy")), tags, "tags of a copy after its source's were replaced")
    await driver.put_tags("key", {})
    same(dict(await driver.get_tags("key")), {}, "tags after all were removed")
    for call in (driver.get_tags("absent"), driver.put_tags("absent", {"a": "1"})):
        await refuses(call, StorageNotFoundError, what="tags of an object that is not there")
    await driver.aclose()


async def copies_onto_itself(harness: Harness) -> None:
    """A copy onto itself rewrites credstore's own metadata, and nothing else."""
    driver = harness.open()
    given = request(
        "key",
        b"data that stays",
        headers=ContentHeaders(content_type="image/png"),
        metadata={"author": "Me"},
        system={"x-compression": "none", "credstore-before": "1"},
    )
    await driver.put(given)
    source = await driver.head("key")
    system = {"x-compression": "none", "credstore-after": "2"}
    order = CopyRequest(source=source, destination="key", write_id=token_hex(16), system=system)
    await driver.copy(order)
    copied = await driver.head("key")
    same(dict(copied.system or {}), system, "credstore's own metadata after the copy")
    same(_carried(replace(copied, system=source.system)), _carried(source), "what else is stored with it")
    same(copied.write_id, order.write_id, "write-id after the copy")
    same(await fetched(driver, "key"), b"data that stays", "bytes after the copy")
    await driver.aclose()
