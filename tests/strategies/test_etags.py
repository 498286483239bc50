"""A version of replicas has one entity tag, whichever member responds; conditions go by it or are refused."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import MemoryConfig, Secret, StorageProvider
from credstore.config.stores import LocalConfig, S3CompatibleConfig
from credstore.driver import READ_ALL, CopyRequest, ReadOptions
from credstore.driver.values import ObjectInfo
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver
from credstore.drivers.s3.driver import S3Driver
from credstore.errors import (
    StorageConnectionError,
    StoragePreconditionFailedError,
    StorageQuorumError,
    StorageUnsupportedError,
)
from credstore.provider.validation import checked_etag
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.passing import PassingDriver
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.strategies.redundant.stamps import Stamp, etag_of, etag_shown, same_version, stamp_of
from credstore.testing.harness import fetched, put
from credstore.transfer import migrate

STRATEGIES = (RedundantDriver, FastestDriver)
DATA = bytes(range(256)) * 8


class Door(PassingDriver):
    """A member that can be out of reach, and counts what would change it; closed by whoever made it."""

    def __init__(self, inner) -> None:
        super().__init__(inner)
        self.shut = False
        self.changes = 0

    def _pass(self) -> None:
        if self.shut:
            raise StorageConnectionError("it cannot be reached", applied="no")

    def changing(self, *keys):
        self._pass()
        self.changes += 1
        return super().changing(*keys)

    async def get(self, key, options=READ_ALL):
        self._pass()
        return await super().get(key, options)

    async def head(self, key, options=READ_ALL):
        self._pass()
        return await super().head(key, options)

    async def list(self, prefix="", cursor=None, **options):
        self._pass()
        return await super().list(prefix, cursor, **options)

    async def aclose(self) -> None:
        """Other drivers use it too."""


def run(main):
    async def bounded():
        async with asyncio.timeout(120):
            await main()

    asyncio.run(bounded())


@asynccontextmanager
async def members_of(tmp_path, server):
    """One on a disk, one in memory and one at S3: each makes etags of its own."""
    keys = {"access_key_id": "test", "secret_access_key": Secret("test")}
    made = [
        LocalDriver(LocalConfig(path=str(tmp_path))),
        MemoryDriver(MemoryConfig()),
        S3Driver(S3CompatibleConfig(bucket=server.bucket, endpoint=server.url, region="us-east-1", **keys)),
    ]
    try:
        yield [Door(each) for each in made]
    finally:
        for each in made:
            await each.aclose()


@asynccontextmanager
async def process(kind, doors):
    """A driver that knows nothing yet."""
    driver = kind(doors)
    try:
        yield driver
    finally:
        await driver.aclose()


async def everywhere(driver, key, data=DATA):
    result = await put(driver, key, data)
    await driver.settled()
    return result


@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_version_has_one_etag_whichever_member_responds(kind, tmp_path, s3_server):
    async def main():
        async with members_of(tmp_path, s3_server) as doors, process(kind, doors) as writer:
            etag = (await everywhere(writer, "key")).etag
            own = [(await door.head("key")).etag for door in doors]
            assert len({*own, etag}) == 4
            for away in (None, *range(3)):
                for number, door in enumerate(doors):
                    door.shut = number == away
                async with process(kind, doors) as reader:
                    for _ in range(3):  # The fastest is found out by asking each.
                        assert (await reader.head("key")).etag == etag
                        assert (await reader.head("key", ReadOptions(if_match=etag))).size == len(DATA)
                        async with await reader.get("key") as whole:
                            assert whole.info.etag == etag
                        options = ReadOptions(start=256, end=300, if_match=etag)
                        assert await fetched(reader, "key", options) == DATA[256:300]
                        assert await fetched(reader, "key", ReadOptions(suffix=5, if_match=etag)) == DATA[-5:]
                    for other in (*own, "another"):
                        with pytest.raises(StoragePreconditionFailedError):
                            await fetched(reader, "key", ReadOptions(if_match=other))
                        with pytest.raises(StoragePreconditionFailedError):
                            await reader.head("key", ReadOptions(if_match=other))

    run(main)


@pytest.mark.parametrize("kind", STRATEGIES)
def test_another_write_has_another_etag(kind, tmp_path, s3_server):
    """Also of the same bytes, and at a member that missed it."""

    async def main():
        async with members_of(tmp_path, s3_server) as doors, process(kind, doors) as writer:
            first = (await everywhere(writer, "key")).etag
            doors[0].shut = True
            second = (await everywhere(writer, "key")).etag
            assert first != second
            doors[0].shut = False
            async with process(kind, doors) as reader:
                with pytest.raises(StoragePreconditionFailedError):
                    await fetched(reader, "key", ReadOptions(if_match=first))
                assert await fetched(reader, "key", ReadOptions(if_match=second)) == DATA
                await reader.settled()
                await reader.scrubber.scrub()
                assert (await reader.head("key")).etag == second  # As before it was repaired.
            doors[1].shut = True
            async with process(kind, doors) as reader:
                assert await fetched(reader, "key", ReadOptions(if_match=second)) == DATA

    run(main)


@pytest.mark.parametrize("kind", STRATEGIES)
def test_what_cannot_be_known_is_not_a_failed_condition(kind, tmp_path, s3_server):
    async def main():
        async with members_of(tmp_path, s3_server) as doors, process(kind, doors) as writer:
            etag = (await everywhere(writer, "key")).etag
            for door in doors[:2]:
                door.shut = True
            async with process(kind, doors) as reader:
                with pytest.raises(StorageQuorumError):
                    await reader.head("key", ReadOptions(if_match=etag))

    run(main)


@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_listing_has_no_etags_but_those_it_looked_up(kind, tmp_path, s3_server):
    async def main():
        async with members_of(tmp_path, s3_server) as doors, process(kind, doors) as driver:
            assert not driver.capabilities.listed_etags
            await everywhere(driver, "key")
            await everywhere(driver, "shorter")
            doors[0].shut = True
            etag = (await everywhere(driver, "shorter", b"-")).etag
            doors[0].shut = False
            async with process(kind, doors) as reader:
                entries = (await reader.list()).entries
                assert [(each.key, each.size, each.etag) for each in entries] == [
                    ("key", len(DATA), None),
                    ("shorter", 1, etag),
                ]

    run(main)


@pytest.mark.parametrize("kind", STRATEGIES)
def test_a_copy_is_of_the_version_that_was_looked_at(kind, tmp_path, s3_server):
    async def main():
        async with members_of(tmp_path, s3_server) as doors, process(kind, doors) as writer:
            await everywhere(writer, "key")
            source = await writer.head("key")
            doors[0].shut = True
            async with process(kind, doors) as other:
                copied = await other.copy(CopyRequest(source=source, destination="copy", write_id="1" * 32))
                assert (await other.head("copy")).etag == copied.etag != source.etag
                await everywhere(other, "key", b"other")
                with pytest.raises(StoragePreconditionFailedError):
                    await other.copy(CopyRequest(source=source, destination="copy", write_id="2" * 32))
                assert await fetched(other, "copy") == DATA

    run(main)


@pytest.mark.parametrize("kind", STRATEGIES)
def test_conditional_changes_are_refused_before_anything_is_sent(kind, tmp_path, s3_server):
    """Clouds cannot be changed together at one instant, so no etag makes this compare-and-swap (P31)."""

    async def main():
        async with members_of(tmp_path, s3_server) as doors:
            store = StorageProvider(kind(doors), MemoryConfig())
            etag = (await store.store("key", DATA)).etag
            item = await store.get_metadata("key")
            assert item.etag == etag
            await store._session.driver.settled()
            before = [door.changes for door in doors]
            for call in (
                lambda: store.store("key", b"", if_match=etag),
                lambda: store.store("new", b"", if_absent=True),
                lambda: store.delete("key", if_match=etag),
                lambda: store.copy("key", "new", if_absent=True),
            ):
                with pytest.raises(StorageUnsupportedError) as caught:
                    await call()
                assert caught.value.applied == "no"
            assert [door.changes for door in doors] == before
            assert await store.retrieve("key") == DATA
            await store.aclose()

    run(main)


class Foreign(MemoryDriver):
    """Has what other tools have stored: no stamps, write-ids or digests."""

    async def head(self, key, options=READ_ALL):
        return _foreign(await super().head(key, options))

    async def get(self, key, options=READ_ALL):
        reader = await super().get(key, options)
        reader.info = _foreign(reader.info)
        return reader


def _foreign(info):
    return replace(info, system={}, write_id=None, digest=None)


@pytest.mark.parametrize("kind", STRATEGIES)
def test_what_other_tools_stored_at_one_member_is_read(kind):
    async def main():
        members = [Foreign(MemoryConfig()) for _ in range(3)]
        await put(members[1], "key", b"theirs")
        store = StorageProvider(kind(members), MemoryConfig())
        item = await store.get_metadata("key")
        assert (item.etag, item.size) == ((await members[1].head("key")).etag, 6)
        assert await store.retrieve("key") == b"theirs"
        options = ReadOptions(start=1, if_match=item.etag)
        assert await fetched(store._session.driver, "key", options) == b"heirs"
        assert await store.delete("key")
        assert await store.retrieve("key") is None
        await store.aclose()

    run(main)


WHEN = datetime(2024, 1, 1, tzinfo=UTC)


@given(
    st.builds(
        ObjectInfo,
        key=st.just("key"),
        size=st.just(1),
        etag=st.just("theirs"),
        last_modified=st.just(WHEN),
        system=st.just({}) | st.builds(lambda text: {"credstore-stamp": text}, st.text(max_size=17)),
        write_id=st.none() | st.text(max_size=40),
        digest=st.none() | st.binary(max_size=32),
    )
)
def test_an_etag_can_be_a_condition_whatever_a_member_says(info):
    etag = etag_shown(info, stamp_of(info))
    assert checked_etag(etag) == etag
    assert same_version(info, info)


def test_versions_that_differ_have_different_etags():
    assert len({etag_of(Stamp(time, tie)) for time in (1, 2) for tie in ("a", "b", "ü", '"')}) == 8


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("moved", [False, True])
def test_transfers_know_versions_of_replicas(kind, moved, tmp_path, s3_server):
    """What is unchanged is not read again by a later run, and a move deletes what it has read."""

    async def main():
        async with members_of(tmp_path / "member", s3_server) as doors, process(kind, doors) as driver:
            store = StorageProvider(driver, MemoryConfig())
            names = {f"k{number}" for number in range(20)}
            for name in names:
                await store.store(name, name.encode())
            await driver.settled()
            goal = {"journal": tmp_path / "journal", "delete_source": moved}
            for away in (None, 0):
                doors[0].shut = away == 0
                report = await migrate(store, tmp_path / "there", **goal)
                assert not [event for event in report.events if event.kind in {"failed", "changed"}]
                if away is None:
                    assert report.counts.get("moved" if moved else "copied") == 20
                else:
                    assert report.compared_by == ({} if moved else {"journal": 20})
                    doors[0].shut = False
            assert {each.name for each in (tmp_path / "there").iterdir()} == names
            assert {item.key async for item in store.scan()} == (set() if moved else names)
            await store.aclose()

    run(main)
