"""Retention and legal holds: nothing removes or replaces what is kept, and errors say until when."""

import asyncio
import pickle
from datetime import UTC, datetime, timedelta

import pytest

from credstore import MemoryConfig, S3StorageProvider
from credstore.drivers.memory import MemoryDriver
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageRetainedError,
    StorageUnsupportedError,
    StorageVersionsRemainError,
)
from credstore.model import Retention
from credstore.testing import count_requests
from tests.conformance.raw_s3 import RawS3
from tests.conformance.versioned import VersionedMemory, Versions
from tests.conftest import S3Server
from tests.drivers.s3.support import s3_config
from tests.provider.support import Spy, over, run

FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = FAR + timedelta(days=1)
SOONER = FAR - timedelta(days=1)


def on_moto(server, test, *, object_lock=True):
    async def main():
        place = S3Server(server.url, server.make_bucket(object_lock=object_lock))
        async with S3StorageProvider(s3_config(place.url, bucket=place.bucket)) as provider:
            return await test(provider, RawS3(place))

    return asyncio.run(main())


async def refused(call) -> StorageRetainedError:
    with pytest.raises(StorageRetainedError) as caught:
        await call
    return caught.value


# Where the store keeps no versions, the object itself is kept.


def test_nothing_removes_or_replaces_what_is_kept():
    async def action(provider):
        await provider.store("kept", b"data", retain_until=FAR, retain_mode="compliance")
        await provider.store("other", b"1")
        calls = {
            "store": lambda: provider.store("kept", b"new"),
            "copy": lambda: provider.copy("other", "kept"),
            "move": lambda: provider.move("kept", "elsewhere"),
            "delete": lambda: provider.delete("kept"),
            "delete_versions": lambda: provider.delete_versions("kept", exact=True),
        }
        for verb, call in calls.items():
            error = await refused(call())
            assert (error.retain_until, error.mode, error.legal_hold) == (FAR, "compliance", False), verb
            assert (error.key, error.operation, error.applied) == (
                "other" if verb == "copy" else "kept",
                verb,
                "no",
            )
            assert "2037-01-02T03:04:05Z" in str(error)
        found = await provider.batch_delete(["kept", "other"])
        assert found.deleted == ("other",)
        assert found.failed["kept"].retain_until == FAR
        left = await provider.delete_versions("ke")
        assert (left.deleted, left.remaining_count, left.retain_until) == (0, 1, FAR)
        assert await provider.retrieve("kept") == b"data"
        assert not await provider.exists("elsewhere")

    run(action)


def test_a_condition_is_looked_at_before_a_retention():
    async def action(provider):
        await provider.store("kept", b"data", legal_hold=True)
        with pytest.raises(StorageAlreadyExistsError):
            await provider.store("kept", b"new", if_absent=True)
        with pytest.raises(StoragePreconditionFailedError):
            await provider.store("kept", b"new", if_match="another")

    run(action)


def test_a_retention_ends_and_a_hold_is_released():
    clock = [datetime(2030, 1, 1, tzinfo=UTC).timestamp()]
    driver = MemoryDriver(MemoryConfig(), clock=lambda: clock[0])

    async def action(provider):
        await provider.store("a", b"1", retain_until=FAR)
        await provider.store("b", b"1", legal_hold=True)
        await refused(provider.delete("a"))
        clock[0] = FAR.timestamp()
        assert await provider.delete("a")
        error = await refused(provider.delete("b"))
        assert (error.retain_until, error.legal_hold) == (None, True)
        await provider.release("b")
        await provider.release("b")
        await provider.store("b", b"2")
        await provider.hold("b")
        assert await provider.get_retention("b") == Retention(legal_hold=True)

    run(action, driver)


