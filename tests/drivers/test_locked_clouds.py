"""Retention, holds and restored versions through users' verbs, on what Azure and Google say in their references."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore import LocalConfig, MemoryConfig, StorageProvider
from credstore.driver.contract import LockingDriver
from credstore.driver.retention import keeps
from credstore.drivers.local.driver import LocalDriver
from credstore.drivers.memory import MemoryDriver
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageBucketNotFoundError,
    StorageConnectionError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageRetainedError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from credstore.testing.harness import request
from credstore.testing.scripted import ScriptedAnswer
from credstore.wire.transport import WireError
from tests.drivers.azure.fake import FakeAzure
from tests.drivers.azure.fake import refusal as azure_refusal
from tests.drivers.gcs.fake import FakeGcs
from tests.drivers.gcs.fake import Refused as GcsRefused
from tests.drivers.gcs.fake import _error as gcs_error

FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER, SOONER = FAR + timedelta(days=1), FAR - timedelta(days=1)
LOST = WireError("broken", sent=True)


@dataclass
class Cloud:
    """One fake, and how to look into it."""

    fake: FakeAzure | FakeGcs
    versions: bool

    @property
    def is_azure(self) -> bool:
        return isinstance(self.fake, FakeAzure)

    def lock(self, key: str) -> tuple[str | None, datetime | None, bool]:
        """Mode, end and hold of the current version, in the cloud's own words."""
        found = self.fake.now(key)
        if self.is_azure:
            until, mode = found.policy or (None, None)
            return mode, until, found.hold
        told = found.said.get("retention") or {}
        until = told.get("retainUntilTime")
        end = None if until is None else datetime.fromisoformat(until)
        return told.get("mode", "").lower() or None, end, bool(found.said.get("temporaryHold"))

    def count(self, key: str) -> int:
        entries = self.fake.blobs if self.is_azure else self.fake.objects
        return len(entries.get(key, ()))

    def fail(self, method: str, answer, *, part: str = "", applied: bool = False, times: int = 1) -> None:
        left = [None] * times

        def fault(sent, serve):
            if not left or sent.method != method or part not in sent.url:
                return None
            left.pop()
            if applied:
                serve(sent)
            return answer

        self.fake.faults.append(fault)

    @property
    def setting(self) -> tuple[str, str]:
        """Method and part of the address of what sets a retention."""
        return ("PUT", "immutabilityPolicies") if self.is_azure else ("PATCH", "")

    @property
    def holding(self) -> tuple[str, str]:
        return ("PUT", "legalhold") if self.is_azure else ("PATCH", "")


CLOUDS = {
    "azure": lambda: Cloud(FakeAzure(immutable=True), versions=True),
    "gcs": lambda: Cloud(FakeGcs(versions=True, object_retention=True), versions=True),
    "gcs-unversioned": lambda: Cloud(FakeGcs(object_retention=True), versions=False),
}


@pytest.fixture(params=CLOUDS)
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return CLOUDS[request.param]()


def run(cloud: Cloud, check, **options):
    if not cloud.is_azure and cloud.versions:
        options.setdefault("versioning", True)
    options.setdefault("max_retries", 1)

    async def whole():
        config = cloud.fake.config(**options)
        async with StorageProvider(cloud.fake.driver(**options), config) as store:
            return await check(store)

    return asyncio.run(whole())


async def refused(call) -> StorageRetainedError:
    with pytest.raises(StorageRetainedError) as caught:
        await call
    return caught.value


def test_the_drivers_say_what_they_can(cloud):
    driver = cloud.fake.driver()
    assert isinstance(driver, LockingDriver)
    assert driver.capabilities.retention_modes == {"governance", "compliance"}
    assert driver.capabilities.legal_holds


