"""What was promised to be gone is gone in every version, or the call says which stay and until when."""

import asyncio
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from credstore import (
    ClientSide,
    KeyRing,
    LocalKey,
    MemoryConfig,
    S3CompatibleStorageProvider,
    S3StorageProvider,
)
from credstore.driver import VersionPage
from credstore.driver.refusals import LIST_VERSIONS
from credstore.drivers.memory import MemoryDriver
from credstore.errors import (
    ErrorCode,
    RemainingVersion,
    StorageAccessDeniedError,
    StorageDecryptionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnavailableError,
    StorageUnsupportedError,
    StorageVersionsRemainError,
)
from credstore.model import Retention, StorageVersion
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.testing import count_requests
from tests.conformance.raw_s3 import RawS3
from tests.conformance.versioned import VersionedMemory, Versions
from tests.conftest import S3Server
from tests.drivers.s3.support import make_driver, minio_config, put_request, s3_config
from tests.provider.support import Spy, over, run
from tests.servers.moto import MotoServer

FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
PAST = datetime(2020, 1, 1, tzinfo=UTC)


def on_moto(server: MotoServer, test, *, state: str | None = "Enabled", **options):
    """Run `test(provider, raw)` on a fresh bucket whose versions are in this state; "Lock" for Object Lock."""

    async def main():
        place = S3Server(server.url, server.make_bucket(object_lock=state == "Lock"))
        raw = RawS3(place)
        if state in {"Enabled", "Suspended"}:
            raw.switch_versions(state)
        async with S3StorageProvider(s3_config(place.url, bucket=place.bucket), **options) as provider:
            return await test(provider, raw)

    return asyncio.run(main())


def on_memory(test, versions: Versions | None = None, **options):
    """Run `test(provider, versions)` over a memory store that keeps versions."""
    kept = versions or Versions()

    async def main():
        async with over(VersionedMemory(kept), **options) as provider:
            return await test(provider, kept)

    return asyncio.run(main())


async def overwritten(provider, *keys):
    for key in keys:
        for data in (b"one", b"second"):
            await provider.store(key, data)


@pytest.mark.parametrize("state", [None, "Enabled", "Suspended", "Lock"])
def test_one_key_is_gone_in_every_version_and_no_other(moto_server, state):
    async def check(provider, raw):
        await overwritten(provider, "a", "ab", "a/b")
        await provider.delete("a")
        await provider.store("a", b"third")
        result = await provider.delete_versions("a", exact=True)
        assert result.complete
        assert (result.remaining, result.remaining_count, result.retain_until) == ((), 0, None)
        if state in {"Enabled", "Lock"}:
            assert result.deleted == 3
        assert raw.names() == {"ab", "a/b"}
        assert await provider.retrieve("a") is None
        assert await provider.retrieve("ab") == b"second"
        again = await provider.delete_versions("a", exact=True)
        assert again.complete
        assert raw.names() == {"ab", "a/b"}

    on_moto(moto_server, check, state=state)


def test_a_version_that_is_not_there_is_told_alike_by_every_read(moto_server):
    async def check(store, _raw):
        await store.store("k", b"one")
        (there,) = [each.version_id for each in await store.list_versions("k", exact=True)]
        await store.delete("k", version_id=there)
        await store.store("k", b"another")
        for read in (store.retrieve, store.get_metadata, store.get_signed_url):
            with pytest.raises(StorageNotFoundError) as caught:
                await read("k", version_id=there)
            assert (caught.value.code, caught.value.key) == ("VERSION_NOT_FOUND", "k"), read
        assert await store.get_metadata("nothing") is None

    on_moto(moto_server, check)


def test_what_was_only_hidden_before_goes_too(moto_server):
    async def check(provider, raw):
        await overwritten(provider, "a")
        await provider.delete("a")
        await provider.delete("a")
        assert (await provider.delete_versions("a", exact=True)).deleted == 2
        assert raw.names() == set()

    on_moto(moto_server, check)


def test_versions_stored_before_they_were_switched_on_go_too(moto_server):
    async def check(provider, raw):
        await provider.store("a", b"null")
        raw.switch_versions("Enabled")
        await provider.store("a", b"later")
        assert (await provider.delete_versions("a", exact=True)).deleted == 2
        assert raw.names() == set()

    on_moto(moto_server, check, state=None)