def test_a_retention_is_only_lengthened_except_in_governance_by_those_who_say_so():
    async def action(provider):
        await provider.store("k", b"1")
        assert await provider.get_retention("k") == Retention()
        assert await provider.retain("k", until=FAR) == Retention(mode="governance", retain_until=FAR)
        assert (await refused(provider.retain("k", until=SOONER))).retain_until == FAR
        assert (await provider.get_retention("k")).retain_until == FAR
        await provider.retain("k", until=SOONER, bypass_governance=True)
        assert (await provider.get_retention("k")).retain_until == SOONER
        assert await provider.retain("k", until=None, bypass_governance=True) == Retention()
        await provider.retain("k", until=FAR, mode="compliance")
        for until, mode in ((SOONER, "compliance"), (LATER, "governance"), (None, "governance")):
            error = await refused(provider.retain("k", until=until, mode=mode, bypass_governance=True))
            assert error.mode == "compliance"
        await provider.hold("k")
        await provider.retain("k", until=LATER, mode="compliance")
        assert await provider.get_retention("k") == Retention(
            mode="compliance", retain_until=LATER, legal_hold=True
        )

    run(action)


def test_a_copy_has_only_the_retention_it_is_given():
    async def action(provider):
        await provider.store("k", b"1", retain_until=FAR, legal_hold=True)
        await provider.copy("k", "plain")
        assert await provider.get_retention("plain") == Retention()
        await provider.copy("k", "copy", retain_until=LATER, retain_mode="compliance")
        assert await provider.get_retention("copy") == Retention(mode="compliance", retain_until=LATER)
        await provider.move("plain", "moved", legal_hold=True)
        assert await provider.get_retention("moved") == Retention(legal_hold=True)
        with pytest.raises(StorageInvalidRequestError, match="retain"):
            await provider.copy("k", "k", legal_hold=True)

    run(action)


def test_part_of_a_second_is_rounded_up():
    async def action(provider):
        await provider.store("k", b"1", retain_until=FAR.replace(microsecond=1))
        assert (await provider.get_retention("k")).retain_until == FAR + timedelta(seconds=1)

    run(action)


WRONG_DATES = {
    "naive": (FAR.replace(tzinfo=None), "time zone"),
    "past": (datetime(2020, 1, 1, tzinfo=UTC), "passed"),
    "text": ("2037-01-01", "datetime"),
    "far": (datetime.max.replace(tzinfo=UTC), "9999"),
}


@pytest.mark.parametrize("name", WRONG_DATES)
def test_wrong_dates_are_refused_before_anything_is_sent(name):
    until, words = WRONG_DATES[name]
    spy = Spy()

    async def action(provider):
        calls = [
            provider.store("k", b"1", retain_until=until),
            provider.copy("k", "c", retain_until=until),
            provider.move("k", "c", retain_until=until),
            provider.retain("k", until=until),
        ]
        for call in calls:
            with pytest.raises(StorageInvalidRequestError, match=words):
                await call
        assert spy.calls == []

    run(action, spy)


@pytest.mark.parametrize(
    "options",
    [
        {"retain_until": FAR, "retain_mode": "COMPLIANCE"},
        {"retain_until": FAR, "retain_mode": "forever"},
        {"retain_until": FAR, "retain_mode": None},
        {"retain_mode": "compliance"},
        {"legal_hold": "yes"},
        {"legal_hold": None},
        {"retain": FAR},
    ],
)
def test_wrong_options_are_refused_before_anything_is_sent(options):
    spy = Spy()

    async def action(provider):
        for call in (
            provider.store("k", b"1", **options),
            provider.copy("k", "c", **options),
            provider.move("k", "c", **options),
        ):
            with pytest.raises(StorageInvalidRequestError):
                await call
        assert spy.calls == []

    run(action, spy)