@pytest.mark.parametrize("size", [0, 10, 700_000])
def test_what_is_stored_under_retention_is_kept_and_says_until_when(cloud, size):
    data = b"x" * size

    async def check(store):
        stored = await store.store("k", data, retain_until=FAR, retain_mode="compliance", legal_hold=True)
        assert cloud.lock("k") == ("locked", FAR, True)
        kept = Retention(mode="compliance", retain_until=FAR, legal_hold=True)
        assert await store.get_retention("k") == kept
        await store.store("other", b"1")
        if cloud.versions:
            await store.store("k", b"newer")
            error = await refused(store.delete("k", version_id=stored.version_id))
            assert await store.retrieve("k", version_id=stored.version_id) == data
            assert cloud.lock("k") == (None, None, False)
            await store.delete("k")
            assert await store.retrieve("k") is None
        else:
            for call in (store.store("k", b"newer"), store.copy("other", "k")):
                assert (await refused(call)).retain_until == FAR
            error = await refused(store.delete("k"))
            assert await store.retrieve("k") == data
        assert (error.retain_until, error.mode, error.legal_hold) == (FAR, "compliance", True)
        assert (error.key, error.applied, error.code) == ("k", "no", ErrorCode.LOCKED)
        assert "2037-01-02T03:04:05Z" in str(error)

    parts = {"multipart_threshold": 262_144, "part_size": 262_144}
    run(cloud, check, **parts)


@pytest.mark.parametrize("size", [0, 10, 3000])
def test_a_copy_has_only_the_retention_it_is_given(cloud, size):
    async def check(store):
        await store.store("k", b"x" * size, retain_until=FAR, metadata={"a": "1"})
        await store.copy("k", "plain")
        assert cloud.lock("plain") == (None, None, False)
        await store.copy("k", "copy", retain_until=LATER, retain_mode="compliance", legal_hold=True)
        assert cloud.lock("copy") == ("locked", LATER, True)
        assert await store.retrieve("copy") == b"x" * size
        assert (await store.get_metadata("copy")).metadata == {"a": "1"}
        await store.move("plain", "moved", legal_hold=True)
        assert cloud.lock("moved") == (None, None, True)
        assert await store.retrieve("plain") is None

    limits = {"single_copy_limit": 1000, "copy_part_size": 1000} if cloud.is_azure else {}
    run(cloud, check, **limits)


def test_a_retention_is_only_lengthened_unless_its_owner_says_so(cloud):
    async def check(store):
        await store.store("k", b"1")
        assert await store.get_retention("k") == Retention()
        await store.retain("k", until=FAR)
        assert cloud.lock("k") == ("unlocked", FAR, False)
        await store.retain("k", until=LATER)
        driver = store._session.driver
        for call in (
            lambda: store.retain("k", until=FAR),
            lambda: driver.set_retention("k", FAR, "governance"),
            lambda: driver.set_retention("k", None, "governance"),
        ):
            error = await refused(call())
            assert (error.retain_until, error.mode, error.applied) == (LATER, "governance", "no")
        assert cloud.lock("k") == ("unlocked", LATER, False)
        await store.retain("k", until=SOONER, bypass_governance=True)
        assert cloud.lock("k") == ("unlocked", SOONER, False)
        await store.retain("k", until=None, bypass_governance=True)
        assert cloud.lock("k") == (None, None, False)
        sent = len(cloud.fake.sent)
        await driver.set_retention("k", None, "governance", bypass_governance=True)
        assert [each.method for each in cloud.fake.sent[sent:]] == ["HEAD" if cloud.is_azure else "GET"]
        await store.retain("k", until=FAR)
        await store.retain("k", until=FAR, mode="compliance")
        assert cloud.lock("k") == ("locked", FAR, False)
        await store.retain("k", until=LATER, mode="compliance")
        for until, mode in ((FAR, "compliance"), (LATER, "governance"), (None, "governance")):
            await refused(driver.set_retention("k", until, mode, bypass_governance=True))
        assert cloud.lock("k") == ("locked", LATER, False)
        await store.delete("k") if cloud.versions else await refused(store.delete("k"))

    run(cloud, check)


def test_a_hold_is_independent_of_a_retention(cloud):
    async def check(store):
        stored = await store.store("k", b"1", retain_until=FAR)
        await store.hold("k")
        await store.hold("k")
        assert cloud.lock("k") == ("unlocked", FAR, True)
        await store.retain("k", until=None, bypass_governance=True)
        if cloud.versions:
            error = await refused(store.delete("k", version_id=stored.version_id))
        else:
            error = await refused(store.delete("k"))
        assert (error.retain_until, error.mode, error.legal_hold) == (None, None, True)
        await store.release("k")
        await store.release("k")
        assert cloud.lock("k") == (None, None, False)
        await store.delete("k")

    run(cloud, check)


