"""google-cloud-storage and our driver lock objects in one fake: the same requests, the same state and refusals."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from google.api_core import exceptions

from credstore.driver.values import CopyRequest, ReadOptions
from credstore.errors import (
    ErrorCode,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageRetainedError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from tests.drivers.gcs.fake import FakeGcs, _related
from tests.drivers.gcs.test_vendor import ID, put_of
from tests.drivers.gcs.vendor import vendor

FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER, SOONER = FAR + timedelta(days=1), FAR - timedelta(days=1)
BOTH = Retention(mode="compliance", retain_until=FAR, legal_hold=True)
SET = "governance"


def property_of(until: datetime, mode: str = "Unlocked") -> dict[str, str]:
    return {"mode": mode, "retainUntilTime": until.isoformat()}


UNLOCKED, LOCKED = property_of(FAR), property_of(FAR, "Locked")


def retained(bucket, until: datetime | None, mode: str | None = "Unlocked", *, override=None, old=False):
    """As Google's documents do it: look at the object, and patch it."""
    generation = old_of(bucket) if old else None
    seen = bucket.get_blob("there", generation=generation)
    blob = bucket.blob("there", generation=generation)
    blob.retention.mode, blob.retention.retain_until_time = mode, until
    blob.patch(
        override_unlocked_retention=override,
        if_generation_match=seen.generation,
        if_metageneration_match=seen.metageneration,
    )


def held(bucket, key: str = "there", **holds: bool):
    seen, blob = bucket.get_blob(key), bucket.blob(key)
    for name, value in holds.items():
        setattr(blob, name, value)
    blob.patch(if_generation_match=seen.generation, if_metageneration_match=seen.metageneration)


def stored(bucket, key: str = "new", *, until: datetime | None = None):
    blob = bucket.blob(key)
    if until is not None:
        blob.retention.mode, blob.retention.retain_until_time = "Locked", until
    blob.upload_from_string(b"data")


def rewritten(bucket, **holds: bool):
    blob = bucket.blob("new")
    blob.content_type = "application/octet-stream"
    blob.retention.mode, blob.retention.retain_until_time = "Locked", FAR
    for name, value in holds.items():
        setattr(blob, name, value)
    blob.rewrite(bucket.get_blob("there"))


def old_of(bucket) -> int:
    return min(each.generation for each in bucket.list_blobs(prefix="there", versions=True))


async def oldest(driver) -> str:
    return (await driver.list_versions("there", exact=True)).entries[-1].version_id


async def of_oldest(driver, act: Callable[[str], Any]):
    return await act(await oldest(driver))


async def copied(driver, to: str, version_id: str | None = None, **fields: object):
    source = await driver.head("there", ReadOptions(version_id=version_id))
    source = replace(source, version_id=version_id)
    return await driver.copy(CopyRequest(source=source, destination=to, write_id=ID, **fields))


async def of_current(driver):
    version = (await driver.list_versions("there", exact=True)).entries[0].version_id
    return await driver.delete("there", version_id=version)


async def over(driver):
    return await driver.copy(CopyRequest(source=await driver.head("other"), destination="there", write_id=ID))


@dataclass(frozen=True)
class Case:
    """What both do, how the current object and the bucket are before, and what refuses it."""

    theirs: Callable[..., object]
    ours: Callable[..., Any]
    refused: int | None = None
    said: dict[str, object] | None = None
    versions: bool = True