def test_wrong_arguments_of_the_verbs():
    async def action(provider):
        await provider.store("k", b"1")
        for options in (
            {"until": FAR, "mode": "forever"},
            {"until": None},
            {"until": FAR, "bypass_governance": 1},
            {"until": FAR, "version_id": ""},
        ):
            with pytest.raises(StorageInvalidRequestError):
                await provider.retain("k", **options)
        for call in (
            provider.retain("k", until=FAR, version_id="v"),
            provider.hold("k", version_id="v"),
            provider.release("k", version_id="v"),
            provider.get_retention("k", version_id="v"),
            provider.restore("k", "v"),
        ):
            with pytest.raises(StorageUnsupportedError):
                await call
        for call in (
            provider.retain("absent", until=FAR),
            provider.hold("absent"),
            provider.get_retention("absent"),
        ):
            with pytest.raises(StorageNotFoundError):
                await call

    run(action)


def test_the_error_survives_pickling():
    error = StorageRetainedError("kept", retain_until=FAR, mode="compliance", legal_hold=True, key="k")
    again = pickle.loads(pickle.dumps(error))
    assert again.facts() == error.facts()
    assert again.retain_until == FAR


# Where the store keeps versions, a version is kept.


def test_a_kept_version_is_refused_with_its_date_and_the_key_goes_on():
    versions = Versions()

    async def action(provider):
        stored = await provider.store("k", b"one", retain_until=FAR, retain_mode="compliance")
        await provider.store("k", b"two")
        error = await refused(provider.delete("k", version_id=stored.version_id))
        assert (error.retain_until, error.mode, error.key) == (FAR, "compliance", "k")
        await provider.delete("k")
        assert await provider.retrieve("k", version_id=stored.version_id) == b"one"
        with pytest.raises(StorageVersionsRemainError) as caught:
            raise (await provider.batch_delete(["k"], all_versions=True)).failed["k"]
        (remaining,) = caught.value.remaining
        assert (remaining.retain_until, remaining.mode) == (FAR, "compliance")

    run(action, VersionedMemory(versions))


def test_a_restored_version_is_the_current_one_and_everything_stays():
    versions = Versions()

    async def action(provider):
        first = await provider.store(
            "k", b"one" * 50, compress=True, metadata={"a": "1"}, content_type="text/x"
        )
        second = await provider.store("k", b"two")
        again = await provider.restore("k", first.version_id)
        assert again.version_id not in {first.version_id, second.version_id}
        assert again.plain_size == 150
        assert await provider.retrieve("k") == b"one" * 50
        found = await provider.get_metadata("k")
        assert (found.metadata, found.content_type) == ({"a": "1"}, "text/x")
        assert versions.ids("k") == [again.version_id, second.version_id, first.version_id]
        same = await provider.restore("k", again.version_id)
        assert same.version_id == again.version_id
        assert len(versions.ids("k")) == 3
        await provider.delete("k")
        await provider.restore("k", second.version_id)
        assert await provider.retrieve("k") == b"two"
        with pytest.raises(StorageNotFoundError) as caught:
            await provider.restore("k", "missing")
        assert caught.value.code == ErrorCode.VERSION_NOT_FOUND

    run(action, VersionedMemory(versions))


# S3, with moto as the judge.


def test_s3_keeps_what_was_stored_under_retention(moto_server):
    async def check(provider, raw):
        with count_requests() as wire:
            stored = await provider.store("k", b"one", retain_until=FAR, legal_hold=True)
        assert wire.by_operation["PutObject"] == 1
        assert raw.lock("k", stored.version_id) == ("GOVERNANCE", FAR, "ON")
        assert await provider.get_retention("k") == Retention(
            mode="governance", retain_until=FAR, legal_hold=True
        )
        error = await refused(provider.delete("k", version_id=stored.version_id))
        assert (error.retain_until, error.mode, error.legal_hold) == (FAR, "governance", True)
        assert error.provider_code == "AccessDenied"
        await provider.store("k", b"two")
        await provider.delete("k")
        assert await provider.retrieve("k", version_id=stored.version_id) == b"one"

    on_moto(moto_server, check)