@pytest.mark.parametrize("state", [None, "Enabled", "Suspended"])
def test_a_prefix_is_gone_in_every_version(moto_server, state):
    async def check(provider, raw):
        await overwritten(provider, "p/a", "p/b c", "p/ü", "q")
        await provider.delete("p/a")
        result = await provider.delete_versions("p/")
        assert result.complete
        assert raw.names() == {"q"}
        assert (await provider.delete_versions("p/")).deleted == 0

    on_moto(moto_server, check, state=state)


def test_a_batch_is_gone_in_every_version(moto_server):
    async def check(provider, raw):
        await overwritten(provider, "a", "b", "c")
        await provider.delete("b")
        result = await provider.batch_delete(["a", "b", "never"], all_versions=True)
        assert (result.deleted, dict(result.failed)) == (("a", "b", "never"), {})
        assert raw.names() == {"c"}

    on_moto(moto_server, check)


def test_deleting_as_usual_hides_and_nothing_more(moto_server):
    async def check(provider, raw):
        await overwritten(provider, "a", "b")
        await provider.delete("a")
        await provider.batch_delete(["b"])
        assert len(raw.versions()) == 4
        assert len(raw.markers()) == 2

    on_moto(moto_server, check)


def test_what_is_kept_is_told_with_its_end_and_hidden(moto_server):
    async def check(provider, raw):
        ids = [(await provider.store("a", data)).version_id for data in (b"1", b"2", b"3", b"4")]
        raw.retain("a", ids[0], FAR)
        raw.retain("a", ids[1], FAR - timedelta(days=1), "GOVERNANCE")
        raw.hold("a", ids[2])
        for _ in range(2):  # Again is the same.
            result = await provider.delete_versions("a", exact=True)
            told = {
                each.version_id: (each.retain_until, each.mode, each.legal_hold) for each in result.remaining
            }
            assert told == {
                ids[0]: (FAR, "compliance", False),
                ids[1]: (FAR - timedelta(days=1), "governance", False),
                ids[2]: (None, None, True),
            }
            assert {each.error.code for each in result.remaining} == {ErrorCode.LOCKED}
            assert not result.complete
            assert (result.remaining_count, result.retain_until) == (3, FAR)
            assert set(raw.versions()) == {("a", each) for each in ids[:3]}
            assert await provider.retrieve("a") is None
        raw.hold("a", ids[2], "OFF")
        assert (await provider.delete_versions("a", exact=True)).remaining_count == 2

    on_moto(moto_server, check, state="Lock")


def test_a_batch_tells_of_each_key_what_keeps_it(moto_server):
    async def check(provider, raw):
        kept = await provider.store("kept", b"1")
        await provider.store("free", b"2")
        raw.retain("kept", kept.version_id, FAR)
        result = await provider.batch_delete(["kept", "free"], all_versions=True)
        assert result.deleted == ("free",)
        error = result.failed["kept"]
        assert isinstance(error, StorageVersionsRemainError)
        assert isinstance(error, StorageAccessDeniedError)
        assert isinstance(error, PermissionError)
        (version,) = error.remaining
        assert (version.key, version.version_id, version.retain_until) == ("kept", kept.version_id, FAR)
        assert "2037-01-02T03:04:05Z" in str(error)
        assert "compliance" in str(error)
        assert (error.code, error.key, error.operation) == (ErrorCode.VERSIONS_REMAIN, "kept", "batch_delete")
        assert error.applied == "maybe"
        copy = pickle.loads(pickle.dumps(error))
        assert copy.remaining[0].retain_until == FAR
        assert str(copy) == str(error)
        assert raw.names() == {"kept"}

    on_moto(moto_server, check, state="Lock")


