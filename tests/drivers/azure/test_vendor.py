"""azure-storage-blob and our driver lock blobs in one fake: the same requests, the same state, the same refusals."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, urlsplit

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock, ImmutabilityPolicy

from credstore.driver.values import CopyRequest, PutRequest, ReadOptions
from credstore.errors import StorageError, StorageRetainedError, StorageUnsupportedError
from credstore.model import Retention
from credstore.testing.harness import request
from tests.drivers.azure.fake import FakeAzure
from tests.drivers.azure.vendor import vendor

ID = "0123456789abcdef" * 2
FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER, SOONER = FAR + timedelta(days=1), FAR - timedelta(days=1)
UNLOCKED, LOCKED = ("unlocked", FAR), ("locked", FAR)
BOTH = Retention(mode="compliance", retain_until=FAR, legal_hold=True)
OLD = "2020-01-01T00:00:00.0000000Z"


def policy(until: datetime, mode: str = "Unlocked") -> ImmutabilityPolicy:
    return ImmutabilityPolicy(expiry_time=until, policy_mode=mode)


def put_of(key: str, data: bytes, **fields: object) -> PutRequest:
    return replace(request(key, data), **fields)


async def copied(driver, key: str, to: str, version_id: str | None = None, **fields: object):
    source = await driver.head(key, ReadOptions(version_id=version_id))
    source = replace(source, version_id=version_id)
    return await driver.copy(CopyRequest(source=source, destination=to, write_id=ID, **fields))


def source_of(key: str, version_id: str | None = None) -> str:
    version = "" if version_id is None else f"versionid={version_id.replace(':', '%3A')}&"
    return f"https://acme.blob.core.windows.net/proofs/{key}?{version}sig=told"


def staged(blob, **options):
    blob.stage_block_from_url("MDE=", source_of("there"), source_offset=0, source_length=4)
    return blob.commit_block_list([BlobBlock("MDE=")], **options)


@dataclass(frozen=True)
class Case:
    """What both do: with the vendor's container and with our driver; and whether it is refused."""

    theirs: object
    ours: object
    refused: str | None = None
    setup: tuple[str, datetime] | None = None
    hold: bool = False


SET = "governance"
CASES = {
    "put under both": Case(
        lambda c: c.get_blob_client("new").upload_blob(
            b"1", immutability_policy=policy(FAR, "Locked"), legal_hold=True, overwrite=True
        ),
        lambda d: d.put(put_of("new", b"1", retention=BOTH)),
    ),
    "put under hold alone": Case(
        lambda c: c.get_blob_client("new").upload_blob(b"1", legal_hold=True, overwrite=True),
        lambda d: d.put(put_of("new", b"1", retention=Retention(legal_hold=True))),
    ),
    "copy under both": Case(
        lambda c: staged(c.get_blob_client("new"), immutability_policy=policy(FAR, "Locked"), legal_hold=True),
        lambda d: copied(d, "there", "new", retention=BOTH),
    ),
    "overwrite what is kept": Case(
        lambda c: c.get_blob_client("there").upload_blob(b"2", overwrite=True),
        lambda d: d.put(put_of("there", b"2")),
        setup=LOCKED, hold=True,
    ),
    "set": Case(
        lambda c: c.get_blob_client("there").set_immutability_policy(policy(FAR)),
        lambda d: d.set_retention("there", FAR, SET),
    ),
    "set on a version": Case(
        lambda c: c.get_blob_client("there").set_immutability_policy(policy(FAR), version_id=OLD),
        lambda d: d.set_retention("there", FAR, SET, version_id=OLD),
    ),
    "lengthen": Case(
        lambda c: c.get_blob_client("there").set_immutability_policy(policy(LATER)),
        lambda d: d.set_retention("there", LATER, SET),
        setup=UNLOCKED,
    ),
    "shorten": Case(
        lambda c: c.get_blob_client("there").set_immutability_policy(policy(SOONER)),
        lambda d: d.set_retention("there", SOONER, SET, bypass_governance=True),
        setup=UNLOCKED,
    ),
    "remove": Case(
        lambda c: c.get_blob_client("there").delete_immutability_policy(),
        lambda d: d.set_retention("there", None, SET, bypass_governance=True),
        setup=UNLOCKED,
    ),
    "lock": Case(
        lambda c: c.get_blob_client("there").set_immutability_policy(policy(FAR, "Locked")),
        lambda d: d.set_retention("there", FAR, "compliance"),
        setup=UNLOCKED,
    ),
    "lengthen what is locked": Case(
        lambda c: c.get_blob_client("there").set_immutability_policy(policy(LATER, "Locked")),
        lambda d: d.set_retention("there", LATER, "compliance"),
        setup=LOCKED,
    ),
    "shorten what is locked": Case(
        lambda c: c.get_blob_client("there").set_immutability_policy(policy(SOONER, "Locked")),
        lambda d: d.set_retention("there", SOONER, "compliance", bypass_governance=True),
        setup=LOCKED, refused="BlobImmutableDueToPolicy",
    ),
    "unlock": Case(
        lambda c: c.get_blob_client("there").set_immutability_policy(policy(LATER)),
        lambda d: d.set_retention("there", LATER, SET, bypass_governance=True),
        setup=LOCKED, refused="BlobImmutableDueToPolicy",
    ),
    "remove what is locked": Case(
        lambda c: c.get_blob_client("there").delete_immutability_policy(),
        lambda d: d.set_retention("there", None, SET, bypass_governance=True),
        setup=LOCKED, refused="BlobImmutableDueToPolicy",
    ),
    "hold": Case(
        lambda c: c.get_blob_client("there").set_legal_hold(True),
        lambda d: d.set_legal_hold("there", held=True),
        setup=UNLOCKED,
    ),
    "hold a version": Case(
        lambda c: c.get_blob_client("there").set_legal_hold(True, version_id=OLD),
        lambda d: d.set_legal_hold("there", held=True, version_id=OLD),
    ),
    "release": Case(
        lambda c: c.get_blob_client("there").set_legal_hold(False),
        lambda d: d.set_legal_hold("there", held=False),
        setup=LOCKED, hold=True,
    ),
    "release what is free": Case(
        lambda c: c.get_blob_client("there").set_legal_hold(False),
        lambda d: d.set_legal_hold("there", held=False),
    ),
    "delete what is kept": Case(
        lambda c: c.get_blob_client("there").delete_blob(),
        lambda d: d.delete("there"),
        setup=LOCKED, hold=True,
    ),
    "delete a version under a policy": Case(
        lambda c: c.get_blob_client("kept").delete_blob(version_id=OLD),
        lambda d: d.delete("kept", version_id=OLD),
        refused="BlobImmutableDueToPolicy",
    ),
    "delete a version under hold": Case(
        lambda c: c.get_blob_client("held").delete_blob(version_id=OLD),
        lambda d: d.delete("held", version_id=OLD),
        refused="BlobImmutableDueToLegalHold",
    ),
    "restore": Case(
        lambda c: c.get_blob_client("kept").upload_blob_from_url(source_of("kept", OLD), overwrite=True),
        lambda d: copied(d, "kept", "kept", OLD),
    ),
}  # fmt: skip


