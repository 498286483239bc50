"""What credstore keeps for itself in a store: no verb of a user's reads, lists, counts, writes or deletes it."""

import ast
import asyncio
import inspect
import secrets
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import credstore
from credstore import (
    ClientSide,
    CommonPrefix,
    CustomerKey,
    KeyRing,
    KmsKey,
    LocalConfig,
    LocalKey,
    LocalStorageProvider,
    MemoryConfig,
    S3Config,
    S3StorageProvider,
    Secret,
    StorageBucketNotFoundError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageProvider,
    train_dictionary,
)
from credstore.driver import READ_ALL, ReadOptions
from credstore.driver.internal import (
    LARGEST,
    InternalObjects,
    internal_key,
    is_internal,
    is_internal_prefix,
)
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.provider.scanning import PAGE
from credstore.strategies.fallback.detours import FRESH
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing.harness import fetched, keys, put, request
from tests.provider.support import Spy, over
from tests.servers.records import records
from tests.strategies.faulty import Faulty

RECORDS = records(200)
DICTIONARY = train_dictionary(RECORDS, size=16 * 1024)
OLD, NEW = LocalKey(secrets.token_bytes(32)), LocalKey(secrets.token_bytes(32))
SHREDDABLE = ClientSide(KeyRing(OLD), store_id="tests", shreddable=True)
OWN = [
    ".credstore",
    ".credstore/keys/0123456789abcdef0123456789abcdef",
    ".credstore/dictionaries/x",
    ".credstore/failover",
    ".credstore/",
    "/.credstore/x",
    "a/.credstore",
    "team/a/.credstore/keys/x",
    "a//.credstore//b",
]
USERS = [
    ".credstores",
    ".credstore-/x",
    ".credstore+x/y",
    ".credstore=x",
    "a.credstore/x",
    "credstore/x",
    ".CREDSTORE/keys/x",
    ".Credstore",
    ".cred\u017ftore/x",
    "\uff0ecredstore/x",
    ".credstore /x",
    ".credstore\u200b/x",
    ".credstore%2Fkeys/x",
    "%2Ecredstore/keys/x",
    ".credstore\\keys\\x",
]

FAR = datetime(2037, 1, 1, tzinfo=UTC)
VERBS = {
    "store": lambda p, key: p.store(key, b"x"),
    "retrieve": lambda p, key: p.retrieve(key),
    "open": lambda p, key: p.open(key).__aenter__(),
    "retrieve_to": lambda p, key: p.retrieve_to(key, "no such folder/x"),
    "get_metadata": lambda p, key: p.get_metadata(key),
    "exists": lambda p, key: p.exists(key),
    "delete": lambda p, key: p.delete(key),
    "copy": lambda p, key: p.copy(key, "other"),
    "copy, destination": lambda p, key: p.copy("user", key),
    "move": lambda p, key: p.move(key, "other"),
    "move, destination": lambda p, key: p.move("user", key),
    "list_versions": lambda p, key: p.list_versions(key, exact=True),
    "delete_versions": lambda p, key: p.delete_versions(key, exact=True),
    "delete_versions, old": lambda p, key: p.delete_versions(key, exact=True, keep_latest=True),
    "restore": lambda p, key: p.restore(key, "v"),
    "retain": lambda p, key: p.retain(key, until=FAR),
    "hold": lambda p, key: p.hold(key),
    "release": lambda p, key: p.release(key),
    "get_retention": lambda p, key: p.get_retention(key),
    "forget_key": lambda p, key: p.forget_key(key),
    "get_signed_url": lambda p, key: p.get_signed_url(key),
    "get_signed_url, HEAD": lambda p, key: p.get_signed_url(key, method="HEAD"),
    "get_signed_url, PUT": lambda p, key: p.get_signed_url(key, method="PUT"),
    "get_signed_url, DELETE": lambda p, key: p.get_signed_url(key, method="DELETE"),
    "get_signed_url, unchecked": lambda p, key: p.get_signed_url(key, check=False),
    "get_upload_form": lambda p, key: p.get_upload_form(key, max_size=1),
}
PREFIX_VERBS = {
    "list": lambda p, prefix: p.list(prefix),
    "scan": lambda p, prefix: collected(p.scan(prefix)),
    "get_stats": lambda p, prefix: p.get_stats(prefix),
    "list, folders": lambda p, prefix: p.list(prefix, delimiter="/"),
    "list_versions": lambda p, prefix: p.list_versions(prefix),
    "delete_versions": lambda p, prefix: p.delete_versions(prefix),
    "rotate_keys": lambda p, prefix: p.rotate_keys(prefix),
}
ELSEWHERE = {"get_url", "batch_delete"}
"""Verbs with tests of their own; what prefixes a form may have is tested with the forms."""


