"""Reports of a live check: what they change, and when they count."""

import asyncio
import json
import os
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import credstore
from credstore import (
    AzureConfig,
    CapabilityReport,
    GcsConfig,
    LocalConfig,
    MemoryConfig,
    R2Config,
    S3CompatibleConfig,
    S3Config,
    Secret,
    StorageConfigurationError,
    StorageFactory,
    StorageUnsupportedError,
    load_report,
)
from credstore.config.reports import CLOCKS, LONGEST_AGE, place_of, said_of
from credstore.driver.capability_report import (
    CapabilityFact,
    Latency,
    encode_report,
    parse_report,
    report_members,
)
from credstore.driver.stated import FLAGS
from credstore.drivers.gcs.driver import GcsDriver
from credstore.drivers.s3.dialect import row_for
from credstore.drivers.s3.driver import S3Driver
from credstore.drivers.s3.stated import NAMES, has, stated
from credstore.proofs import LocalSigner, TrustStore, encode_trust_store, trust_key
from credstore.proofs.capability_reports import sign_report

NOW = datetime.now(UTC).replace(microsecond=0)
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": Secret("canary-secret-value")}
CUSTOM = S3CompatibleConfig(endpoint="https://s3.example.com", bucket="proofs", **KEYS)
R2 = R2Config(account_id="0" * 32, bucket="proofs", **KEYS)
AZURE = AzureConfig(account="example", bucket="proofs", account_key=Secret("ZXhhbXBsZQ=="))
GCS = GcsConfig(bucket="proofs", emulator_host="http://127.0.0.1:9")


def report_of(config, *, tested_at=NOW, **found) -> CapabilityReport:
    provider, place = place_of(config)
    words = {True: "yes", False: "no", None: "not tried"}
    facts = tuple(
        CapabilityFact(name=name, granted=False, honoured=words[does], why="") for name, does in found.items()
    )
    return CapabilityReport(provider=provider, place=place, tested_at=tested_at, facts=facts)


def written(path: Path, report: CapabilityReport) -> str:
    path.write_bytes(encode_report(report))
    return f"report:{path}"


def capabilities(config):
    provider = StorageFactory(environ={}).create(config)
    asyncio.run(provider.aclose())
    return provider.capabilities


TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
FACTS = st.builds(
    CapabilityFact,
    name=st.one_of(st.sampled_from(NAMES), st.from_regex(r"\Astorage_class:[!-+\--~]{1,63}\Z")),
    granted=st.sampled_from([True, False, None]),
    honoured=st.sampled_from(["yes", "no", "not tried"]),
    why=TEXTS,
)
COUNTS = st.integers(0, 2**53 - 1)
REPORTS = st.builds(
    CapabilityReport,
    provider=TEXTS,
    place=st.lists(TEXTS, max_size=3).map(tuple),
    tested_at=st.integers(0, 2**32).map(lambda second: datetime.fromtimestamp(second, UTC)),
    facts=st.lists(FACTS, max_size=5, unique_by=lambda fact: fact.name).map(tuple),
    latencies=st.lists(
        st.builds(Latency, verb=TEXTS, samples=COUNTS, p50=COUNTS, p95=COUNTS, p99=COUNTS, original=COUNTS),
        max_size=2,
    ).map(tuple),
    region=TEXTS,
    location_type=TEXTS,
    failed_checks=st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple),
    checks=COUNTS,
    checks_not_run=COUNTS,
)


@given(REPORTS)
def test_a_report_is_read_as_it_was_written(report):
    assert parse_report(encode_report(report)) == report