def test_a_kept_version_is_locked_by_its_id():
    async def check(cloud, store):
        first = (await store.store("k", b"one")).version_id
        second = (await store.store("k", b"two")).version_id
        await store.retain("k", until=FAR, version_id=first)
        await store.hold("k", version_id=first)
        assert cloud.lock("k") == (None, None, False)
        kept = Retention(mode="governance", retain_until=FAR, legal_hold=True)
        assert await store.get_retention("k", version_id=first) == kept
        await store.delete("k")
        with pytest.raises(StorageNotFoundError):
            await store.hold("k")
        result = await store.delete_versions("k", exact=True)
        (left,) = result.remaining
        assert (left.version_id, left.retain_until, left.mode) == (first, FAR, "governance")
        assert second != left.version_id
        await store.release("k", version_id=first)
        await store.retain("k", until=None, version_id=first, bypass_governance=True)
        assert (await store.delete_versions("k", exact=True)).complete
        assert cloud.count("k") == 0

    for name in ("azure", "gcs"):
        cloud = CLOUDS[name]()
        run(cloud, lambda store, cloud=cloud: check(cloud, store))


def causes(error: BaseException | None) -> list[BaseException]:
    """An error and what it goes back to; the same one twice where that has no end."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__
    return found if error is None else [*found, error]


async def kept_by(erasing) -> tuple[str | None, datetime | None, bool]:
    """What an erasure says about the one object that it leaves."""
    try:
        (left,) = (await erasing).remaining
    except StorageRetainedError as error:
        return error.mode, error.retain_until, error.legal_hold
    return left.mode, left.retain_until, left.legal_hold


@pytest.mark.parametrize("how", ["delete", "store", "copy", "move"])
@pytest.mark.parametrize("name", ["gcs-unversioned", "memory", "local"])
def test_a_refusal_says_what_keeps_the_object_and_is_not_its_own_cause(name, how, tmp_path):
    async def check(store):
        await store.store("other", b"1")
        await store.store("k", b"1", retain_until=FAR, legal_hold=True)
        calls = {
            "delete": lambda: store.delete("k"),
            "store": lambda: store.store("k", b"2"),
            "copy": lambda: store.copy("other", "k"),
            "move": lambda: store.move("k", "moved"),
        }
        error = await refused(calls[how]())
        assert (error.mode, error.retain_until, error.legal_hold) == ("governance", FAR, True)
        found = causes(error)
        assert len(found) == len(set(found))
        (left,) = (await store.batch_delete(["k"])).failed.values()
        assert (left.mode, left.retain_until) == ("governance", FAR)
        for exact in (True, False):
            assert await kept_by(store.delete_versions("k", exact=exact)) == ("governance", FAR, True)

    async def own(config, driver):
        async with StorageProvider(driver, config) as store:
            await check(store)

    if name in CLOUDS:
        run(CLOUDS[name](), check)
    elif name == "memory":
        asyncio.run(own(MemoryConfig(), MemoryDriver(MemoryConfig())))
    else:
        config = LocalConfig(path=str(tmp_path / "store"))
        asyncio.run(own(config, LocalDriver(config)))


def test_a_version_that_cannot_be_restored_says_why_once(cloud):
    cloud.fake.exists = False

    async def check(store):
        with pytest.raises(StorageBucketNotFoundError) as caught:
            await store.restore("k", "17")
        found = causes(caught.value)
        assert len(found) == len(set(found))

    run(cloud, check)


def test_azure_says_how_the_current_version_is_removed():
    async def check(store):
        first = (await store.store("k", b"one")).version_id
        second = (await store.store("k", b"two")).version_id
        with pytest.raises(StorageAccessDeniedError, match="delete the object"):
            await store.delete("k", version_id=second)
        assert await store.retrieve("k") == b"two"
        await store.delete("k")
        assert await store.delete("k", version_id=second)
        left = [each.version_id for each in await store.list_versions("k", exact=True)]
        assert first in left
        assert second not in left

    run(CLOUDS["azure"](), check)


def test_a_version_is_restored_on_top_and_everything_stays():
    async def check(cloud, store):
        first = await store.store("k", b"one" * 50, compress=True, metadata={"a": "1"}, retain_until=FAR)
        second = await store.store("k", b"two")
        again = await store.restore("k", first.version_id)
        assert again.version_id not in {first.version_id, second.version_id}
        assert await store.retrieve("k") == b"one" * 50
        assert (await store.get_metadata("k")).metadata == {"a": "1"}
        assert cloud.lock("k") == (None, None, False)
        assert cloud.count("k") == 3
        assert (await store.restore("k", again.version_id)).version_id == again.version_id
        assert cloud.count("k") == 3
        await store.delete("k")
        await store.restore("k", second.version_id)
        assert await store.retrieve("k") == b"two"
        with pytest.raises(StorageNotFoundError) as caught:
            await store.restore("k", "4711")
        assert caught.value.code == ErrorCode.VERSION_NOT_FOUND

    for name in ("azure", "gcs"):
        cloud = CLOUDS[name]()
        run(cloud, lambda store, cloud=cloud: check(cloud, store))


def test_what_is_current_is_left_alone_also_where_versions_are_not_known_of():
    """Google's objects have generations either way, and a rewrite of what is kept would be refused."""
    cloud = CLOUDS["gcs-unversioned"]()

    async def check(store):
        await store.store("k", b"1", legal_hold=True)
        generation = str(cloud.fake.now("k").generation)
        await store.restore("k", generation)
        assert str(cloud.fake.now("k").generation) == generation

    run(cloud, check)