async def collected(items):
    return [item async for item in items]


async def whole(store, key):
    async with store.open(key) as reader:
        return await reader.read()


class Slow(Spy):
    """Notes listings too, with their limits."""

    def __init__(self, objects=None):
        super().__init__(objects)
        self.limits = []

    async def list(self, prefix="", cursor=None, *, limit=1000, **options):
        self.calls.append("list")
        self.limits.append(limit)
        return await super().list(prefix, cursor, limit=limit, **options)


def test_every_verb_that_takes_a_key_or_prefix_is_tried():
    tried = {name.partition(",")[0] for name in (*VERBS, *PREFIX_VERBS)} | ELSEWHERE
    for name, verb in inspect.getmembers(StorageProvider, inspect.isfunction):
        if not name.startswith("_"):
            taken = {"key", "keys", "prefix", "source", "destination"} & set(
                inspect.signature(verb).parameters
            )
            assert bool(taken) == (name in tried), name


@pytest.mark.parametrize("key", OWN)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_refuses_a_key_of_credstores_own_before_anything_is_sent(verb, key):
    async def main():
        driver = Slow()
        store = over(driver, encryption=ClientSide(KeyRing(OLD), store_id="tests", required=False))
        with pytest.raises(StorageInvalidKeyError) as caught:
            await VERBS[verb](store, key)
        error = caught.value
        assert (error.code, error.key, error.applied, error.retryable) == ("RESERVED_KEY", key, "no", False)
        assert driver.calls == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "prefix", [".credstore/", ".credstore/k", "a/.credstore/", "a/.credstore/keys/x", "/.credstore//"]
)
@pytest.mark.parametrize("verb", PREFIX_VERBS)
def test_a_verb_refuses_a_prefix_inside_it(verb, prefix):
    async def main():
        driver = Slow()
        with pytest.raises(StorageInvalidKeyError) as caught:
            await PREFIX_VERBS[verb](over(driver, encryption=SHREDDABLE), prefix)
        assert caught.value.code == "RESERVED_KEY"
        assert driver.calls == []

    asyncio.run(main())


@pytest.mark.parametrize("key", OWN)
def test_it_has_no_public_url(key):
    with pytest.raises(StorageInvalidKeyError) as caught:
        over(Spy()).get_url(key)
    assert caught.value.code == "RESERVED_KEY"


def test_batch_delete_gives_each_of_its_keys_an_error_and_deletes_the_others():
    async def main():
        driver = Spy()
        store = over(driver)
        for key in ("one", "two", *USERS):
            await store.store(key, b"x")
        for key in OWN:
            await put(driver, key)
        result = await store.batch_delete(["one", *OWN, "two", *USERS])
        assert result.deleted == ("one", "two", *USERS)
        assert {key: error.code for key, error in result.failed.items()} == dict.fromkeys(OWN, "RESERVED_KEY")
        assert all(error.applied == "no" for error in result.failed.values())
        assert sorted(await keys(driver)) == sorted(OWN)
        calls = len(driver.calls)
        assert set((await store.batch_delete(OWN)).failed) == set(OWN)
        assert set((await store.batch_delete(OWN, all_versions=True)).failed) == set(OWN)
        assert len(driver.calls) == calls

    asyncio.run(main())