@given(REPORTS, st.data())
def test_a_report_that_was_changed_anywhere_is_refused_or_says_the_same(report, data):
    document = bytearray(encode_report(report))
    place = data.draw(st.integers(0, len(document) - 1))
    document[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = parse_report(bytes(document))
    except StorageConfigurationError:
        return
    assert found == report  # Only its spacing was changed.


@given(st.binary(max_size=200))
def test_what_is_not_a_report_is_refused(data):
    with pytest.raises(StorageConfigurationError):
        parse_report(data)


@pytest.mark.parametrize(
    "change",
    [
        {"facts": None},
        {"facts": [{}]},
        {"facts": ["tags"]},
        {"facts": [{"name": "tags", "granted": 1, "honoured": "yes", "why": ""}]},
        {"facts": [{"name": "tags", "granted": True, "honoured": "maybe", "why": ""}]},
        {"facts": [{"name": "No Name", "granted": True, "honoured": "yes", "why": ""}]},
        {"facts": [{"name": "storage_class:", "granted": True, "honoured": "yes", "why": ""}]},
        {"facts": [{"name": "storage_class:a,b", "granted": True, "honoured": "yes", "why": ""}]},
        {"facts": [{"name": "storage_class:a\n", "granted": True, "honoured": "yes", "why": ""}]},
        {"facts": [{"name": "other_class:a", "granted": True, "honoured": "yes", "why": ""}]},
        {"facts": [{"name": "tags", "granted": True, "honoured": "yes", "why": ""}] * 2},
        {"place": "memory"},
        {"testedAt": "yesterday"},
        {"checks": -1},
        {"checks": True},
        {"failedChecks": [["one"]]},
        {"provider": 1},
        {"unknown": 1},
    ],
)
def test_members_of_other_kinds_are_refused(change):
    document = json.loads(encode_report(report_of(CUSTOM, tags=True))) | change
    with pytest.raises(StorageConfigurationError, match="the report of the store"):
        parse_report(json.dumps(document).encode())


# What a report changes


def test_a_report_grants_and_takes_away_on_s3():
    row = row_for(CUSTOM)
    report = report_of(CUSTOM, conditional_create=True, create_by_multipart=True, response_overrides=False)
    found = stated(row, report)
    assert found.capabilities.conditional_create
    assert found.create_by_multipart
    assert not found.capabilities.response_overrides
    rest = set(NAMES) - {"conditional_create", "create_by_multipart", "response_overrides"}
    assert {name: has(found, name) for name in rest} == {name: has(row, name) for name in rest}


def test_what_was_not_tried_stays_as_the_row_has_it():
    row = row_for(R2)
    found = stated(row, report_of(R2, **dict.fromkeys(NAMES)))
    assert found == row


def test_what_means_nothing_alone_goes_with_what_it_needs():
    found = stated(row_for(R2), report_of(R2, conditional_create=False, conditional_replace=False))
    assert not found.create_by_multipart
    assert found.create_by_copy is None


def test_how_a_row_says_it_stays():
    """R2's copies only create with a header of its own, which a report knows nothing of."""
    found = stated(row_for(R2), report_of(R2, create_by_copy=True))
    assert found.create_by_copy == "cf-copy-destination-if-none-match"


def test_other_clouds_are_granted_what_their_driver_has():
    assert not capabilities(GCS).conditional_create
    granted = capabilities(replace(GCS, capabilities=report_of(GCS, conditional_create=True, tags=True)))
    assert granted.conditional_create
    assert not granted.tags  # Google has none.
    able = capabilities(replace(AZURE, capabilities=report_of(AZURE, tags=False, content_etags=True)))
    assert (able.tags, able.content_etags, able.versions) == (False, False, True)


@pytest.mark.parametrize("make", [lambda path: LocalConfig(path=path), lambda _: MemoryConfig(name="x")])
def test_stores_without_a_server_refuse_what_was_taken_away(make, tmp_path):
    config = make(tmp_path)
    for said in ("-tags", report_of(config, tags=False, sse_kms=True)):
        stated_config = replace(config, capabilities=said)

        async def use(stated_config=stated_config):
            async with StorageFactory(environ={}) as factory:
                store = factory.create(stated_config)
                assert not store.capabilities.tags
                assert not store.capabilities.sse_kms
                with pytest.raises(StorageUnsupportedError):
                    await store.store("key", b"1", tags={"a": "b"})

        asyncio.run(use())
    with pytest.raises(StorageConfigurationError, match="did you mean '-tags'"):
        capabilities(replace(config, capabilities="tags"))


def test_all_names_are_of_the_capabilities():
    able = vars(credstore.Capabilities)["__dataclass_fields__"]
    assert set(FLAGS) <= set(able)


# Where it comes from


def test_a_report_is_named_by_a_url_a_mapping_or_a_variable(tmp_path):
    environ = {"CREDSTORE_ACCESS_KEY_ID": "id", "CREDSTORE_SECRET_ACCESS_KEY": "canary-secret-value"}
    said = written(tmp_path / "report.json", report_of(CUSTOM, tags=True))
    url = "custom://s3.example.com/proofs"
    mapping = {"provider": "custom", "endpoint": "https://s3.example.com", "bucket": "proofs"}
    report = load_report(tmp_path / "report.json")
    for store, more in (
        (f"{url}?capabilities={said}", {}),
        (mapping | {"capabilities": said}, {}),
        (mapping | {"capabilities": report}, {}),
        (url, {"CREDSTORE_CAPABILITIES": said, "CREDSTORE_PROVIDER": "custom"}),
    ):
        factory = StorageFactory(environ=environ | more)
        assert factory.create(store).capabilities.tags, store
    assert not StorageFactory(environ=environ).create(url).capabilities.tags


def test_a_report_of_another_store_does_nothing_to_a_terminal_or_log(tmp_path):
    report = replace(
        report_of(CUSTOM, tags=True), provider="custom\x1b[31m", place=("\x1b[2J\r\nforged", "\u202e")
    )
    said = written(tmp_path / "report.json", report)
    with pytest.raises(StorageConfigurationError, match="is not of this store") as caught:
        said_of(replace(CUSTOM, capabilities=said))
    assert str(caught.value).isprintable()


def test_a_report_of_another_store_is_refused(tmp_path):
    said = written(tmp_path / "report.json", report_of(CUSTOM, tags=True))
    others = (
        replace(CUSTOM, bucket="others"),
        replace(CUSTOM, endpoint="https://s3.example.org"),
        replace(R2, endpoint="https://s3.example.com"),
        LocalConfig(path=tmp_path),
    )
    for other in others:
        with pytest.raises(StorageConfigurationError, match="is not of this store: it is of custom at https"):
            capabilities(replace(other, capabilities=said))
    # A prefix is a part of the same store, and a flavor only what is expected of it.
    assert capabilities(replace(CUSTOM, capabilities=said, prefix="team/a", flavor="minio")).tags


AWS = S3Config(bucket="proofs", region="eu-west-1", **KEYS)


@pytest.mark.parametrize(
    "config",
    [
        AWS,
        replace(AWS, access_key_id="AKIDOTHER"),
        replace(AWS, region="us-east-1"),
        replace(AWS, region="eu-west-1", dual_stack=True),
        replace(AWS, fips=True),
        replace(AWS, accelerate=True),
        replace(AWS, endpoint="https://s3.eu-west-1.amazonaws.com"),
        replace(AWS, region=None, access_key_id=None, secret_access_key=None, profile="work"),
    ],
)
def test_a_bucket_at_aws_is_the_same_by_any_endpoint_and_with_any_keys(config, tmp_path, monkeypatch):
    aws_files(tmp_path, monkeypatch, "region = eu-central-1")
    assert place_of(config) == ("s3", ("arn:aws:s3:::proofs",))
    said = written(tmp_path / "report.json", report_of(config, tags=False))
    assert not capabilities(replace(AWS, capabilities=said)).tags
    other = written(tmp_path / "other.json", report_of(AWS, tags=False))
    assert not capabilities(replace(config, capabilities=other)).tags


def aws_files(folder, monkeypatch, settings) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    file = folder / "config"
    file.write_text(f"[profile work]\naws_access_key_id = A\naws_secret_access_key = B\n{settings}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))


@pytest.mark.parametrize(
    ("region", "place"),
    [("cn-north-1", "arn:aws-cn:s3:::proofs"), ("us-gov-west-1", "arn:aws-us-gov:s3:::proofs")],
)
def test_each_partition_of_aws_has_names_of_its_own(region, place):
    assert place_of(replace(AWS, region=region)) == ("s3", (place,))


def test_a_profile_stands_for_the_endpoint_it_leads_to(tmp_path, monkeypatch):
    of_profile = S3Config(bucket="proofs", profile="work")
    aws_files(tmp_path, monkeypatch, "region = eu-west-1\nendpoint_url = https://s3.example.com")
    explicit = replace(AWS, endpoint="https://s3.example.com")
    said = written(tmp_path / "report.json", report_of(explicit, tags=False))
    assert not capabilities(replace(of_profile, capabilities=said)).tags
    elsewhere = replace(explicit, endpoint="https://s3.example.org")
    said = written(tmp_path / "report.json", report_of(elsewhere, tags=False))
    with pytest.raises(StorageConfigurationError, match="is not of this store"):
        capabilities(replace(of_profile, capabilities=said))


def test_a_profile_that_leads_elsewhere_by_the_first_request_has_no_use_of_the_report(tmp_path, monkeypatch):
    aws_files(tmp_path, monkeypatch, "endpoint_url = https://s3.example.com")
    config = S3Config(bucket="proofs", profile="work")
    said = written(tmp_path / "report.json", report_of(config, tags=False))

    async def main():
        driver = S3Driver(replace(config, capabilities=said))
        aws_files(tmp_path, monkeypatch, "endpoint_url = https://s3.example.org")
        with pytest.raises(StorageConfigurationError, match="is not of this store"):
            await driver.head("key")
        await driver.aclose()

    asyncio.run(main())


def test_a_report_counts_for_a_while(tmp_path):
    path = tmp_path / "report.json"
    config = replace(CUSTOM, capabilities=written(path, report_of(CUSTOM, tags=True)))
    for now in (NOW, NOW + LONGEST_AGE, NOW - CLOCKS):
        assert said_of(config, now=now) == load_report(path)
    second = timedelta(seconds=1)
    with pytest.raises(StorageConfigurationError, match="counts for 90 days; run credstore check-provider"):
        said_of(config, now=NOW + LONGEST_AGE + second)
    with pytest.raises(StorageConfigurationError, match="dated in the future"):
        said_of(config, now=NOW - CLOCKS - second)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path / "none.json", tmp_path, "nul\0"):
        with pytest.raises(StorageConfigurationError, match=r"the report .* cannot be read"):
            load_report(str(path))
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(StorageConfigurationError, match="has more than"):
        load_report(huge)
    with pytest.raises(StorageConfigurationError, match="the report '' cannot be read"):
        capabilities(replace(CUSTOM, capabilities="report:"))


def test_a_statement_by_names_is_no_report():
    with pytest.raises(StorageConfigurationError, match=r"`capabilities_trust` .*is set, but"):
        replace(CUSTOM, capabilities="tags", capabilities_trust="keys.json")
    with pytest.raises(StorageConfigurationError, match=r"`capabilities_trust` .*is set, but"):
        replace(CUSTOM, capabilities_trust="keys.json")


# Who signed it


def signed(path: Path, report: CapabilityReport, signer: LocalSigner) -> str:
    path.write_bytes(asyncio.run(sign_report(report, signer)))
    return f"report:{path}"


def trusting(path: Path, *keys) -> str:
    path.write_bytes(encode_trust_store(TrustStore(1, tuple(keys))))
    return os.fspath(path)


def trusted(signer, *, usages=("proof",), valid_from=NOW - timedelta(days=1), valid_until=None):
    return trust_key(
        signer.public_key,
        issuers=["https://issuer.example"],
        usages=usages,
        valid_from=valid_from,
        valid_until=valid_until,
    )


@pytest.mark.parametrize("scheme", ["ed25519", "ecdsa-p256-sha256"])
def test_a_signed_report_counts_by_its_signature(tmp_path, scheme):
    signer, stranger = LocalSigner.generate(scheme), LocalSigner.generate(scheme)
    report = report_of(CUSTOM, tags=True)
    said = signed(tmp_path / "report.json", report, signer)
    keys = trusting(tmp_path / "keys.json", trusted(signer))
    assert capabilities(replace(CUSTOM, capabilities=said, capabilities_trust=keys)).tags
    assert load_report(tmp_path / "report.json", trust=keys) == report
    assert load_report(tmp_path / "report.json") == report  # Taken as it is.
    others = trusting(tmp_path / "others.json", trusted(stranger))
    with pytest.raises(StorageConfigurationError, match="no key that signed this"):
        capabilities(replace(CUSTOM, capabilities=said, capabilities_trust=others))


@pytest.mark.parametrize(
    "key",
    [
        {"usages": ("revoke",)},
        {"valid_until": NOW - timedelta(hours=1)},
        {"valid_from": NOW + timedelta(days=1)},
    ],
)
def test_a_key_that_may_not_sign_reports_now_does_not_count(tmp_path, key):
    signer = LocalSigner.generate()
    signed(tmp_path / "report.json", report_of(CUSTOM, tags=True), signer)
    keys = trusting(tmp_path / "keys.json", trusted(signer, **key))
    with pytest.raises(StorageConfigurationError, match="no key that may sign reports now has signed it"):
        load_report(tmp_path / "report.json", trust=keys)


def test_a_revoked_key_does_not_count(tmp_path):
    signer = LocalSigner.generate()
    signed(tmp_path / "report.json", report_of(CUSTOM), signer)
    trust = TrustStore(1, (trusted(signer),)).revoke(signer.public_key.keyid, at=NOW, invalid_since=NOW)
    (tmp_path / "keys.json").write_bytes(encode_trust_store(trust))
    with pytest.raises(StorageConfigurationError, match="no key that may sign reports"):
        load_report(tmp_path / "report.json", trust=tmp_path / "keys.json")


def test_without_a_signature_it_does_not_count_where_keys_are_named(tmp_path):
    said = written(tmp_path / "report.json", report_of(CUSTOM, tags=True))
    keys = trusting(tmp_path / "keys.json", trusted(LocalSigner.generate()))
    with pytest.raises(StorageConfigurationError, match="does not count"):
        capabilities(replace(CUSTOM, capabilities=said, capabilities_trust=keys))
    (tmp_path / "keys.json").write_bytes(b"{}")
    with pytest.raises(StorageConfigurationError, match="not a valid trust store"):
        load_report(tmp_path / "report.json", trust=keys)


@pytest.mark.parametrize("where", ["payload", "statement", "type"])
def test_a_tampered_report_does_not_count(tmp_path, where):
    signer = LocalSigner.generate()
    path = tmp_path / "report.json"
    signed(path, report_of(CUSTOM, tags=False), signer)
    envelope = json.loads(path.read_bytes())
    payload = b64decode(envelope["payload"])
    if where == "payload":
        payload = payload.replace(b'"no"', b'"yes"')
    elif where == "statement":
        payload = payload[:-3]
    else:
        payload = payload.replace(b"capabilities/v1", b"capabilities/v2")
    path.write_text(json.dumps(envelope | {"payload": b64encode(payload).decode()}))
    keys = trusting(tmp_path / "keys.json", trusted(signer))
    with pytest.raises(StorageConfigurationError, match="no signature fits"):
        load_report(path, trust=keys)
    if where != "payload":  # Without keys nobody can tell whether what it says is what was signed.
        with pytest.raises(StorageConfigurationError, match="does not count"):
            load_report(path)


def test_a_proof_is_no_report(tmp_path):
    signer = LocalSigner.generate()

    async def issue():
        from credstore import MemoryStorageProvider
        from credstore.proofs import ProofStore

        trust = TrustStore(1, (trusted(signer),))
        async with ProofStore(
            provider=MemoryStorageProvider(), trust=trust, signer=signer, issuer="https://issuer.example"
        ) as store:
            return (await store.issue(b"asset")).envelope

    from credstore.proofs.format.dsse import encode_envelope

    path = tmp_path / "report.json"
    path.write_bytes(encode_envelope(asyncio.run(issue())))
    keys = trusting(tmp_path / "keys.json", trusted(signer))
    for trust in (None, keys):
        with pytest.raises(StorageConfigurationError, match=r"predicateType|statement about something else"):
            load_report(path, trust=trust)


def test_a_report_has_a_short_repr():
    config = replace(CUSTOM, capabilities=report_of(CUSTOM, **dict.fromkeys(NAMES, True)))
    assert len(repr(config.capabilities)) < 200
    assert GcsDriver(replace(GCS, capabilities=report_of(GCS))).capabilities == GcsDriver(GCS).capabilities
    assert report_members(config.capabilities)["provider"] == "custom"