@pytest.mark.parametrize(
    ("state", "one", "many", "below"),
    [
        (
            None,
            {"DeleteObject": 1, "GetBucketVersioning": 1},
            {"DeleteObjects": 1, "GetBucketVersioning": 1},
            3,
        ),
        (
            "Enabled",
            {"GetBucketVersioning": 1, "ListObjectVersions": 1, "DeleteObjects": 2},
            {"GetBucketVersioning": 1, "ListObjectVersions": 2, "DeleteObjects": 2},
            4,
        ),
    ],
)
def test_requests_are_as_few_as_promised(moto_server, state, one, many, below):
    async def check(provider, _):
        await overwritten(provider, "a", "b", "c", "p/d", "p/e")
        with count_requests() as wire:
            await provider.delete_versions("a", exact=True)
        assert wire.by_operation == one, wire
        with count_requests() as wire:
            await provider.batch_delete(["b", "c"], all_versions=True)
        assert wire.by_operation == many, wire
        with count_requests() as wire:
            await provider.delete_versions("p/")
        assert wire.total == below, wire

    on_moto(moto_server, check, state=state)


def test_a_store_without_versions_is_deleted_from_as_ever():
    async def check(provider):
        await overwritten(provider, "a", "b", "c", "d/e")
        spy = provider._session.driver
        spy.calls.clear()
        assert (await provider.delete_versions("a", exact=True)).deleted == 1
        assert (await provider.delete_versions("a", exact=True)).deleted == 0
        assert (await provider.delete_versions("d/")).deleted == 1
        assert (await provider.delete_versions("b", exact=True, keep_latest=True)).deleted == 0
        assert (await provider.batch_delete(["b"], all_versions=True)).deleted == ("b",)
        assert spy.calls == ["delete"] * 4
        assert [each.key for each in await provider.list()] == ["c"]
        with pytest.raises(StorageUnsupportedError):
            await provider.list_versions("a")

    run(check, Spy())


def test_only_what_is_older_goes_where_the_latest_is_to_stay(moto_server):
    async def check(provider, raw):
        await overwritten(provider, "a", "ab")
        assert (await provider.delete_versions("a", exact=True, keep_latest=True)).deleted == 1
        assert await provider.retrieve("a") == b"second"
        assert len(raw.versions()) == 3
        await provider.delete("ab")
        assert (await provider.delete_versions("a", keep_latest=True)).deleted == 2
        assert await provider.retrieve("a") == b"second"
        assert raw.markers()
        assert [key for key, _ in raw.versions()] == ["a"]

    on_moto(moto_server, check)


def test_versions_are_listed_by_key_the_newest_first():
    async def check(provider, versions):
        await overwritten(provider, "a", "ab")
        await provider._session.driver.put(put_request(".credstore/mine", b"1"))
        await provider.delete("a")
        found = await provider.list_versions("")
        assert [(each.key, each.is_latest, each.is_delete_marker) for each in found] == [
            ("a", True, True),
            ("a", False, False),
            ("a", False, False),
            ("ab", True, False),
            ("ab", False, False),
        ]
        assert [each.key for each in await provider.list_versions("a", exact=True)] == ["a"] * 3
        assert len(await provider.list_versions("", max_versions=2)) == 2
        assert await provider.retrieve("a", version_id=found[2].version_id) == b"one"
        await provider.delete_versions(".")
        assert ".credstore/mine" in versions.names()

    on_memory(check)


def test_nothing_is_sent_for_a_wrong_argument():
    async def check(provider, versions):
        await overwritten(provider, "a")
        for call in (
            provider.delete_versions(""),
            provider.delete_versions("", keep_latest=True),
            provider.delete_versions("", exact=True),
            provider.delete_versions("a" * 1025),
            provider.list_versions("", exact=True),
            provider.list_versions("a", max_versions=-1),
        ):
            with pytest.raises(StorageInvalidRequestError):
                await call
        assert versions.asked == {}
        assert issubclass(StorageInvalidKeyError, StorageInvalidRequestError)

    on_memory(check)