@pytest.mark.parametrize("version_id", [None, "2020-01-01T00:00:00.0000000Z", "17"])
def test_what_is_not_there_is_not_locked(cloud, version_id):
    async def check(store):
        driver = store._session.driver
        for call in (
            driver.set_retention("absent", FAR, "governance", version_id=version_id),
            driver.set_legal_hold("absent", held=True, version_id=version_id),
            driver.get_retention("absent", version_id),
        ):
            with pytest.raises(StorageNotFoundError) as caught:
                await call
            wanted = ErrorCode.NOT_FOUND if version_id is None else ErrorCode.VERSION_NOT_FOUND
            assert (caught.value.code, caught.value.applied) == (wanted, "no")

    run(cloud, check)


def test_what_only_a_listing_shows_is_not_locked():
    for name in ("azure", "gcs"):
        cloud = CLOUDS[name]()
        driver = cloud.fake.driver()
        for version_id in ("deleted", "soft-deleted:x") if name == "azure" else ("deleted",):
            assert asyncio.run(driver.get_retention("k", version_id)) == Retention()
            for call in (
                driver.set_retention("k", FAR, "governance", version_id=version_id),
                driver.set_legal_hold("k", held=True, version_id=version_id),
            ):
                with pytest.raises(StorageNotFoundError) as caught:
                    asyncio.run(call)
                assert caught.value.code == ErrorCode.VERSION_NOT_FOUND
        assert not cloud.fake.sent


def test_wrong_input_is_refused_before_anything_is_sent(cloud):
    async def check(store):
        for until in (FAR.replace(tzinfo=None), datetime(2020, 1, 1, tzinfo=UTC), "2037"):
            for call in (
                store.store("k", b"1", retain_until=until),
                store.copy("k", "c", retain_until=until),
                store.retain("k", until=until),
            ):
                with pytest.raises(StorageInvalidRequestError):
                    await call
        for call in (
            store.store("k", b"1", retain_until=FAR, retain_mode="Locked"),
            store.retain("k", until=FAR, mode="unlocked"),
            store.retain("k", until=None),
        ):
            with pytest.raises(StorageInvalidRequestError):
                await call
        assert not cloud.fake.sent

    run(cloud, check)


@pytest.mark.parametrize("answer", ["own", "other"])
def test_where_locks_are_switched_off_the_error_says_how_to_enable_them(cloud, answer):
    """Whatever the refusal is called, the container or bucket itself is asked."""
    if cloud.is_azure:
        cloud.fake.immutable = False
        cloud.fake.lock_off = (409, "FeatureNotEnabled") if answer == "own" else (400, "InvalidHeaderValue")
        words = "enable-vlw"
    else:
        cloud.fake.object_retention = False
        words = "enable-per-object-retention"
        if answer == "other":
            told = gcs_error(GcsRefused(400, "invalid", "something else"))
            headers = {"content-type": "application/json", "x-guploader-uploadid": "A"}
            served = cloud.fake.serve

            def serve(sent):
                found = served(sent)
                return ScriptedAnswer(400, told, headers) if found.status == 400 else found

            cloud.fake.serve = serve

    async def check(store):
        await store.store("k", b"one")
        calls = [
            store.store("new", b"two", retain_until=FAR),
            store.copy("k", "new", retain_until=FAR),
            store.retain("k", until=FAR),
        ]
        if cloud.is_azure:
            calls += [store.store("new", b"two", legal_hold=True), store.hold("k")]
        for call in calls:
            with pytest.raises(StorageUnsupportedError, match=words) as caught:
                await call
            assert (caught.value.code, caught.value.applied) == (ErrorCode.RETENTION_DISABLED, "no")
            assert not caught.value.retryable
        assert await store.get_retention("k") == Retention()
        assert cloud.fake.now("new") is None
        if not cloud.is_azure:  # Holds need nothing there.
            await store.hold("k")
            assert cloud.lock("k") == (None, None, True)

    run(cloud, check, max_retries=0)