def test_what_only_looks_like_it_is_a_users_key(tmp_path):
    async def main():
        for store in (over(Spy()), LocalStorageProvider(LocalConfig(path=str(tmp_path)))):
            async with store:
                for key in USERS:
                    assert not is_internal(key)
                    await store.store(key, key.encode())
                assert {item.key for item in await store.list()} == set(USERS)
                assert [await store.retrieve(key) for key in USERS] == [key.encode() for key in USERS]
                assert (await store.get_stats(".credstore")).total_objects == sum(
                    key.startswith(".credstore") for key in USERS
                )

    asyncio.run(main())


@pytest.mark.parametrize("fold", [False, True])
def test_no_users_key_reaches_a_file_of_it_on_a_disk_that_ignores_case(tmp_path, monkeypatch, fold):
    monkeypatch.setattr("credstore.drivers.local.root._probe_fold", lambda directory: fold)

    async def main():
        async with LocalStorageProvider(LocalConfig(path=str(tmp_path))) as store:
            own = internal_key("keys/x")
            await put(store._session.driver, own, b"wrapped")
            before = {str(path.relative_to(tmp_path)).casefold() for path in tmp_path.rglob("*")}
            for number, key in enumerate(
                (".CREDSTORE/keys/x", ".Credstore/KEYS/X", ".credstorE/format", ".cred\u017ftore/keys/x")
            ):
                await store.store(key, b"user's")
                files = [
                    path
                    for path in tmp_path.rglob("*")
                    if path.is_file() and ".credstore" not in path.relative_to(tmp_path).parts
                ]
                assert len(files) == number + 2
                spelled = {str(path.relative_to(tmp_path)).casefold() for path in files}
                assert len(spelled) == len(files), "two objects are one file where case is ignored"
                assert len(spelled & before) == 1
                assert await store.delete(key) is True
                await store.store(key, b"user's")
            assert await fetched(store._session.driver, own) == b"wrapped"

    asyncio.run(main())


def test_a_listing_passes_over_it_and_counts_users_objects_only():
    async def main():
        driver = Slow()
        store = over(driver)
        await store.store("a", b"12345")
        await store.store("z/b", b"123")
        for key in OWN:
            await put(driver, key, b"x" * 100)
        assert [item.key for item in await store.list()] == ["a", "z/b"]
        assert [item.key async for item in store.scan("", 1)] == ["a"]
        assert [item.key for item in await store.list(".")] == []
        assert [item.key for item in await store.list("a")] == ["a"]
        stats = await store.get_stats()
        assert (stats.total_objects, stats.total_size) == (2, 8)

    asyncio.run(main())


def test_max_keys_counts_users_objects_in_few_requests_however_many_others_there_are():
    async def main():
        driver = Slow()
        store = over(driver)
        for number in range(3 * PAGE):
            await put(driver, internal_key(f"keys/{number:032x}"))
        for key in ("a", "b", "c"):
            await put(driver, key)
        for several in ("x/.credstore/keys", "y/.credstore/keys"):
            for number in range(PAGE):
                await put(driver, f"{several}/{number:032x}")
        await put(driver, "y/user")
        assert [item.key for item in await store.list(max_keys=2)] == ["a", "b"]
        assert len(driver.limits) == 2
        driver.limits.clear()
        assert [item.key for item in await store.list()] == ["a", "b", "c", "y/user"]
        assert len(driver.limits) <= 4
        driver.limits.clear()
        assert [item.key for item in await store.list("a", max_keys=1)] == ["a"]
        assert driver.limits == [1]
        assert await store.list(max_keys=0) == []
        assert (await store.get_stats()).total_objects == 4

    asyncio.run(main())


NEAR = [
    ".credstor",
    ".credstore",
    ".credstore+x",
    ".credstore-x",
    ".credstore.x",
    ".credstore/",
    ".credstore/a",
    ".credstore/keys/x",
    ".credstore/z",
    ".credstore/~",
    ".credstore/~~",
    ".credstore/\u00e9",
    ".credstore/\U0010ffff\U0010ffff",
    ".credstore0",
    ".credstore0/x",
    ".credstores",
    "a/.credstore",
    "a/.credstore-x",
    "a/.credstore/.credstore/x",
    "a/.credstore/x",
    "a/.credstore0",
    "a/b",
]
"""What sorts before, among and after credstore's own."""


