"""Copies and moves beside other writers: the version that was looked at is what is copied and what is deleted."""

import secrets
from dataclasses import replace

import pytest

from credstore import (
    ClientSide,
    KeyRing,
    LocalKey,
    StorageConflictError,
    StorageIntegrityError,
    StoragePreconditionFailedError,
)
from credstore.driver import ObjectInfo, PutResult
from credstore.drivers.memory import MemoryObject
from credstore.pipeline.pipeline import WRAPPED_KEY
from tests.provider.support import Spy, over, run

OLD, NEW = LocalKey(secrets.token_bytes(32)), LocalKey(secrets.token_bytes(32))


def policy(current, *older):
    return ClientSide(KeyRing(current, older=older), store_id="s")


class Unconditional(Spy):
    """Deletes whatever is there; before it looks at the source last, `meanwhile` happens."""

    meanwhile = None

    @property
    def capabilities(self):
        return replace(super().capabilities, conditional_delete=False)

    async def head(self, key, options):
        if self.meanwhile is not None and key == "from" and "copy" in self.calls:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return await super().head(key, options)


def test_a_copy_that_another_writer_replaced_by_the_same_bytes_is_not_ours():
    class Replaced(Spy):
        async def copy(self, request):
            result = await super().copy(request)
            await over(Spy(self.objects)).store("to", b"precious")
            return result

    async def main(provider):
        await provider.store("from", b"precious")
        with pytest.raises(StorageConflictError, match="another writer") as caught:
            await provider.move("from", "to")
        assert caught.value.applied == "maybe"
        assert [await provider.retrieve(key) for key in ("from", "to")] == [b"precious"] * 2

    run(main, Replaced())


def test_a_copy_of_another_length_is_refused_though_its_entity_tag_is_that_of_the_source():
    class Claiming(Spy):
        @property
        def capabilities(self):
            return replace(super().capabilities, content_etags=True)

        async def copy(self, request):
            await super().copy(request)
            copy = self.objects.by_key[request.destination]
            info = replace(copy.info, etag=request.source.etag, size=copy.info.size - 1)
            self.objects.put(replace(copy, info=info))
            return PutResult(key=info.key, size=request.source.size, etag=info.etag)

    async def main(provider):
        await provider.store("from", b"precious")
        with pytest.raises(StorageIntegrityError, match="has 7 bytes where 8 were copied") as caught:
            await provider.move("from", "to")
        assert caught.value.code == "COPY_DIFFERS"
        assert await provider.retrieve("from") == b"precious"

    run(main, Claiming())


@pytest.mark.parametrize("newer", [b"newer", b"older", b"of another length"])
def test_without_conditional_deletes_a_source_that_was_replaced_is_looked_at_and_kept(newer):
    driver = Unconditional()

    async def replaced():
        await over(Spy(driver.objects)).store("from", newer)

    async def main(provider):
        await provider.store("from", b"older")
        driver.meanwhile = replaced
        with pytest.raises(StorageConflictError, match="new version is kept"):
            await provider.move("from", "to")
        assert [await provider.retrieve(key) for key in ("from", "to")] == [newer, b"older"]

    run(main, driver)


def test_without_conditional_deletes_other_bytes_of_another_tool_are_kept():
    driver = Unconditional()

    def put(data, etag):
        driver.objects.put(MemoryObject(data, ObjectInfo(key="from", size=len(data), etag=etag)))

    async def replaced():
        put(b"newer", "2")

    async def main(provider):
        put(b"older", "1")
        driver.meanwhile = replaced
        with pytest.raises(StorageConflictError, match="new version is kept"):
            await provider.move("from", "to")
        assert await provider.retrieve("from") == b"newer"

    run(main, driver)


def test_a_source_that_somebody_removed_meanwhile_has_been_moved():
    driver = Unconditional()

    async def removed():
        driver.objects.remove("from")

    async def main(provider):
        await provider.store("from", b"precious")
        driver.meanwhile = removed
        assert (await provider.move("from", "to")).key == "to"
        assert [await provider.retrieve(key) for key in ("from", "to")] == [None, b"precious"]

    run(main, driver)


def test_a_source_is_deleted_by_its_version_where_the_store_can():
    deleted = []

    class Telling(Spy):
        async def delete(self, key, **options):
            deleted.append((key, options.get("if_match")))
            return await super().delete(key, **options)

    async def main(provider):
        stored = await provider.store("from", b"precious")
        await provider.move("from", "to")
        assert deleted == [("from", stored.etag)]

    run(main, Telling())


def test_an_encrypted_copy_keeps_no_key_of_its_source_beside_it():
    driver = Spy()

    async def main(store):
        await store.store("from", b"precious", encryption=policy(OLD))
        assert (await store.rotate_keys()).rotated == 1
        assert WRAPPED_KEY in driver.objects.by_key["from"].info.system
        await store.copy("from", "to")
        assert WRAPPED_KEY not in driver.objects.by_key["to"].info.system
        for key in ("from", "to"):
            assert await store.retrieve(key, encryption=policy(NEW)) == b"precious"

    run(main, driver, encryption=policy(NEW, OLD))


@pytest.mark.parametrize("newer", [b"newer", b"of another length"])
def test_an_encrypted_copy_is_of_the_version_that_was_looked_at(newer):
    class Replaced(Spy):
        async def get_tags(self, key, **options):
            await over(Spy(self.objects), encryption=policy(OLD)).store("from", newer)
            return await super().get_tags(key, **options)

    async def main(provider):
        await provider.store("from", b"older")
        with pytest.raises(StoragePreconditionFailedError) as caught:
            await provider.copy("from", "to")
        assert caught.value.applied == "no"
        assert [await provider.retrieve(key) for key in ("from", "to")] == [newer, None]

    run(main, Replaced(), encryption=policy(OLD))