def test_a_refusal_is_left_as_it_is_where_the_container_may_not_be_looked_at(cloud):
    if cloud.is_azure:
        cloud.fake.immutable = False
        cloud.fake.lock_off = (400, "InvalidHeaderValue")
        cloud.fail("GET", azure_refusal(403, "AuthorizationPermissionMismatch"), part="restype=container")
    else:
        body = gcs_error(GcsRefused(400, "invalid", "something else"))
        cloud.fail("PATCH", ScriptedAnswer(400, body, {"content-type": "application/json"}))
        body = gcs_error(GcsRefused(403, "forbidden"))
        cloud.fail(
            "GET", ScriptedAnswer(403, body, {"content-type": "application/json"}), part="objectRetention"
        )

    async def check(store):
        await store.store("k", b"one")
        with pytest.raises(StorageInvalidRequestError) as caught:
            await store.retain("k", until=FAR)
        assert caught.value.applied == "no"

    run(cloud, check, max_retries=0)


def test_a_refusal_for_another_reason_is_left_as_it_is(cloud):
    if cloud.is_azure:
        answer = azure_refusal(400, "InvalidHeaderValue")
    else:
        body = gcs_error(GcsRefused(400, "invalid", "something else"))
        answer = ScriptedAnswer(400, body, {"content-type": "application/json"})
    cloud.fail(cloud.setting[0], answer, part=cloud.setting[1])

    async def check(store):
        await store.store("k", b"one")
        with pytest.raises(StorageInvalidRequestError) as caught:
            await store.retain("k", until=FAR)
        assert (caught.value.applied, caught.value.status_code) == ("no", 400)
        with pytest.raises(StoragePreconditionFailedError):
            await store.store("k", b"two", retain_until=FAR, if_match="1-1")
        assert cloud.lock("k") == (None, None, False)

    run(cloud, check, max_retries=0)


# Unclear answers are settled by a look.


@pytest.mark.parametrize("retries", [0, 2])
def test_a_lock_whose_answer_was_lost_is_there(cloud, retries):
    async def check(store):
        await store.store("k", b"1")
        cloud.fail(cloud.setting[0], LOST, part=cloud.setting[1], applied=True)
        await store.retain("k", until=FAR, mode="compliance")
        assert cloud.lock("k") == ("locked", FAR, False)
        cloud.fail(cloud.holding[0], LOST, part=cloud.holding[1], applied=True)
        await store.hold("k")
        assert cloud.lock("k") == ("locked", FAR, True)
        cloud.fail(cloud.holding[0], LOST, part=cloud.holding[1], applied=True)
        await store.release("k")
        assert cloud.lock("k") == ("locked", FAR, False)

    run(cloud, check, max_retries=retries)


def test_a_lock_that_was_lost_on_its_way_is_unclear(cloud):
    async def check(store):
        await store.store("k", b"1")
        for (method, part), call in (
            (cloud.setting, lambda: store.retain("k", until=FAR)),
            (cloud.holding, lambda: store.hold("k")),
        ):
            cloud.fail(method, LOST, part=part)
            with pytest.raises(StorageConnectionError) as caught:
                await call()
            assert caught.value.applied == "maybe"
            await call()
        assert cloud.lock("k") == ("unlocked", FAR, True)

    run(cloud, check, max_retries=0)


def test_an_unclear_lock_stays_unclear_if_it_cannot_be_looked_at(cloud):
    look = ("HEAD", "") if cloud.is_azure else ("GET", "/o/k")

    async def check(store):
        await store.store("k", b"1")
        method, part = cloud.setting

        def fault(sent, serve):
            if sent.method == method and part in sent.url:
                serve(sent)
                cloud.fail(look[0], LOST, part=look[1], times=5)
                return LOST
            return None

        cloud.fake.faults.append(fault)
        with pytest.raises(StorageConnectionError) as caught:
            await store._session.driver.set_retention("k", FAR, "governance")
        assert caught.value.applied == "maybe"

    run(cloud, check, max_retries=0)