class Paged(Slow):
    """Gives small pages, and may not know how to begin somewhere; then it leaves out what it gave."""

    def __init__(self, size, *, honours):
        super().__init__()
        self.size = size
        self.honours = honours

    async def list(self, prefix="", cursor=None, *, start_after=None, limit=1000, **options):
        given = start_after if self.honours else None
        page = await super().list(prefix, cursor, start_after=given, limit=min(limit, self.size), **options)
        after = (start_after or "").encode()
        return replace(page, entries=[each for each in page.entries if each.key.encode() > after])


@pytest.mark.parametrize("size", [1, 2, 3, 5, PAGE])
@pytest.mark.parametrize("honours", [True, False])
def test_no_users_object_is_passed_over_with_them(size, honours):
    """Wherever pages end."""

    async def main():
        driver = Paged(size, honours=honours)
        for key in NEAR:
            await put(driver, key)
        users = sorted((key for key in NEAR if not is_internal(key)), key=str.encode)
        store = over(driver)
        assert [item.key for item in await store.list()] == users
        for count in range(len(users) + 1):
            assert [item.key for item in await store.list(max_keys=count)] == users[:count]
        for start in NEAR:
            wanted = [key for key in users if key.encode() > start.encode()]
            assert [item.key for item in await store.list(start_after=start)] == wanted
        assert [item.key for item in await store.list("a/")] == [key for key in users if key.startswith("a/")]

    asyncio.run(main())


def test_a_server_that_ignores_where_to_begin_is_not_asked_again_and_again():
    async def main():
        driver = Paged(2, honours=False)
        for number in range(50):
            for name in ("a", "b", "c"):
                await put(driver, f"{number:02}/.credstore/{name}")
        assert await over(driver).list() == []
        assert len(driver.limits) <= 75 + 3

    asyncio.run(main())


def test_folders_are_listed_without_its_own():
    async def main():
        driver = Slow()
        for key in (*OWN, "team/a/x", "user", ".config/x"):
            await put(driver, key)
        store = over(driver)

        async def shown(prefix):
            found = await store.list(prefix, delimiter="/")
            scanned = [
                each.prefix if isinstance(each, CommonPrefix) else each.key
                async for each in store.scan(prefix, delimiter="/")
            ]
            assert sorted(scanned) == sorted([*found.prefixes, *(each.key for each in found)])
            return scanned

        assert await shown("") == [".config/", "/", "a/", "team/", "user"]
        assert await shown("team/") == ["team/a/"]
        assert await shown("team/a/") == ["team/a/x"]
        assert await shown("a/") == ["a//"]

    asyncio.run(main())


def test_keys_are_rotated_for_users_objects_only():
    async def main():
        driver = Slow()
        async with over(driver, encryption=SHREDDABLE) as store:
            await store.store("a", b"1")
            await store.store("team/b", b"2")
            await put(driver, "team/.credstore/keys/x", b"another store's")
        async with over(
            MemoryDriver(MemoryConfig(), objects=driver.objects),
            encryption=ClientSide(KeyRing(NEW, older=(OLD,)), store_id="tests", shreddable=True),
        ) as store:
            seen = []
            report = await store.rotate_keys(progress=lambda done, total: seen.append(done))
            assert (report.rotated, dict(report.keys), dict(report.failed)) == (2, {NEW.key_id: 2}, {})
            assert len(seen) == 4  # Two looks at two objects.
            assert [await store.retrieve(key) for key in ("a", "team/b")] == [b"1", b"2"]
        assert driver.objects.by_key["team/.credstore/keys/x"].data == b"another store's"

    asyncio.run(main())


@asynccontextmanager
async def on_memory(tmp_path, s3_server):
    objects = MemoryObjects()
    yield lambda **options: over(Spy(objects), **options)