def test_credentials_that_may_not_list_versions_are_never_a_success():
    async def check(provider, versions):
        await overwritten(provider, "a", "b", "p/c")
        result = await provider.batch_delete(["a", "b"], all_versions=True)
        assert result.deleted == ()
        for key in ("a", "b"):
            error = result.failed[key]
            assert isinstance(error, StorageVersionsRemainError)
            assert (error.code, error.key, error.remaining) == (ErrorCode.VERSIONS_REMAIN, key, ())
            assert "s3:ListBucketVersions" in error.message
        for call in (provider.delete_versions("a", exact=True), provider.delete_versions("p/")):
            with pytest.raises(StorageVersionsRemainError):
                await call
        assert await provider.list() == []
        versions.forbidden.clear()
        assert (await provider.delete_versions("a", exact=True)).complete
        assert (await provider.delete_versions("p/")).complete
        assert versions.names() == ["b"]

    on_memory(check, Versions(forbidden={"list_versions"}))


def test_credentials_that_may_not_ask_are_looked_past():
    async def check(provider, versions):
        await overwritten(provider, "a")
        assert (await provider.delete_versions("a", exact=True)).complete
        assert versions.asked["list_versions"] == 1

    on_memory(check, Versions(state="off", forbidden={"keeps_versions"}))


def test_credentials_that_may_not_remove_versions_are_told_what_stays():
    async def check(provider, versions):
        await overwritten(provider, "a")
        ids = versions.ids("a")
        result = await provider.batch_delete(["a"], all_versions=True)
        error = result.failed["a"]
        assert isinstance(error, StorageVersionsRemainError)
        assert {each.version_id for each in error.remaining} == set(ids)
        assert {each.retain_until for each in error.remaining} == {None}
        assert "s3:DeleteObjectVersion" in error.message
        assert await provider.retrieve("a") is None
        below = await provider.delete_versions("a")
        assert {each.version_id for each in below.remaining} == set(ids)

    on_memory(check, Versions(forbidden={"delete_versions"}))


def test_a_lock_that_may_not_be_read_still_tells_what_stays():
    async def check(provider, versions):
        await overwritten(provider, "a")
        newer, older = versions.ids("a")
        versions.locks["a", older] = Retention(mode="compliance", retain_until=FAR)
        (told,) = (await provider.delete_versions("a", exact=True)).remaining
        assert (told.version_id, told.retain_until, told.error.code) == (older, None, ErrorCode.ACCESS_DENIED)
        assert "could not be looked up" in told.error.__notes__[0]
        assert newer not in versions.ids("a")

    on_memory(check, Versions(forbidden={"get_retention"}))


def test_a_retention_that_has_ended_keeps_nothing():
    async def check(provider, versions):
        await overwritten(provider, "a")
        for version_id in versions.ids("a"):
            versions.locks["a", version_id] = Retention(mode="compliance", retain_until=PAST)
        assert (await provider.delete_versions("a", exact=True)).complete
        assert versions.names() == []

    on_memory(check)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("exact", [True, False])
def test_any_number_of_versions_goes(tells, exact):
    """The store goes on from a version only while that is there, as some do."""

    async def check(provider, versions):
        for number in range(1250):
            await provider.store("a", b"%d" % number)
            await provider.delete("a")
        await provider.store("ab", b"other")
        assert (await provider.delete_versions("a", exact=exact)).deleted == 1250 + (not exact)
        assert versions.names() == (["ab"] if exact else [])

    on_memory(check, Versions(tells_markers=tells))


def test_any_number_of_keys_goes_and_only_what_is_kept_stays():
    async def check(provider, versions):
        keys = [f"p/{number:04d}" for number in range(1205)]
        for key in keys:
            await overwritten(provider, key)
        held = keys[::3]
        for key in held:
            versions.locks[key, versions.ids(key)[-1]] = Retention(legal_hold=True)
        result = await provider.delete_versions("p/")
        assert (result.deleted, result.remaining_count) == (2 * len(keys) - len(held), len(held))
        assert [each.key for each in result.remaining] == held
        assert versions.names() == held
        assert all(len(versions.ids(key)) == 1 for key in held)
        assert await provider.list() == []

    on_memory(check)


def test_no_more_than_a_thousand_are_told_and_all_are_counted():
    async def check(provider, versions):
        for number in range(1010):
            await provider.store("a", b"%d" % number)
        for version_id in versions.ids("a"):
            versions.locks["a", version_id] = Retention(legal_hold=True)
        result = await provider.delete_versions("a", exact=True)
        assert (len(result.remaining), result.remaining_count) == (1000, 1010)
        assert versions.asked["get_retention"] == 1000
        error = (await provider.batch_delete(["a"], all_versions=True)).failed["a"]
        assert len(error.remaining) == 1000
        assert "1,010 versions remain" in error.message

    on_memory(check)


