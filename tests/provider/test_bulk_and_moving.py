"""Listing, totals, batches, copy and move: exact or an error, and never both copies lost."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from credstore import (
    KmsKey,
    S3Config,
    S3StorageProvider,
    Secret,
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.driver import DeleteOutcome, ObjectInfo, Page
from credstore.drivers.memory import MemoryDriver, MemoryObject
from tests.provider.support import Spy, over, run


async def fill(provider, count):
    for number in range(count):
        await provider.store(f"k/{number:05d}", b"12")


def test_exact_at_twenty_five_thousand():
    async def main(provider):
        await fill(provider, 25_000)
        await provider.store("other", b"1")
        items = await provider.list("k/")
        assert [item.key for item in items] == [f"k/{number:05d}" for number in range(25_000)]
        stats = await provider.get_stats("k/")
        assert (stats.total_objects, stats.total_size) == (25_000, 50_000)
        assert (await provider.get_stats()).total_objects == 25_001
        assert len(await provider.list("k/", max_keys=1001)) == 1001
        assert await provider.list("k/", max_keys=0) == []

    run(main)


@pytest.mark.parametrize(
    "pages",
    [
        {None: (["a", "b"], "1"), "1": (["c"], "1")},
        {None: (["a", "b"], "1"), "1": (["b"], None)},
        {None: (["b", "a"], None)},
        {None: (["a"], "1"), "1": ([], "2"), "2": ([], "1")},
    ],
    ids=["same cursor", "repeat", "order", "circle"],
)
def test_a_listing_that_cannot_be_true_is_an_error(pages):
    class Lying(Spy):
        async def list(self, prefix="", cursor=None, **options):
            keys, following = pages[cursor]
            page = await super().list("")
            entries = {entry.key: entry for entry in page.entries}
            return Page(entries=[entries[key] for key in keys], cursor=following)

    async def main(provider):
        for key in ("a", "b", "c"):
            await provider.store(key, b"1")
        with pytest.raises(StorageIntegrityError) as caught:
            await provider.list()
        assert caught.value.code == "LISTING"
        with pytest.raises(StorageIntegrityError):
            await provider.get_stats()

    run(main, Lying())


def test_a_key_outside_the_prefix_is_an_error():
    class Lying(Spy):
        async def list(self, prefix="", cursor=None, **options):
            return await super().list("", cursor, **options)

    async def main(provider):
        await provider.store("other", b"1")
        with pytest.raises(StorageIntegrityError, match="not under the prefix"):
            await provider.list("k/")

    run(main, Lying())


@pytest.mark.parametrize("max_keys", [-1, -100])
def test_a_negative_number_of_keys_is_refused(max_keys):
    async def main(provider):
        with pytest.raises(StorageInvalidRequestError):
            await provider.list("", max_keys)

    run(main)


def test_a_batch_has_one_outcome_for_each_key():
    class Failing(Spy):
        async def delete_many(self, keys, *, deadline=None):
            outcomes = dict(await super().delete_many(keys, deadline=deadline))
            for key in keys:
                if key.endswith("7"):
                    outcomes[key] = StorageUnavailableError("not now", applied="maybe")
            outcomes.pop(keys[0])
            return outcomes

    driver = Failing()
    keys = [f"k/{number:05d}" for number in range(2500)]

    async def main(provider):
        result = await provider.batch_delete([*keys, "bad\0key", *keys])
        assert set(result.deleted) | set(result.failed) == {*keys, "bad\0key"}
        assert not set(result.deleted) & set(result.failed)
        assert len(result.deleted) + len(result.failed) == 2501
        assert result.failed["k/00007"].applied == "maybe"
        assert result.failed["k/00007"].operation == "batch_delete"
        assert result.failed["k/00000"].code == "NO_OUTCOME"
        assert result.failed["k/01000"].applied == "maybe"

    run(main, driver)
    assert driver.calls == ["delete_many"] * 3


def test_a_batch_that_fails_as_a_whole_fails_for_each_key():
    class Down(Spy):
        async def delete_many(self, keys, *, deadline=None):
            raise StorageUnavailableError("down", applied="maybe", request_id="r-1")

    async def main(provider):
        result = await provider.batch_delete(["a", "b"])
        assert {key: (error.key, error.request_id) for key, error in result.failed.items()} == {
            "a": ("a", "r-1"),
            "b": ("b", "r-1"),
        }

    run(main, Down())


def test_a_text_is_no_list_of_keys():
    async def main(provider):
        with pytest.raises(StorageInvalidRequestError, match="keys"):
            await provider.batch_delete("abc")
        assert (await provider.batch_delete([])).deleted == ()

    run(main)


def test_copy_and_move_keep_everything():
    async def main(provider):
        given = await provider.store(
            "a/é",
            b"proof" * 100,
            compress="zstd",
            metadata={"who": "Ünï"},
            tags={"kind": "proof"},
            content_type="text/x",
        )
        copied = await provider.copy("a/é", "b/日本")
        assert (copied.digest, copied.plain_size, copied.compression) == (given.digest, 500, "zstd")
        moved = await provider.move("a/é", "c")
        assert moved.key == "c"
        assert await provider.retrieve("a/é") is None
        for key in ("b/日本", "c"):
            item = await provider.get_metadata(key)
            assert (item.metadata, item.content_type) == ({"who": "Ünï"}, "text/x")
            assert await provider.retrieve(key) == b"proof" * 100
        for verb in (provider.copy, provider.move):
            with pytest.raises(StorageNotFoundError):
                await verb("absent", "d")
            assert (await verb("c", "c")).size == moved.size
        assert await provider.retrieve("c") == b"proof" * 100

    run(main)


@pytest.mark.parametrize("applied", ["no", "maybe"])
@pytest.mark.parametrize("nth", range(1, 6))
def test_a_move_that_fails_at_any_call_keeps_a_whole_copy(nth, applied):
    class Failing(Spy):
        done = 0
        armed = False

        def _step(self):
            self.done += self.armed
            return self.done == nth and self.armed

        async def head(self, key, options):
            if self._step():
                raise StorageUnavailableError("down")
            return await super().head(key, options)

        async def copy(self, request):
            if self._step():
                if applied == "maybe":
                    await super().copy(request)
                raise StorageUnavailableError("down", applied=applied)
            return await super().copy(request)

        async def delete(self, key, **options) -> DeleteOutcome:
            if self._step():
                if applied == "maybe":
                    await super().delete(key, **options)
                raise StorageUnavailableError("down", applied=applied)
            return await super().delete(key, **options)

    driver = Failing()

    async def main(provider):
        await provider.store("from", b"precious")
        driver.armed = True
        with suppress(StorageError):
            await provider.move("from", "to")
        driver.armed = False
        found = [await provider.retrieve(key) for key in ("from", "to")]
        assert b"precious" in found
        assert set(found) <= {b"precious", None}

    run(main, driver)


def test_a_move_never_deletes_a_version_it_did_not_copy():
    class Replaced(Spy):
        async def copy(self, request):
            result = await super().copy(request)
            await over(Spy(self.objects)).store("from", b"newer")
            return result

    async def main(provider):
        await provider.store("from", b"older")
        with pytest.raises(StorageConflictError, match="new version is kept") as caught:
            await provider.move("from", "to")
        assert caught.value.applied == "maybe"
        assert await provider.retrieve("from") == b"newer"

    run(main, Replaced())


def test_a_move_whose_source_somebody_else_removed_is_done():
    """A conditional delete of what is absent fails; for a move that is what was wanted."""

    class Removed(Spy):
        async def copy(self, request):
            result = await super().copy(request)
            await MemoryDriver.delete(self, "from")
            return result

    driver = Removed()

    async def main(provider):
        await provider.store("from", b"data")
        await provider.move("from", "to")
        assert driver.calls[-2:] == ["delete", "head"]
        assert (await provider.retrieve("to"), await provider.retrieve("from")) == (b"data", None)

    run(main, driver)


def test_a_version_of_nothing_cannot_be_deleted():
    async def main(provider):
        with pytest.raises(StoragePreconditionFailedError) as caught:
            await provider.delete("nothing", if_match="x")
        assert (caught.value.applied, caught.value.key) == ("no", "nothing")
        assert await provider.delete("nothing") is False

    run(main)


def test_a_copy_that_is_short_keeps_the_source():
    class Lying(Spy):
        async def copy(self, request):
            result = await super().copy(request)
            found = self.objects.by_key[request.destination]
            self.objects.remove(request.destination)
            self.objects.put(replace(found, data=b"", info=replace(found.info, size=0)))
            return result

    async def main(provider):
        await provider.store("from", b"precious")
        with pytest.raises(StorageIntegrityError):
            await provider.move("from", "to")
        assert await provider.retrieve("from") == b"precious"

    run(main, Lying())


@pytest.mark.parametrize("first", ["copy", "get"])
def test_a_copy_that_somebody_else_deletes_is_a_conflict_and_keeps_the_source(first):
    """The provider has acknowledged it, and has lost nothing."""

    class Deleting(Spy):
        async def copy(self, request):
            result = await super().copy(request)
            if first == "copy":
                await MemoryDriver.delete(self, "to")
            return result

        async def get(self, key, options):
            if (first, key) == ("get", "to"):
                await MemoryDriver.delete(self, "to")
            return await super().get(key, options)

    async def main(provider):
        await provider.store("from", b"precious")
        with pytest.raises(StorageConflictError, match="somebody else deleted the copy") as caught:
            await provider.move("from", "to")
        assert caught.value.code == "COPY_MISSING"
        assert await provider.retrieve("from") == b"precious"

    run(main, Deleting())


def test_a_source_that_somebody_else_deletes_before_it_is_compared_is_named():
    class Deleting(Spy):
        async def head(self, key, options):
            return replace(await super().head(key, options), digest=None)

        async def copy(self, request):
            result = await super().copy(request)
            await MemoryDriver.delete(self, "from")
            return result

    async def main(provider):
        await provider.store("from", b"precious")
        with pytest.raises(StorageConflictError, match="deleted the source"):
            await provider.move("from", "to")
        assert await provider.retrieve("to") == b"precious"

    run(main, Deleting())


@pytest.mark.parametrize("replaced", [False, True])
def test_a_move_takes_the_other_way_where_the_server_has_no_conditional_delete(replaced):
    """LocalStack and others answer 501: the source is compared by a look, and deleted without a condition."""

    class Without(Spy):
        async def delete(self, key, **options):
            if options.get("if_match") is not None:
                if replaced:
                    await over(Spy(self.objects)).store("from", b"newer")
                raise StorageUnsupportedError("no such header", applied="no")
            return await super().delete(key, **options)

    async def main(provider):
        await provider.store("from", b"data")
        if replaced:
            with pytest.raises(StorageConflictError, match="new version is kept"):
                await provider.move("from", "to")
            assert await provider.retrieve("from") == b"newer"
            return
        assert (await provider.move("from", "to")).key == "to"
        assert (await provider.retrieve("to"), await provider.retrieve("from")) == (b"data", None)

    run(main, Without())


def test_a_driver_that_breaks_fails_its_own_batch_alone():
    class Broken(Spy):
        async def delete_many(self, keys, *, deadline=None):
            if "k/01500" in keys:
                raise KeyError("secret detail of below")
            return await super().delete_many(keys, deadline=deadline)

    keys = [f"k/{number:05d}" for number in range(2500)]

    async def main(provider):
        result = await provider.batch_delete(key for key in keys)
        assert list(result.deleted) == [*keys[:1000], *keys[2000:]]
        assert list(result.failed) == keys[1000:2000]
        error = result.failed["k/01500"]
        assert (error.code, error.applied, error.key) == ("UNFORESEEN", "maybe", "k/01500")
        assert "secret" not in str(error)

    run(main, Broken())


@pytest.mark.parametrize("keys", [b"abc", 7, None, ["a", 7], ["a", ["b"]], ["a", b"b"]])
def test_what_is_no_list_of_keys_is_refused_before_anything_is_sent(keys):
    driver = Spy()

    async def main(provider):
        await provider.store("a", b"1")
        with pytest.raises(StorageInvalidRequestError):
            await provider.batch_delete(keys)
        assert await provider.exists("a")

    run(main, driver)
    assert "delete_many" not in driver.calls


@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a_destination_that_is_the_source_is_there(verb):
    async def main(provider):
        await provider.store("key", b"precious")
        with pytest.raises(StorageAlreadyExistsError) as caught:
            await getattr(provider, verb)("key", "key", if_absent=True)
        assert caught.value.applied == "no"
        with pytest.raises(StorageNotFoundError):
            await getattr(provider, verb)("absent", "absent", if_absent=True)
        assert await provider.retrieve("key") == b"precious"

    run(main)


def test_a_copy_tells_what_it_knows_and_no_more():
    driver = Spy()
    info = ObjectInfo(key="key", size=1, etag="e", system={"x-compression": "brotli"})
    driver.objects.put(MemoryObject(b"?", info))

    async def main(provider):
        copied = await provider.copy("key", "copy")
        assert (copied.size, copied.compression, copied.plain_size) == (1, None, None)
        moved = await provider.move("key", "moved")
        assert moved.plain_size is None
        assert await provider.retrieve("moved", decode=False) == b"?"
        assert not await provider.exists("key")
        given = await provider.store("stream", [bytes(9_000_000)], compress="zstd")
        copied = await provider.copy("stream", "streamed")
        assert (given.plain_size, copied.plain_size, copied.compression) == (9_000_000, None, "zstd")
        assert copied.content_type == given.content_type == "application/zstd"

    run(main, driver)


def test_a_copy_onto_itself_changes_the_encryption_alone(s3_server):
    config = S3Config(
        bucket=s3_server.bucket,
        endpoint=s3_server.url,
        addressing="path",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret("canary-secret"),
    )

    async def main():
        async with S3StorageProvider(config) as provider:
            given = await provider.store("key", b"precious", metadata={"a": "b"}, compress="gzip")
            assert (await provider.copy("key", "key")).etag == given.etag
            assert (await provider.copy("key", "key", encryption=KmsKey("key-id"))).encryption == "aws:kms"
            item = await provider.get_metadata("key")
            assert (item.encryption, item.metadata, item.digest) == ("aws:kms", {"a": "b"}, given.digest)
            assert await provider.retrieve("key") == b"precious"

    asyncio.run(main())