@asynccontextmanager
async def on_disk(tmp_path, s3_server):
    yield lambda **options: LocalStorageProvider(LocalConfig(path=str(tmp_path)), **options)


@asynccontextmanager
async def on_moto(tmp_path, s3_server):
    config = S3Config(
        bucket=s3_server.bucket,
        endpoint=s3_server.url,
        addressing="path",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret("canary-secret"),
    )
    yield lambda **options: S3StorageProvider(config, **options)


@asynccontextmanager
async def on_fallback(tmp_path, s3_server):
    """Writes were diverted, so there is a note at the fallback, and objects at both members."""
    first, second = Faulty("first"), Faulty("second")
    driver = FallbackDriver(first, second)
    first.mode = "down"
    await put(driver, "diverted")
    first.mode = "well"
    assert sorted(second._objects.by_key) == [".credstore/failover", "diverted"]
    yield lambda **options: over(
        FallbackDriver(Faulty("first", first._objects), Faulty("second", second._objects)), **options
    )
    assert ".credstore/failover" in second._objects.by_key


STORES = {"memory": on_memory, "disk": on_disk, "s3": on_moto, "fallback": on_fallback}


@pytest.mark.parametrize("kind", STORES)
def test_deleting_all_that_is_listed_but_one_leaves_that_one_readable(kind, tmp_path, s3_server):
    async def main():
        async with STORES[kind](tmp_path, s3_server) as opened:
            async with opened(encryption=SHREDDABLE) as store:
                await store.store("a", b"precious")
                await store.store("b", b"other")
                await store.batch_delete([item.key for item in await store.list() if item.key != "a"])
                assert [item.key for item in await store.list()] == ["a"]
                assert await store.retrieve("a") == b"precious"
                assert await whole(store, "a") == b"precious"
            async with opened() as store:
                await store.delete("a")
                await store.store("c", RECORDS[0], dictionary=DICTIONARY)
                await store.batch_delete([item.key for item in await store.list() if item.key != "c"])
                stats = await store.get_stats()
                assert stats.total_objects == 1
                assert [each.name for each in await store.list_dictionaries()] == [DICTIONARY.name]
            async with opened() as reading:
                assert await reading.retrieve("c") == RECORDS[0]

    asyncio.run(main())


def test_a_store_leaves_alone_what_a_store_further_down_keeps():
    """A prefix of one store may be another store, which keeps its own objects below that prefix."""

    async def main():
        driver = Spy()
        await put(driver, "team/a/.credstore/keys/x", b"its key")
        await put(driver, "team/a/object", b"its object")
        parent = over(driver)
        assert [item.key for item in await parent.list("team/")] == ["team/a/object"]
        result = await parent.batch_delete(
            [item.key for item in await parent.list()] + ["team/a/.credstore/keys/x"]
        )
        assert list(result.failed) == ["team/a/.credstore/keys/x"]
        assert await keys(driver) == ["team/a/.credstore/keys/x"]

    asyncio.run(main())


def test_a_store_on_a_prefix_keeps_its_own_safe_from_the_store_of_all(tmp_path):
    async def main():
        below = LocalConfig(path=str(tmp_path), prefix="team/a")
        async with (
            LocalStorageProvider(LocalConfig(path=str(tmp_path))) as parent,
            LocalStorageProvider(below, encryption=SHREDDABLE) as child,
        ):
            await child.store("x", b"precious")
            await child.store("y", b"other")
            listed = [item.key for item in await parent.list()]
            assert listed == ["team/a/x", "team/a/y"]
            assert (await parent.get_stats()).total_objects == (await child.get_stats()).total_objects == 2
            own = [entry.key for entry in (await parent._session.driver.list("team/a/.credstore/")).entries]
            assert len(own) == 2
            result = await parent.batch_delete(["team/a/y", *own])
            assert result.deleted == ("team/a/y",)
            assert await child.retrieve("x") == b"precious"

    asyncio.run(main())