def test_a_write_under_retention_whose_answer_was_lost_is_found(cloud):
    async def check(store):
        cloud.fail("PUT" if cloud.is_azure else "POST", LOST, applied=True)
        await store.store("k", b"1", retain_until=FAR, if_absent=True)
        assert cloud.lock("k") == ("unlocked", FAR, False)

    run(cloud, check)


# The store in memory, which does nothing but follow the contract, is the judge of what follows what.

MODES = st.sampled_from(["governance", "compliance"])
STEPS = st.one_of(
    st.tuples(st.just("retain"), st.one_of(st.none(), st.integers(1, 4)), MODES, st.booleans()),
    st.tuples(st.just("hold"), st.booleans()),
    st.tuples(st.just("put"), st.one_of(st.none(), st.integers(1, 4)), MODES, st.booleans()),
)


async def step_of(driver, step) -> str:
    """What becomes of one step."""
    kind, *given = step
    try:
        if kind == "hold":
            await driver.set_legal_hold("k", held=given[0])
            return "done"
        days, mode, flag = given
        until = None if days is None else FAR + timedelta(days=days)
        if kind == "retain":
            await driver.set_retention("k", until, mode, bypass_governance=flag)
        else:
            kept = Retention(mode=mode if until else None, retain_until=until, legal_hold=flag)
            await driver.put(request("k", retention=kept if keeps(kept) else None))
    except StorageRetainedError:
        return "refused"
    return "done"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(CLOUDS)), st.lists(STEPS, max_size=6))
def test_each_step_ends_as_in_memory(name, steps):
    cloud = CLOUDS[name]()

    async def check():
        driver, model = cloud.fake.driver(max_retries=0), MemoryDriver(MemoryConfig())
        for each in (driver, model):
            await each.put(request("k"))
        for step in steps:
            if step[0] == "put" and cloud.versions:
                # The version below stays as it is; in memory there is none.
                model = MemoryDriver(MemoryConfig())
            assert await step_of(driver, step) == await step_of(model, step), step
            assert await driver.get_retention("k") == await model.get_retention("k"), step
            mode, until, hold = cloud.lock("k")
            kept = await model.get_retention("k")
            words = {None: None, "governance": "unlocked", "compliance": "locked"}
            assert (mode, until, hold) == (words[kept.mode], kept.retain_until, kept.legal_hold)

    asyncio.run(check())


# Servers that are not the cloud's own.


@pytest.mark.parametrize("ignores", [False, True])
def test_a_server_that_ignores_locks_is_seen_and_one_that_keeps_them_is_trusted(cloud, ignores):
    cloud.fake.ignores_locks = ignores
    place = (
        {"endpoint": "https://storage.example.test/acme"}
        if cloud.is_azure
        else {"endpoint": "https://storage.example.test"}
    )
    if cloud.is_azure:
        place["endpoint"] = "https://acme.storage.example.test"

    async def check(store):
        if ignores:
            for call in (
                store.store("k", b"1", retain_until=FAR),
                store.store("k", b"1", legal_hold=True),
            ):
                with pytest.raises(Exception, match="ignored the retention") as caught:
                    await call
                assert (caught.value.code, caught.value.applied) == (ErrorCode.NOT_HONOURED, "yes")
            assert cloud.fake.now("k") is None
            return
        await store.store("k", b"1", retain_until=FAR)
        sent = len(cloud.fake.sent)
        await store.store("other", b"1", retain_until=FAR)
        assert len(cloud.fake.sent) == sent + 1

    run(cloud, check, **place)


def test_emulators_and_accounts_without_versions_have_none():
    azure = FakeAzure().driver(capabilities="-versions")
    gcs = FakeGcs().driver(emulator_host="http://127.0.0.1:9")
    for driver in (azure, gcs):
        assert not driver.capabilities.retention_modes
        assert not driver.capabilities.legal_holds
        for call in (
            driver.set_retention("k", FAR, "governance"),
            driver.set_legal_hold("k", held=True),
            driver.get_retention("k"),
        ):
            with pytest.raises(StorageUnsupportedError):
                asyncio.run(call)