class Watched(VersionedMemory):
    """Notes what readers could see of an object while it is deleted."""

    seen: list[bytes | None]

    async def delete_versions(self, versions, *, deadline=None):
        outcomes = {}
        for version in versions:  # One after the other: what a provider does in between, readers may see.
            outcomes |= await VersionedMemory.delete_versions(self, [version])
            found = self.versions.objects.by_key.get(version[0])
            self.seen.append(None if found is None else found.data)
        return outcomes


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("held", [0, 1, 2])
@pytest.mark.parametrize("hidden", [True, False])
def test_readers_never_see_an_older_version_come_up(exact, held, hidden):
    versions = Versions()

    async def main():
        driver = Watched(versions)
        async with over(driver) as provider:
            for data in (b"one", b"two", b"latest"):
                await provider.store("a", data)
            if hidden:
                await provider.delete("a")
            versions.locks["a", versions.ids("a")[held]] = Retention(legal_hold=True)
            for again in range(3):
                driver.seen = []
                assert (await provider.delete_versions("a", exact=exact)).remaining_count == 1
                at_first = [] if hidden or again else [b"latest"]
                assert [each for each in dict.fromkeys(driver.seen) if each is not None] in ([], at_first)
                assert await provider.retrieve("a") is None
            versions.locks.clear()
            assert (await provider.delete_versions("a", exact=exact)).complete
            assert set(driver.seen) <= {None, b"latest"}
            assert versions.names() == []

    asyncio.run(main())


class Stopping(VersionedMemory):
    """Ends the call at its nth request, before or after it was made."""

    nth = 0
    after = False
    kind: type[BaseException] = StorageUnavailableError

    async def _at(self, made):
        type(self).nth -= 1
        if self.nth == 0 and not self.after:
            raise self.kind("stopped")
        found = await made()
        if self.nth == 0:
            raise self.kind("stopped")
        return found

    async def delete(self, key, **options):
        return await self._at(lambda: VersionedMemory.delete(self, key, **options))

    async def delete_many(self, keys, **options):
        return await self._at(lambda: VersionedMemory.delete_many(self, keys, **options))

    async def keeps_versions(self, **options):
        return await self._at(lambda: VersionedMemory.keeps_versions(self, **options))

    async def list_versions(self, *given, **options):
        return await self._at(lambda: VersionedMemory.list_versions(self, *given, **options))

    async def delete_versions(self, versions, **options):
        return await self._at(lambda: VersionedMemory.delete_versions(self, versions, **options))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("kind", [StorageUnavailableError, asyncio.CancelledError])
@pytest.mark.parametrize("tells", [True, False])
def test_the_same_call_goes_on_wherever_it_was_cut_off(exact, after, kind, tells):
    async def cut(nth):
        versions = Versions(tells_markers=tells)
        async with over(Stopping(versions)) as provider:
            await overwritten(provider, "a")
            await provider.delete("a")
            await overwritten(provider, "a")
            Stopping.nth, Stopping.after, Stopping.kind = nth, after, kind
            error = None
            try:
                await provider.delete_versions("a", exact=exact)
            except (StorageError, asyncio.CancelledError) as raised:
                error = raised
            if isinstance(error, StorageError):
                assert error.retryable
                assert error.applied == "maybe" or nth == 1
            stopped = Stopping.nth <= 0 and error is not None
            assert stopped or versions.names() == []
            Stopping.nth = 0
            assert (await provider.delete_versions("a", exact=exact)).complete
            assert versions.names() == []
            return stopped

    nth = 1
    while asyncio.run(cut(nth)):
        nth += 1
    assert nth > 3


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (lambda page, prefix: VersionPage(entries=page.entries, cursor="again"), ErrorCode.LISTING),
        (
            lambda page, prefix: VersionPage(
                entries=[*page.entries, StorageVersion(key="other", version_id="v", is_latest=True)],
                cursor=None,
            ),
            ErrorCode.LISTING,
        ),
        (
            lambda page, prefix: VersionPage(
                entries=[replace(page.entries[0], key=prefix + "z"), *page.entries],
                cursor=None,
            ),
            ErrorCode.LISTING,
        ),
    ],
    ids=["no end", "another key", "out of order"],
)
@pytest.mark.parametrize("exact", [True, False])
def test_a_listing_that_contradicts_itself_is_not_believed(lie, code, exact):
    class Lying(VersionedMemory):
        async def list_versions(self, prefix="", cursor=None, **options):
            return lie(await super().list_versions(prefix, None, **options), prefix)

    async def main():
        async with over(Lying(Versions())) as provider:
            await overwritten(provider, "a")
            with pytest.raises(StorageIntegrityError) as raised:
                await provider.delete_versions("a", exact=exact)
            assert (raised.value.code, raised.value.applied) == (code, "maybe")

    asyncio.run(main())