CASES = {
    "insert under a retention": Case(
        lambda b: stored(b, until=FAR),
        lambda d: d.put(put_of("new", b"data", retention=replace(BOTH, legal_hold=False))),
    ),
    "rewrite under both": Case(
        lambda b: rewritten(b, temporary_hold=True), lambda d: copied(d, "new", retention=BOTH)
    ),
    "set": Case(lambda b: retained(b, FAR), lambda d: d.set_retention("there", FAR, SET)),
    "set on a generation": Case(
        lambda b: retained(b, FAR, old=True),
        lambda d: of_oldest(d, lambda version: d.set_retention("there", FAR, SET, version_id=version)),
    ),
    "lengthen": Case(
        lambda b: retained(b, LATER), lambda d: d.set_retention("there", LATER, SET),
        said={"retention": UNLOCKED},
    ),
    "shorten": Case(
        lambda b: retained(b, SOONER, override=True),
        lambda d: d.set_retention("there", SOONER, SET, bypass_governance=True),
        said={"retention": UNLOCKED},
    ),
    "shorten without saying so": Case(
        lambda b: retained(b, SOONER), lambda d: d.set_retention("there", SOONER, SET),
        said={"retention": UNLOCKED}, refused=403,
    ),
    "remove": Case(
        lambda b: retained(b, None, None, override=True),
        lambda d: d.set_retention("there", None, SET, bypass_governance=True),
        said={"retention": UNLOCKED},
    ),
    "lock": Case(
        lambda b: retained(b, FAR, "Locked", override=True),
        lambda d: d.set_retention("there", FAR, "compliance"),
        said={"retention": UNLOCKED},
    ),
    "lengthen what is locked": Case(
        lambda b: retained(b, LATER, "Locked"), lambda d: d.set_retention("there", LATER, "compliance"),
        said={"retention": LOCKED},
    ),
    "shorten what is locked": Case(
        lambda b: retained(b, SOONER, "Locked", override=True),
        lambda d: d.set_retention("there", SOONER, "compliance", bypass_governance=True),
        said={"retention": LOCKED}, refused=403,
    ),
    "unlock": Case(
        lambda b: retained(b, LATER, override=True),
        lambda d: d.set_retention("there", LATER, SET, bypass_governance=True),
        said={"retention": LOCKED}, refused=403,
    ),
    "remove what is locked": Case(
        lambda b: retained(b, None, None, override=True),
        lambda d: d.set_retention("there", None, SET, bypass_governance=True),
        said={"retention": LOCKED}, refused=403,
    ),
    "hold": Case(
        lambda b: held(b, temporary_hold=True), lambda d: d.set_legal_hold("there", held=True),
        said={"retention": UNLOCKED},
    ),
    "hold what an event holds": Case(
        lambda b: held(b, temporary_hold=True), lambda d: d.set_legal_hold("there", held=True),
        said={"eventBasedHold": True},
    ),
    "release": Case(
        lambda b: held(b, temporary_hold=False), lambda d: d.set_legal_hold("there", held=False),
        said={"temporaryHold": True, "retention": LOCKED},
    ),
    "release what an event holds too": Case(
        lambda b: held(b, temporary_hold=False, event_based_hold=False),
        lambda d: d.set_legal_hold("there", held=False),
        said={"temporaryHold": True, "eventBasedHold": True},
    ),
    "replace what is held": Case(
        lambda b: stored(b, "there"), lambda d: d.put(put_of("there", b"data")),
        said={"temporaryHold": True}, versions=False, refused=403,
    ),
    "replace what is retained": Case(
        lambda b: stored(b, "there"), lambda d: d.put(put_of("there", b"data")),
        said={"retention": UNLOCKED}, versions=False, refused=403,
    ),
    "copy over what is held": Case(
        lambda b: b.blob("there").rewrite(b.blob("other")), over,
        said={"eventBasedHold": True}, versions=False, refused=403,
    ),
    "delete what is held": Case(
        lambda b: b.blob("there").delete(), lambda d: d.delete("there"),
        said={"eventBasedHold": True}, versions=False, refused=403,
    ),
    "delete a generation that is retained": Case(
        lambda b: b.blob("there", generation=b.get_blob("there").generation).delete(),
        of_current, said={"retention": LOCKED}, refused=403,
    ),
    "hide what is held": Case(
        lambda b: b.blob("there").delete(), lambda d: d.delete("there"), said={"temporaryHold": True}
    ),
    "restore": Case(
        lambda b: b.blob("there").rewrite(b.blob("there", generation=old_of(b))),
        lambda d: of_oldest(d, lambda version: copied(d, "there", version)),
    ),
}  # fmt: skip


def prepared(case: Case) -> FakeGcs:
    fake = FakeGcs(versions=case.versions, object_retention=True)
    fake.put("there", b"old", {})
    fake.put("other", b"other", {})
    fake.put("there", b"data", case.said or {})
    return fake


def locks(said: Any) -> dict[str, object]:
    """What a request or an object says of retention and holds, in one form."""
    found = {name: said[name] for name in ("temporaryHold", "eventBasedHold") if said.get(name) is not None}
    if "retention" in said:
        told = said["retention"] or {}
        until = told.get("retainUntilTime")
        found["retention"] = (told.get("mode"), until and datetime.fromisoformat(until))
    return found


def state(fake: FakeGcs) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: [
            (
                each.data,
                {key: value for key, value in locks(each.said).items() if value},
                each.deleted is None,
            )
            for each in entries
        ]
        for name, entries in fake.objects.items()
    }


def shapes(fake: FakeGcs) -> list[tuple[object, ...]]:
    found = []
    for each in fake.sent:
        if each.method == "GET":
            continue
        parts = urlsplit(each.url)
        query = {key: value.lower() for key, value in parse_qsl(parts.query)}
        for name in ("projection", "prettyPrint", "fields", "ifSourceGenerationMatch",
                     "ifSourceMetagenerationMatch", "sourceGeneration"):  # fmt: skip
            query.pop(name, None)
        upload = "/upload/" in parts.path
        said = _related(each)[0] if upload else json.loads(each.body or b"{}")
        found.append((each.method, parts.path, query, locks(said)))
    return found


def by_vendor(fake: FakeGcs, case: Case) -> int | None:
    with vendor(fake) as bucket:
        try:
            case.theirs(bucket)
        except exceptions.GoogleAPICallError as error:
            return error.code
    return None


def by_us(fake: FakeGcs, case: Case, **settings: object) -> StorageError | None:
    async def whole():
        driver = fake.driver(max_retries=0, versioning=case.versions, **settings)
        try:
            await case.ours(driver)
        except StorageError as error:
            return error
        finally:
            await driver.aclose()
        return None

    return asyncio.run(whole())


