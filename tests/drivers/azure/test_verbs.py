"""Users' verbs on Azure: what a store promises, over this driver."""

import asyncio

import pytest

from credstore import StorageProvider
from credstore.errors import StorageInvalidKeyError
from tests.drivers.azure.fake import FakeAzure


def run(check, fake=None, **settings):
    fake = fake or FakeAzure()

    async def whole():
        config = fake.config(**settings)
        async with StorageProvider(fake.driver(**settings), config) as store:
            return await check(fake, store)

    return asyncio.run(whole())


def test_a_move_keeps_tier_tags_and_headers_of_what_others_stored():
    """Its read-back comes without the tier, which only a HEAD reports."""

    async def check(fake, store):
        fake.put(
            "theirs", b"data", headers={"content-type": "text/plain"}, meta={"my_name": "x"}, tags={"a": "1"},
            tier="Cool", inferred=False,
        )  # fmt: skip
        await store.move("theirs", "moved")
        moved = fake.now("moved")
        assert fake.now("theirs") is None
        assert (moved.data, moved.tier, moved.inferred) == (b"data", "Cool", False)
        assert (moved.headers["content-type"], moved.tags) == ("text/plain", {"a": "1"})
        assert moved.meta["my_name"] == "x"

    run(check)


def test_a_tier_that_a_copy_lost_keeps_the_source():
    async def check(fake, store):
        fake.put("theirs", b"data", tier="Cool", inferred=False)

        def lost(sent, serve):
            answer = serve(sent)
            if sent.method == "PUT":
                fake._replace(
                    "moved",
                    fake.now("moved"),
                    type(fake.now("moved"))(**{**fake.now("moved").__dict__, "tier": "Hot"}),
                )
            return answer

        fake.faults.append(lost)
        with pytest.raises(Exception, match="storage class"):
            await store.move("theirs", "moved")
        assert fake.now("theirs").data == b"data"

    run(check)


def test_erasing_leaves_no_version():
    async def check(fake, store):
        for number in range(3):
            await store.store("key", b"%d" % number)
            await store.store("key2", b"%d" % number)
        versions = await store.list_versions("key", exact=True)
        assert [each.is_latest for each in versions] == [True, False, False]
        assert await store.retrieve("key", version_id=versions[2].version_id) == b"0"
        await store.delete("key")
        assert await store.retrieve("key") is None
        assert len(fake.blobs["key"]) == 3
        result = await store.delete_versions("key", exact=True)
        assert (result.deleted, result.remaining_count) == (3, 0)
        assert set(fake.blobs) == {"key2"}
        result = await store.delete_versions("key2", exact=True, keep_latest=True)
        assert [each.data for each in fake.blobs["key2"]] == [b"2"]

    run(check, FakeAzure(versions=True))


def test_a_store_without_versions_is_known_by_its_own_writes():
    async def check(fake, store):
        await store.store("key", b"data")
        before = len(fake.sent)
        result = await store.batch_delete(["key"], all_versions=True)
        assert (result.deleted, len(fake.sent) - before) == (("key",), 1)

    run(check)


def test_a_key_that_azure_would_change_is_refused_by_every_verb():
    async def check(fake, store):
        for call in (
            store.store("a\\b", b"x"), store.retrieve("a\\b"), store.exists("a\\b"), store.delete("a\\b"),
            store.copy("a\\b", "c"), store.get_signed_url("a\\b"),
        ):  # fmt: skip
            with pytest.raises(StorageInvalidKeyError, match="backslash"):
                await call
        assert not fake.sent

    run(check)


def test_tags_and_metadata_of_any_text_come_back():
    async def check(fake, store):
        metadata = {
            "2nd": "x",
            "a_2db": "y",
            "x-owner": "Ünï",
            "plain_name": "",
            "dots.in": "=?UTF-8?B?eA==?=",
        }
        tags = {"größe": "x = y+z", "a=2D": "=2D", "empty": ""}
        await store.store("key", b"x", metadata=metadata, tags=tags)
        assert dict((await store.get_metadata("key")).metadata) == metadata
        assert {"plain_name", "_32nd", "x_2downer"} <= set(fake.now("key").meta)
        assert all(name.replace("_", "a").isalnum() for name in fake.now("key").meta)
        assert dict(await store._session.driver.get_tags("key")) == tags
        await store.copy("key", "copy")
        assert dict((await store.get_metadata("copy")).metadata) == metadata
        assert dict(await store._session.driver.get_tags("copy")) == tags

    run(check)


@pytest.mark.parametrize("versions", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_what_soft_delete_keeps_is_not_called_gone(versions, known):
    """Also where only the deletion itself shows that it is on."""

    async def check(fake, store):
        if known:
            await store.store("other", b"x")
            await store.delete("other")
        for data in (b"one", b"two"):
            await store.store("key", data)
        result = await store.batch_delete(["key"], all_versions=True)
        error = result.failed["key"]
        assert error.code == "VERSIONS_REMAIN"
        assert {each.error.code for each in error.remaining} == {"LOCKED"}
        assert all("soft delete" in str(each.error) for each in error.remaining)
        assert await store.retrieve("key") is None
        left = await store.list_versions("key", exact=True)
        assert left[0].is_delete_marker
        assert all(each.version_id.startswith("soft-deleted:") for each in left[1:])
        assert len(left) == (3 if versions else 2)

    run(check, FakeAzure(versions=versions, soft=True))