def test_silence_about_a_version_is_no_success():
    class Silent(VersionedMemory):
        async def delete_versions(self, versions, *, deadline=None):
            return {}

    async def main():
        async with over(Silent(Versions())) as provider:
            await overwritten(provider, "a")
            result = await provider.delete_versions("a", exact=True)
            assert {each.error.code for each in result.remaining} == {ErrorCode.NO_OUTCOME}
            error = (await provider.batch_delete(["a"], all_versions=True)).failed["a"]
            assert isinstance(error, StorageIntegrityError)
            assert error.retryable

    asyncio.run(main())


def test_a_driver_that_hides_and_cannot_list_versions_is_never_a_success():
    class Hiding(MemoryDriver):
        """A third party's, of a store that keeps versions, without the optional protocol."""

        async def delete(self, key, **options):
            return replace(await super().delete(key, **options), version_id="marker")

        async def delete_many(self, keys, **options):
            return {key: await self.delete(key) for key in keys}

    driver = Hiding(MemoryConfig())

    async def check(provider):
        await overwritten(provider, "a", "p/b")
        for call in (provider.delete_versions("a", exact=True), provider.delete_versions("p/")):
            with pytest.raises(StorageVersionsRemainError):
                await call
        assert list((await provider.batch_delete(["a"], all_versions=True)).failed) == ["a"]

    run(check, driver)


def test_both_members_of_a_fallback_store_are_emptied():
    primary, second = Versions(), Versions()

    async def main():
        driver = FallbackDriver(VersionedMemory(primary), VersionedMemory(second))
        async with over(driver) as provider:
            for member in (VersionedMemory(primary), VersionedMemory(second)):
                for key in ("a", "ab", "p/c"):
                    for data in (b"one", b"second"):
                        await member.put(put_request(key, data))
            second.locks["p/c", second.ids("p/c")[0]] = Retention(mode="compliance", retain_until=FAR)
            assert (await provider.delete_versions("a", exact=True)).deleted == 4
            assert primary.names() == second.names() == ["ab", "p/c"]
            result = await provider.delete_versions("p/")
            assert (result.deleted, result.retain_until) == (3, FAR)
            assert (primary.names(), second.names()) == (["ab"], ["ab", "p/c"])
            second.forbidden.add("list_versions")
            with pytest.raises(StorageVersionsRemainError):
                await provider.delete_versions("ab", exact=True)
            second.forbidden.clear()
            assert (await provider.delete_versions("ab", exact=True)).complete
            assert (primary.names(), second.names()) == ([], ["p/c"])

    asyncio.run(main())


def test_a_member_without_versions_keeps_no_deletion_from_being_whole(moto_server):
    async def main():
        place = S3Server(moto_server.url, moto_server.make_bucket())
        raw = RawS3(place)
        raw.switch_versions("Enabled")
        versioned = make_driver(place.url, place.bucket)
        plain = MemoryDriver(MemoryConfig())
        async with over(FallbackDriver(plain, versioned)) as provider:
            for driver in (plain, versioned):
                await driver.put(put_request("a", b"1"))
            assert (await provider.delete_versions("a", exact=True)).complete
            assert raw.names() == set()
            assert not plain._objects.by_key

    asyncio.run(main())