@pytest.mark.parametrize("name", CASES)
def test_both_ask_for_the_same_and_get_the_same(name):
    case = CASES[name]
    one, other = prepared(case), prepared(case)
    before = state(one)
    code, error = by_vendor(one, case), by_us(other, case)
    assert state(one) == state(other)
    assert code == case.refused
    if case.refused is None:
        assert error is None, error
        assert shapes(one) == shapes(other)
        return
    assert isinstance(error, StorageRetainedError)
    assert error.applied == "no"
    assert state(other) == before


@pytest.mark.parametrize(
    "name", ["insert under a retention", "rewrite under both", "set", "set on a generation"]
)
def test_a_bucket_without_object_retention_refuses_both(name):
    case = CASES[name]
    one, other = prepared(case), prepared(case)
    one.object_retention = other.object_retention = False
    before = state(one)
    assert by_vendor(one, case) == 400
    error = by_us(other, case)
    assert isinstance(error, StorageUnsupportedError)
    assert (error.code, error.applied) == (ErrorCode.RETENTION_DISABLED, "no")
    assert state(one) == state(other) == before


def test_both_read_the_same():
    fake = FakeGcs(object_retention=True)
    asyncio.run(fake.driver().put(put_of("k", b"1", retention=BOTH)))
    with vendor(fake) as bucket:
        blob = bucket.get_blob("k")
        assert (blob.retention.mode, blob.retention.retain_until_time, blob.temporary_hold) == (
            "Locked",
            FAR,
            True,
        )
        fake.policy = timedelta(days=36500)
        blob = bucket.get_blob("k")
        kept = asyncio.run(fake.driver().get_retention("k"))
        assert (kept.mode, kept.retain_until) == ("compliance", blob.retention_expiration_time)


def test_the_buckets_own_policy_refuses_with_its_date():
    fake = FakeGcs()
    fake.policy = timedelta(days=100)
    made = fake.put("there", b"1", {})
    driver = fake.driver()
    with vendor(fake) as bucket, pytest.raises(exceptions.Forbidden):
        bucket.blob("there").delete()
    with pytest.raises(StorageRetainedError):
        asyncio.run(driver.delete("there"))
    outcome = asyncio.run(driver.delete_many(["there"]))["there"]
    assert isinstance(outcome, StorageRetainedError)
    assert asyncio.run(driver.get_retention("there")).retain_until == made.made + fake.policy


def between(fake: FakeGcs, act: Callable[[], None], times: int = 1) -> None:
    """Let another writer in before our change arrives."""
    left = [None] * times

    def fault(sent, serve):
        if sent.method == "PATCH" and left:
            left.pop()
            act()

    fake.faults.append(fault)


def metadata_changed(fake: FakeGcs) -> None:
    found = fake.now("k")
    fake._change("k", found, replace(found, metageneration=found.metageneration + 1))


def test_a_change_in_between_is_not_undone():
    fake = FakeGcs(object_retention=True)
    fake.put("k", b"1", {"retention": UNLOCKED})
    driver = fake.driver(max_retries=0)

    def lengthened() -> None:
        found = fake.now("k")
        said = {**found.said, "retention": property_of(LATER + timedelta(days=9))}
        fake._change("k", found, replace(found, said=said, metageneration=found.metageneration + 1))

    between(fake, lengthened)
    with pytest.raises(StorageRetainedError) as caught:
        asyncio.run(driver.set_retention("k", LATER, SET))
    assert (caught.value.retain_until, caught.value.applied) == (LATER + timedelta(days=9), "no")
    between(fake, lambda: metadata_changed(fake), 3)
    asyncio.run(driver.set_legal_hold("k", held=True))
    assert fake.now("k").said["temporaryHold"] is True
    fake.put("k", b"1", {})
    between(fake, lambda: fake.put("k", b"2", {}))
    asyncio.run(driver.set_retention("k", FAR, SET))
    assert (fake.now("k").data, locks(fake.now("k").said)["retention"]) == (b"2", ("Unlocked", FAR))


def test_who_is_overtaken_all_the_time_gives_up():
    fake = FakeGcs(object_retention=True)
    fake.put("k", b"1", {})
    between(fake, lambda: metadata_changed(fake), 100)
    with pytest.raises(StorageConflictError) as caught:
        asyncio.run(fake.driver(max_retries=0).set_legal_hold("k", held=True))
    error = caught.value
    assert (error.code, error.applied, error.retryable) == (ErrorCode.CONCURRENT_WRITE, "no", True)
    assert len([each for each in fake.sent if each.method == "PATCH"]) == 4


def test_a_server_that_changes_nothing_is_seen():
    fake = FakeGcs(object_retention=True)
    fake.put("k", b"1", {})

    def unchanged(sent, serve):
        if sent.method == "PATCH":
            return serve(replace(sent, body=b"{}"))
        return None

    fake.faults.append(unchanged)
    with pytest.raises(StorageIntegrityError) as caught:
        asyncio.run(fake.driver().set_retention("k", FAR, SET))
    assert caught.value.code == ErrorCode.NOT_HONOURED