def test_dictionaries_are_listed_by_name_and_nothing_else_is_taken_for_one():
    async def main():
        driver = Spy()
        store = over(driver)
        assert await store.list_dictionaries() == []
        await store.add_dictionary(DICTIONARY)
        for name in ("dictionaries/readme", "dictionaries/" + "A" * 64, "keys/" + "0" * 64):
            await put(driver, internal_key(name))
        (found,) = await store.list_dictionaries()
        assert (found.name, found.size) == (DICTIONARY.name, len(DICTIONARY.data))
        assert found.last_modified.tzinfo is not None

    asyncio.run(main())


def test_a_link_that_somebody_else_signed_for_it_grants_nothing():
    async def main():
        from urllib.parse import parse_qsl, urlsplit

        from credstore.driver import SignRequest

        driver = Spy()
        await put(driver, ".credstore/keys/x")
        await put(driver, "user")
        store = over(driver)

        async def granted(key):
            link = urlsplit((await driver.sign(SignRequest(key=key))).url)
            return store.verify_link("GET", link.path, dict(parse_qsl(link.query)))

        assert (await granted("user")).key == "user"
        for key in (".credstore/keys/x", "a/.credstore/x"):
            with pytest.raises(StorageError) as caught:
                await granted(key)
            assert (type(caught.value).__name__, caught.value.code) == (
                "StorageAccessDeniedError",
                "LINK_INVALID",
            )

    asyncio.run(main())


class Bucketless(Spy):
    """The bucket is removed once its objects were seen."""

    async def get(self, key, options=READ_ALL):
        if is_internal(key):
            raise StorageBucketNotFoundError("there is no such bucket")
        return await super().get(key, options)


def test_a_bucket_that_is_missing_when_a_key_or_dictionary_is_looked_up_is_told_as_that():
    async def main():
        for encryption, options in ((SHREDDABLE, {}), (None, {"dictionary": DICTIONARY})):
            driver = Spy()
            await over(driver, encryption=encryption).store("a", RECORDS[0], **options)
            store = over(Bucketless(driver.objects), encryption=encryption)
            for read in (store.retrieve, lambda key, store=store: whole(store, key)):
                with pytest.raises(StorageBucketNotFoundError) as caught:
                    await read("a")
                assert (caught.value.code, caught.value.key) == ("BUCKET_NOT_FOUND", "a")

    asyncio.run(main())


# InternalObjects


class Terms:
    """How the requests are made."""

    def __init__(self, encryption, deadline):
        self.encryption, self.until = encryption, deadline

    def reading(self):
        return ReadOptions(deadline=self.until)

    def deadline(self, *, size):
        return None if self.until is None else self.until + size

    def at_rest(self):
        return self.encryption


def internals(driver, *, encryption=None, deadline=None):
    return InternalObjects(driver, Terms(encryption, deadline))


def test_an_internal_object_comes_back_whole_with_its_digest_and_headers():
    async def main():
        driver = Spy()
        objects = internals(driver, deadline=time.monotonic() + 1000)
        await objects.put("x", b"data", content_type="text/plain", cache_control="no-store")
        assert await objects.get("x") == b"data"
        info = await objects.head("x")
        assert (info.key, info.size, info.headers.content_type) == (".credstore/x", 4, "text/plain")
        assert info.headers.cache_control == "no-store"
        assert (info.system, info.metadata) == ({}, {})
        (sent,) = driver.requests
        assert sent.digest == info.digest
        assert sent.deadline > time.monotonic() + 900
        await driver.delete(".credstore/x")
        for look in (objects.get, objects.head):
            with pytest.raises(StorageObjectNotFoundError):
                await look("x")

    asyncio.run(main())