def test_s3_retains_holds_and_releases(moto_server):
    async def check(provider, raw):
        first = (await provider.store("k", b"one")).version_id
        second = (await provider.store("k", b"two")).version_id
        await provider.retain("k", until=FAR, mode="compliance", version_id=first)
        await provider.hold("k")
        assert raw.lock("k", first) == ("COMPLIANCE", FAR, None)
        assert raw.lock("k", second) == (None, None, "ON")
        assert (
            await refused(provider.retain("k", until=SOONER, mode="compliance", version_id=first))
        ).key == "k"
        assert raw.lock("k", first) == ("COMPLIANCE", FAR, None)
        await provider.release("k")
        assert raw.lock("k", second) == (None, None, "OFF")
        await provider.delete("k", version_id=second)
        assert await provider.retrieve("k") == b"one"
        with pytest.raises(StorageNotFoundError):
            await provider.retain("k", until=FAR, version_id="00000000-0000-0000-0000-000000000000")

    on_moto(moto_server, check)


def test_s3_copies_under_retention(moto_server):
    async def check(provider, raw):
        await provider.store("k", b"one", legal_hold=True)
        plain = await provider.copy("k", "plain")
        kept = await provider.copy("k", "kept", retain_until=FAR, retain_mode="compliance")
        moved = await provider.move("plain", "moved", legal_hold=True)
        assert raw.lock("plain", plain.version_id) == (None, None, None)
        assert raw.lock("kept", kept.version_id) == ("COMPLIANCE", FAR, None)
        assert raw.lock("moved", moved.version_id) == (None, None, "ON")

    on_moto(moto_server, check)


def test_a_bucket_without_object_lock_says_how_to_enable_it(moto_server):
    async def check(provider, raw):
        raw.switch_versions("Enabled")
        await provider.store("k", b"one")
        for call in (
            provider.store("k", b"two", retain_until=FAR),
            provider.copy("k", "c", legal_hold=True),
            provider.retain("k", until=FAR),
            provider.hold("k"),
        ):
            with pytest.raises(StorageUnsupportedError, match="PutObjectLockConfiguration") as caught:
                await call
            assert (caught.value.code, caught.value.applied) == (ErrorCode.RETENTION_DISABLED, "no")
        assert await provider.get_retention("k") == Retention()
        assert len(raw.versions()) == 1

    on_moto(moto_server, check, object_lock=False)


@pytest.mark.parametrize("size", [10, 3000])
def test_s3_restores_versions_small_and_in_parts(moto_server, size):
    async def main():
        place = S3Server(moto_server.url, moto_server.make_bucket())
        raw = RawS3(place)
        raw.switch_versions("Enabled")
        limits = {"multipart_threshold": 1000, "part_size": 1000}
        config = s3_config(place.url, bucket=place.bucket, **limits)
        async with S3StorageProvider(config) as provider:
            data = bytes(range(256)) * (size // 256 + 1)
            first = await provider.store("k", data, tags={"a": "b"}, metadata={"m": "1"})
            second = await provider.store("k", b"two")
            again = await provider.restore("k", first.version_id)
            assert await provider.retrieve("k") == data
            await provider.delete("k")
            last = await provider.restore("k", first.version_id)
            assert await provider.retrieve("k") == data
            assert (await provider.get_metadata("k")).metadata == {"m": "1"}
            assert raw.tags("k") == {"a": "b"}
            assert {each for _, each in raw.versions()} == {
                each.version_id for each in (first, second, again, last)
            }
            (marker,) = [each for _, each in raw.markers()]
            with pytest.raises(StorageNotFoundError) as caught:
                await provider.restore("k", marker)
            assert caught.value.code == ErrorCode.VERSION_NOT_FOUND

    asyncio.run(main())


def test_an_unversioned_provider_is_named_in_the_refusal():
    async def main():
        async with over(MemoryDriver(MemoryConfig())) as provider:
            with pytest.raises(StorageUnsupportedError, match="memory cannot keep versions"):
                await provider.restore("k", "v")

    asyncio.run(main())