@pytest.mark.parametrize("state", ["off", "on"])
def test_a_member_that_lists_no_versions_is_believed_only_if_it_keeps_none(state):
    """As R2, which has none, and as a server of no known flavor."""

    class Refusing(VersionedMemory):
        async def list_versions(self, *given, **options):
            raise LIST_VERSIONS.of("it")

    async def main():
        versions = Versions(), Versions(state=state)
        members = VersionedMemory(versions[0]), Refusing(versions[1])
        async with over(FallbackDriver(*members)) as provider:
            for member in members:
                await member.put(put_request("a", b"1"))
            if state == "off":
                assert (await provider.delete_versions("a", exact=True)).deleted == 2
                assert versions[0].names() == versions[1].names() == []
            else:
                with pytest.raises(StorageVersionsRemainError):
                    await provider.delete_versions("a", exact=True)
                assert await provider.retrieve("a") is None

    asyncio.run(main())


def sealed() -> ClientSide:
    return ClientSide(KeyRing(LocalKey(bytes(32), key_id="k")), store_id="s", shreddable=True)


def test_a_forgotten_key_is_gone_in_every_version(moto_server):
    async def check(provider, raw):
        stored = await provider.store("a", b"secret")
        (key,) = [each for each, _ in raw.versions() if each.startswith(".credstore/keys/")]
        await provider.rotate_keys()
        with count_requests() as wire:
            assert await provider.forget_key("a") is True
        assert wire.total <= 7, wire
        assert key not in raw.names()
        with pytest.raises(StorageDecryptionError):
            await provider.retrieve("a")
        with pytest.raises(StorageDecryptionError):
            await provider.retrieve("a", version_id=stored.version_id)
        assert await provider.forget_key("a") is False
        assert key not in raw.names()

    on_moto(moto_server, check, encryption=sealed())


def test_a_key_that_was_only_hidden_is_forgotten_for_good(moto_server):
    async def check(provider, raw):
        await provider.store("a", b"secret")
        (key,) = [each for each, _ in raw.versions() if each.startswith(".credstore/keys/")]
        await provider._session.driver.delete(key)
        assert await provider.forget_key("a") is False
        assert key not in raw.names()

    on_moto(moto_server, check, encryption=sealed())


def test_a_key_under_retention_is_not_called_forgotten(moto_server):
    async def check(provider, raw):
        await provider.store("a", b"secret")
        (key,) = [each for each in raw.versions() if each[0].startswith(".credstore/keys/")]
        raw.retain(*key, FAR)
        with pytest.raises(StorageVersionsRemainError) as raised:
            await provider.forget_key("a")
        (version,) = raised.value.remaining
        assert (version.key, version.version_id, version.retain_until) == (*key, FAR)
        with pytest.raises(StorageDecryptionError):
            await provider.retrieve("a")

    on_moto(moto_server, check, encryption=sealed(), state="Lock")


def test_forgetting_costs_one_request_more_where_versions_could_be(moto_server):
    async def check(provider, _):
        await provider.store("a", b"secret")
        with count_requests() as wire:
            await provider.forget_key("a")
        assert wire.total == 4, wire

    on_moto(moto_server, check, encryption=sealed(), state=None)


def test_a_store_of_no_known_flavor_that_hides_is_never_a_success(moto_server):
    async def main():
        place = S3Server(moto_server.url, moto_server.make_bucket())
        config = minio_config(place.url, bucket=place.bucket)
        async with S3CompatibleStorageProvider(replace(config, flavor="generic")) as provider:
            await overwritten(provider, "a", "b")
            assert (await provider.delete_versions("a", exact=True)).complete
            RawS3(place).switch_versions("Enabled")
            with pytest.raises(StorageVersionsRemainError, match="flavor"):
                await provider.delete_versions("b", exact=True)

    asyncio.run(main())


def test_a_version_that_stays_tells_no_secret_and_can_be_pickled():
    told = RemainingVersion(key="k", version_id="v", error=StorageAccessDeniedError("kept"), retain_until=FAR)
    error = StorageVersionsRemainError("stays", remaining=(told,), key="k")
    assert pickle.loads(pickle.dumps(error)).remaining[0].retain_until == FAR
    assert StorageVersionsRemainError("stays").remaining == ()