def test_what_was_changed_or_is_too_large_is_refused():
    async def main():
        driver = Spy()
        objects = internals(driver)
        await objects.put("x", b"data", content_type="text/plain")
        stored = driver.objects.by_key[".credstore/x"]
        driver.objects.put(type(stored)(b"dat!", stored.info, stored.tags))
        with pytest.raises(StorageIntegrityError):
            await objects.get("x")
        driver.objects.put(stored)
        assert await objects.get("x", max_size=4) == b"data"
        with pytest.raises(StorageIntegrityError, match=r"\.credstore/x .* at most 3 bytes"):
            await objects.get("x", max_size=3)
        calls = len(driver.calls)
        with pytest.raises(StorageInvalidRequestError) as caught:
            await objects.put("y", bytes(LARGEST + 1), content_type="text/plain")
        assert caught.value.code == "TOO_LARGE"
        assert len(driver.calls) == calls

    asyncio.run(main())


def test_a_replacement_is_bound_to_the_version_that_was_there():
    async def main():
        driver = Spy()
        objects = internals(driver)
        with pytest.raises(StorageObjectNotFoundError):
            await objects.replace("x", b"1", content_type="text/plain")
        await objects.put("x", b"1", content_type="text/plain")

        class Overtaken(Spy):
            async def head(self, key, options):
                info = await super().head(key, options)
                await put(driver, key, b"another's")
                return info

        with pytest.raises(StoragePreconditionFailedError):
            await internals(Overtaken(driver.objects)).replace("x", b"2", content_type="text/plain")
        assert await objects.get("x") == b"another's"
        await objects.replace("x", b"2", content_type="text/plain")
        assert await objects.get("x") == b"2"

    asyncio.run(main())


@pytest.mark.parametrize(("chosen", "sent"), [(None, "AES256"), (False, None), (KmsKey("id"), KmsKey("id"))])
def test_they_are_encrypted_at_rest_as_the_store_is_and_no_event_of_a_users(s3_server, chosen, sent):
    async def main():
        requests, events = [], []
        config = S3Config(
            bucket=s3_server.bucket,
            endpoint=s3_server.url,
            addressing="path",
            access_key_id="AKIDEXAMPLE",
            secret_access_key=Secret("canary-secret"),
            encryption=chosen,
        )
        async with S3StorageProvider(config, encryption=SHREDDABLE, observers=[events.append]) as store:
            inner = store._session.driver.put

            async def noted(request):
                requests.append(request)
                return await inner(request)

            store._session.driver.put = noted
            await store.store("a", b"x")
            assert await store.retrieve("a") == b"x"
        own, users = requests
        assert is_internal(own.key)
        assert users.key == "a"
        assert own.encryption == users.encryption == sent
        assert own.deadline is not None
        assert [event.key for event in events] == ["a", "a"]

    asyncio.run(main())


def test_the_note_of_a_detour_is_encrypted_as_the_write_that_it_announces():
    class Able(Faulty):
        @property
        def capabilities(self):
            return replace(super().capabilities, sse_s3=True, sse_c=True)

    class Noting(Able):
        async def put(self, request):
            sent.append((request.key, request.encryption))
            return await super().put(replace(request, encryption=None))

    sent = []
    customer = CustomerKey(b"k" * 32)

    async def main():
        for encryption, noted in (("AES256", "AES256"), (customer, None), (None, None)):
            first, second = Able("first"), Noting("second")
            first.mode = "down"
            await FallbackDriver(first, second).put(request("a", encryption=encryption))
            assert sent == [(".credstore/failover", noted), ("a", encryption)]
            sent.clear()

    asyncio.run(main())


@pytest.mark.parametrize("damage", [b"nonsense", b"1" * 100, b""])
def test_a_damaged_note_is_taken_for_the_worst(damage):
    async def main():
        now = [time.time()]
        first, second = Faulty("first"), Faulty("second")
        driver = FallbackDriver(first, second, clock=lambda: now[0])
        await put(driver, "k", b"older, at the primary")
        first.mode = "down"
        await put(driver, "k", b"newer, at the fallback")
        first.mode = "well"
        note = second._objects.by_key[".credstore/failover"]
        for info in (
            note.info,
            (await put(second, ".credstore/failover", damage))
            and second._objects.by_key[".credstore/failover"].info,
        ):
            second._objects.put(type(note)(damage, info, note.tags))
            another = FallbackDriver(first, second, clock=lambda: now[0] + FRESH)
            assert await fetched(another, "k") == b"newer, at the fallback"

    asyncio.run(main())