def prepared(case: Case, **settings: object) -> FakeAzure:
    fake = FakeAzure(immutable=True)
    for name, locks in (
        ("there", {}), ("kept", {"policy": (FAR, "locked")}), ("held", {"hold": True}),
    ):  # fmt: skip
        fake.put(name, b"old", **locks)
        fake.blobs[name] = [replace(fake.blobs[name][0], version_id=OLD)]
        fake.put(name, b"data")
    if case.setup is not None or case.hold:
        found = fake.now("there")
        kept = None if case.setup is None else (case.setup[1], case.setup[0])
        fake._replace("there", found, replace(found, policy=kept, hold=case.hold))
    for name, value in settings.items():
        setattr(fake, name, value)
    return fake


def state(fake: FakeAzure) -> dict[str, list[tuple[object, ...]]]:
    return {
        name: [(each.data, each.policy, each.hold, each.current) for each in versions]
        for name, versions in fake.blobs.items()
    }


def shapes(fake: FakeAzure) -> list[tuple[object, ...]]:
    """The requests that change something, with what they say of locks."""
    found = []
    for each in fake.sent:
        if each.method in {"HEAD", "GET"}:
            continue
        parts = urlsplit(each.url)
        query = {name: value for name, value in parse_qsl(parts.query) if name not in {"sig", "blockid"}}
        locks = {name: value for name, value in each.headers.items() if "immutab" in name or "legal" in name}
        until = locks.pop("x-ms-immutability-policy-until-date", None)
        found.append((each.method, parts.path, query, locks, until and parsedate_to_datetime(until)))
    return found


def by_vendor(fake: FakeAzure, case: Case) -> str | None:
    with vendor(fake) as container:
        try:
            case.theirs(container)
        except HttpResponseError as error:
            return error.response.headers["x-ms-error-code"]
    return None


def by_us(fake: FakeAzure, case: Case) -> StorageError | None:
    async def whole():
        driver = fake.driver(max_retries=0)
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


LOCKING = [name for name in CASES if name.startswith(("put", "copy", "set", "hold"))]


@pytest.mark.parametrize("name", LOCKING)
def test_without_version_level_immutability_both_are_refused(name):
    case = CASES[name]
    one, other = prepared(case, immutable=False), prepared(case, immutable=False)
    before = state(one)
    assert by_vendor(one, case) == "FeatureNotEnabled"
    error = by_us(other, case)
    assert isinstance(error, StorageUnsupportedError)
    assert (error.provider_code, error.applied, error.code) == (
        "FeatureNotEnabled",
        "no",
        "RETENTION_DISABLED",
    )
    assert state(one) == state(other) == before


@pytest.mark.parametrize("mode", ["Unlocked", "Locked"])
def test_both_read_the_same(mode):
    fake = FakeAzure(immutable=True)
    with vendor(fake) as container:
        blob = container.get_blob_client("k")
        blob.upload_blob(b"1", immutability_policy=policy(FAR, mode), legal_hold=True)
        told = blob.get_blob_properties()
        kept = asyncio.run(fake.driver().get_retention("k", told.version_id))
        assert (told.immutability_policy.expiry_time, told.has_legal_hold) == (
            kept.retain_until,
            kept.legal_hold,
        )
        assert {"Unlocked": "governance", "Locked": "compliance"}[mode] == kept.mode
        assert container.get_container_properties().immutable_storage_with_versioning_enabled
        asyncio.run(fake.driver().put(put_of("ours", b"1", retention=BOTH)))
        theirs = container.get_blob_client("ours").get_blob_properties()
        assert (theirs.immutability_policy.expiry_time, theirs.has_legal_hold) == (FAR, True)
        assert theirs.immutability_policy.policy_mode == "locked"


@pytest.mark.parametrize(
    ("told", "mode"), [("mutable", "governance"), ("LOCKED", "compliance"), ("of tomorrow", "compliance")]
)
def test_a_mode_that_is_unknown_counts_as_the_stricter_one(told, mode):
    fake = FakeAzure(immutable=True)
    fake.put("k", b"1", policy=(FAR, told))
    assert asyncio.run(fake.driver().get_retention("k")) == Retention(mode=mode, retain_until=FAR)