# Names


@pytest.mark.parametrize("key", OWN)
def test_its_keys_are_known(key):
    assert is_internal(key)


def test_a_prefix_is_inside_only_where_every_key_that_begins_so_is():
    assert [
        is_internal_prefix(prefix) for prefix in ("", ".", ".credstore", "a/.credstore", ".credstore-")
    ] == [False] * 5
    assert [is_internal_prefix(prefix) for prefix in (".credstore/", "a/.credstore/b/c", "/.credstore/")] == [
        True
    ] * 3


def test_no_other_module_spells_its_name():
    """The local driver's names on disk are another matter: there the word is a file's, not a key's."""
    root = Path(credstore.__file__).parent
    allowed = {"driver/internal.py", "drivers/local/names.py", "drivers/local/root.py", "error_codes.py"}
    found = set()
    for path in root.rglob("*.py"):
        tree = ast.parse(path.read_text())
        docs = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                text = node.value
                if text == ".credstore" or ".credstore/" in text:
                    found.add(path.relative_to(root).as_posix())
    assert found <= allowed, found - allowed
    assert "driver/internal.py" in found


# Whatever users do

SEGMENTS = st.sampled_from([".credstore", "a", "b", "", "keys", "x", ".CREDSTORE", ".credstore-", ".", ".."])
KEYS = st.one_of(
    st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join),
    st.sampled_from(OWN),
    st.text(max_size=6),
    st.tuples(st.sampled_from(OWN), st.text("/.abc", max_size=3)).map("".join),
)
PLANTED = {
    internal_key("keys/x"): b"1",
    "a/.credstore/keys/x": b"2",
    ".credstore": b"3",
    "b/.credstore/b/": b"4",
    "/.credstore//": b"5",
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("key"), st.sampled_from(sorted(VERBS)), KEYS),
        st.tuples(st.just("pair"), st.sampled_from(["copy", "move"]), st.tuples(KEYS, KEYS)),
        st.tuples(st.just("prefix"), st.sampled_from(sorted(PREFIX_VERBS)), KEYS),
        st.tuples(st.just("many"), st.just("batch_delete"), st.lists(KEYS, max_size=4)),
        st.tuples(st.just("many"), st.just("delete all that is listed"), st.none()),
    ),
    max_size=15,
)  # fmt: skip


@settings(max_examples=150)
@given(STEPS)
def test_no_sequence_of_verbs_changes_or_shows_it(steps):
    async def do(store, kind, verb, given_):
        if kind == "key":
            return await VERBS[verb](store, given_)
        if kind == "pair":
            return await getattr(store, verb)(*given_)
        if kind == "prefix":
            return await PREFIX_VERBS[verb](store, given_)
        wanted = [item.key for item in await store.list()] if given_ is None else given_
        return await store.batch_delete(wanted)

    async def main():
        driver = Spy()
        for key, data in PLANTED.items():
            await put(driver, key, data)
        before = {key: driver.objects.by_key[key] for key in PLANTED}
        async with over(driver) as store:
            await store.store("user", b"u")
            for kind, verb, given_ in steps:
                try:
                    shown = await do(store, kind, verb, given_)
                except StorageError:
                    continue
                finally:
                    now = {key: found for key, found in driver.objects.by_key.items() if is_internal(key)}
                    assert now == before
                if isinstance(shown, list):
                    assert not any(is_internal(item.key) for item in shown)
                    assert not any(map(is_internal, getattr(shown, "prefixes", ())))
                if verb == "get_stats":
                    users = [
                        key
                        for key in driver.objects.by_key
                        if key.startswith(given_) and not is_internal(key)
                    ]
                    assert shown.total_objects == len(users)

    asyncio.run(main())


def test_the_doctests_of_the_module_hold():
    import doctest

    assert doctest.testmod(sys.modules["credstore.driver.internal"]).failed == 0
