"""The rows of the clouds, and that what a row does not grant is refused with nothing on the wire."""

import asyncio

import pytest

from credstore.config.stores import (
    BackblazeConfig,
    R2Config,
    S3CompatibleConfig,
    S3Config,
    S3FamilyConfig,
    SpacesConfig,
    WasabiConfig,
)
from credstore.driver import CREATE, CopyRequest, ObjectInfo, Precondition, ReadOptions, SignRequest
from credstore.drivers.s3.dialect import DIALECTS, GENERIC, row_for
from credstore.drivers.s3.options import S3PutOptions
from credstore.drivers.s3.stated import NAMES, stated
from credstore.encryption import CustomerKey, KmsKey
from credstore.errors import (
    StorageConfigurationError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from tests.drivers.s3.fake import Answer, FakeS3
from tests.drivers.s3.support import Stream, make_driver, put_request, s3_config

OWN = "https://s3.example.com"
REPLACE = Precondition("replace", "etag")
SOURCE = ObjectInfo(key="a", size=100, etag="e", metadata={}, system={})


def test_a_configuration_finds_its_row():
    for config, name in (
        (s3_config(None), "s3"),
        (s3_config(None, kind=R2Config, account_id="0" * 32), "r2"),
        (s3_config(None, kind=SpacesConfig, region="ams3"), "spaces"),
        (s3_config(None, kind=WasabiConfig), "wasabi"),
        (s3_config(None, kind=BackblazeConfig, region="eu-central-003"), "b2"),
        (s3_config(OWN, kind=S3CompatibleConfig), "generic"),
        (s3_config(OWN, kind=S3CompatibleConfig, flavor="minio"), "minio"),
        (s3_config(OWN, kind=S3CompatibleConfig, flavor="ceph"), "ceph"),
    ):
        assert row_for(config).name == name
    assert row_for(s3_config(OWN, kind=S3FamilyConfig, region="us-east-1")) is GENERIC


@pytest.mark.parametrize(
    ("granted", "names"),
    [
        ("conditional_create", {"s3", "r2", "spaces", "minio", "ceph"}),
        ("conditional_replace", {"s3", "r2", "spaces", "minio", "ceph"}),
        ("conditional_delete", {"s3"}),
        ("delete_tells_existence", set()),
        ("durable", set(DIALECTS)),
        ("multipart", set(DIALECTS)),
        ("tags", {"s3", "minio", "ceph"}),
        ("versions", set(DIALECTS) - {"r2", "generic"}),
        ("sse_s3", {"s3", "b2"}),
        ("sse_s3_implied", {"r2"}),
        ("sse_kms", {"s3", "ceph"}),
        ("sse_c", {"s3", "r2", "spaces", "b2", "minio", "ceph"}),
    ],
)
def test_the_allow_list_of_the_provider_notes(granted, names):
    assert {name for name, row in DIALECTS.items() if getattr(row.capabilities, granted)} == names


KINDS = {
    "s3": (S3Config, {}),
    "r2": (R2Config, {}),
    "spaces": (SpacesConfig, {"region": "ams3", "addressing": "path"}),
    "wasabi": (WasabiConfig, {}),
    "b2": (BackblazeConfig, {"region": "eu-central-003"}),
    "minio": (S3CompatibleConfig, {"flavor": "minio"}),
    "ceph": (S3CompatibleConfig, {"flavor": "ceph"}),
    "generic": (S3CompatibleConfig, {}),
}
LARGE = b"x" * 100


def asks(**fields):
    return lambda driver: driver.put(put_request("k", fields.pop("data", b"x"), **fields))


def copies(**fields):
    return lambda driver: driver.copy(
        CopyRequest(source=SOURCE, destination="b", write_id="1" * 32, **fields)
    )


REFUSED = {
    "create": (asks(precondition=CREATE), {"wasabi", "b2", "generic"}),
    "replace": (asks(precondition=REPLACE), {"wasabi", "b2", "generic"}),
    "create in parts": (
        lambda driver: driver.put(put_request("k", LARGE, precondition=CREATE)),
        {"spaces", "wasabi", "b2", "ceph", "generic"},
    ),
    "replace in parts": (
        lambda driver: driver.put(put_request("k", LARGE, precondition=REPLACE)),
        set(DIALECTS) - {"s3"},
    ),
    "create by copy": (copies(precondition=CREATE), set(DIALECTS) - {"s3", "r2"}),
    "replace by copy": (copies(precondition=REPLACE), set(DIALECTS) - {"s3"}),
    "delete one version": (lambda driver: driver.delete("k", if_match="e"), set(DIALECTS) - {"s3"}),
    "tags": (asks(tags={"a": "b"}), set(DIALECTS) - {"s3", "minio", "ceph"}),
    "infrequent access": (asks(storage_class="STANDARD_IA"), set(DIALECTS) - {"s3", "r2", "ceph"}),
    "AES256": (asks(encryption="AES256"), set(DIALECTS) - {"s3", "b2", "r2"}),
    "KMS": (asks(encryption=KmsKey()), set(DIALECTS) - {"s3", "ceph"}),
    "customer key": (asks(encryption=CustomerKey(bytes(32))), {"wasabi", "generic"}),
    "customer key for head": (
        lambda driver: driver.head("k", ReadOptions(customer_key=CustomerKey(bytes(32)))),
        {"wasabi", "generic"},
    ),
    "version of a get": (
        lambda driver: driver.get("k", ReadOptions(version_id="v")),
        {"r2", "generic"},
    ),
    "version of a delete": (lambda driver: driver.delete("k", version_id="v"), {"r2", "generic"}),
    "version of a link": (
        lambda driver: driver.sign(SignRequest(key="k", version_id="v")),
        {"r2", "generic"},
    ),
    "acl": (
        asks(driver_options={"s3": S3PutOptions(acl="private")}),
        {"r2", "b2", "generic"},
    ),
    "legal hold": (
        asks(driver_options={"s3": S3PutOptions(legal_hold=True)}),
        {"r2", "spaces", "generic"},
    ),
}


def test_a_refused_stream_is_not_even_opened():
    async def main():
        fake = FakeS3()
        driver = make_driver(fake.url, transport=fake.transport(), kind=WasabiConfig)
        for fields in ({"precondition": CREATE}, {"tags": {"a": "b"}}, {"encryption": KmsKey()}):
            stream = Stream(b"x")
            with pytest.raises(StorageUnsupportedError):
                await driver.put(put_request("k", body=stream, **fields))
            assert (stream.opened, fake.log) == (0, [])
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("asked", REFUSED)
def test_what_a_cloud_would_ignore_is_refused_before_anything_is_sent(name, asked):
    call, refusing = REFUSED[asked]
    kind, settings = KINDS[name]

    async def main():
        fake = FakeS3()
        driver = make_driver(
            fake.url,
            transport=fake.transport(),
            kind=kind,
            multipart_threshold=50,
            part_size=50,
            max_retries=0,
            **settings,
        )
        for method in ("PUT", "POST", "GET", "HEAD", "DELETE"):
            fake.plan(method, Answer(400), times=9)
        try:
            if name in refusing:
                with pytest.raises(StorageUnsupportedError) as caught:
                    await call(driver)
                assert caught.value.applied == "no"
                assert fake.log == []
            elif asked != "version of a link":
                with pytest.raises(StorageInvalidRequestError):
                    await call(driver)
                assert fake.log != []
        finally:
            await driver.aclose()

    asyncio.run(main())


def headers_sent(kind, settings, call) -> dict:
    async def main():
        fake = FakeS3()
        driver = make_driver(fake.url, transport=fake.transport(), kind=kind, max_retries=0, **settings)
        try:
            await call(driver)
        finally:
            await driver.aclose()
        return fake.log[0]

    return asyncio.run(main())


def test_spaces_gets_its_etag_without_quotes_and_lists_unencoded():
    async def replace(driver):
        stored = await driver.put(put_request("k", b"1"))
        await driver.put(put_request("k", b"2", precondition=Precondition("replace", stored.etag)))

    async def main():
        fake = FakeS3()
        for kind, quoted in ((SpacesConfig, False), (S3Config, True)):
            driver = make_driver(
                fake.url, transport=fake.transport(), kind=kind, region="ams3", addressing="path"
            )
            await replace(driver)
            assert fake.sent("PUT")[-1].headers["if-match"].startswith('"') is quoted
            fake.plan(
                "GET",
                Answer(200, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"),
            )
            await driver.list("p")
            assert ("encoding-type" in fake.log[-1].query) is quoted
            await driver.aclose()

    asyncio.run(main())


def test_r2_gets_no_encryption_header_and_its_own_copy_condition():
    sent = headers_sent(R2Config, {}, asks(encryption="AES256"))
    assert not any(name.startswith("x-amz-server-side") for name in sent.headers)

    async def copy(driver):
        await driver.put(put_request("a", b"1"))
        await driver.copy(
            CopyRequest(
                source=await driver.head("a"), destination="b", write_id="1" * 32, precondition=CREATE
            )
        )

    async def main():
        fake = FakeS3()
        driver = make_driver(fake.url, transport=fake.transport(), kind=R2Config)
        await copy(driver)
        await driver.aclose()
        return fake.sent("PUT")[-1].headers

    headers = asyncio.run(main())
    assert headers["cf-copy-destination-if-none-match"] == "*"
    assert "if-none-match" not in headers


def test_r2_would_rename_a_key_that_is_not_nfc_so_it_is_refused():
    async def main():
        fake = FakeS3()
        driver = make_driver(fake.url, transport=fake.transport(), kind=R2Config)
        key = "e\u0301"
        for call in (
            lambda: driver.put(put_request(key, b"x")),
            lambda: driver.get(key),
            lambda: driver.list(key),
            lambda: driver.sign(SignRequest(key=key)),
            lambda: driver.copy(CopyRequest(source=SOURCE, destination=key, write_id="1" * 32)),
        ):
            with pytest.raises(StorageInvalidKeyError, match="NFC"):
                await call()
        outcomes = await driver.delete_many([key])
        assert isinstance(outcomes[key], StorageInvalidKeyError)
        assert fake.log == []
        await driver.put(put_request("\u00e9", b"x"))
        await driver.aclose()

    asyncio.run(main())


def test_a_body_larger_than_the_cloud_keeps_is_refused_before_it_is_opened():
    async def main():
        fake = FakeS3()
        driver = make_driver(fake.url, transport=fake.transport(), kind=WasabiConfig)
        stream = Stream(length=6 * 1024**4)
        with pytest.raises(StorageInvalidRequestError) as caught:
            await driver.put(put_request("k", body=stream))
        assert (caught.value.code, stream.opened, fake.log) == ("TOO_LARGE", 0, [])
        await driver.aclose()

    asyncio.run(main())


def test_driver_options_of_another_kind_are_refused():
    async def main():
        fake = FakeS3()
        driver = make_driver(fake.url, transport=fake.transport())
        with pytest.raises(StorageInvalidRequestError, match="S3PutOptions"):
            await driver.put(put_request("k", b"x", driver_options={"s3": {"acl": "private"}}))
        await driver.aclose()

    asyncio.run(main())
    with pytest.raises(StorageInvalidRequestError, match="together"):
        S3PutOptions(object_lock_mode="GOVERNANCE")


def test_every_row_names_what_it_stands_on():
    assert all(len(row.grounds) > 20 for row in DIALECTS.values())


# What users state of their own server


def test_what_is_stated_is_granted_and_what_is_taken_away_is_not():
    row = stated(GENERIC, "conditional_create, create_by_multipart,tags,storage_class:COLD")
    assert row.capabilities.conditional_create
    assert row.create_by_multipart
    assert row.capabilities.tags
    assert row.capabilities.storage_classes == {"COLD"}
    row = stated(DIALECTS["s3"], "-conditional_delete,-sse_s3,-storage_class:GLACIER")
    assert not row.capabilities.conditional_delete
    assert not row.capabilities.sse_s3
    assert row.capabilities.storage_classes == DIALECTS["s3"].capabilities.storage_classes - {"GLACIER"}
    assert stated(GENERIC, "") is GENERIC
    assert stated(GENERIC, "create_by_copy,conditional_create").create_by_copy == "if-none-match"


@pytest.mark.parametrize("name", NAMES)
def test_every_name_states_one_fact(name):
    needed = {"create": "conditional_create,", "replac": "conditional_replace,"}.get(name[:6], "")
    on, off = stated(GENERIC, f"{needed}{name}"), stated(DIALECTS["s3"], f"-{name}")
    fact = on if hasattr(on, name) else on.capabilities
    assert getattr(fact, name)
    fact = off if hasattr(off, name) else off.capabilities
    assert not getattr(fact, name)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("conditional_crate", "did you mean 'conditional_create'"),
        ("zzz", "it knows acl"),
        ("tags,tags", "twice"),
        ("tags,-tags", "twice"),
        ("create_by_multipart", "conditional_create"),
        ("replace_by_copy", "conditional_replace"),
        ("storage_class:", "not known"),
        ("durable", "not known"),
    ],
)
def test_a_statement_that_cannot_be_meant_is_refused(text, word):
    with pytest.raises(StorageConfigurationError, match=word):
        make_driver(OWN, kind=S3CompatibleConfig, capabilities=text)


def test_a_stated_capability_is_used_and_a_revoked_one_refused():
    async def main():
        fake = FakeS3()
        driver = make_driver(
            fake.url, transport=fake.transport(), kind=S3CompatibleConfig, capabilities="conditional_create"
        )
        await driver.put(put_request("k", b"x", precondition=CREATE))
        assert fake.log[-1].headers["if-none-match"] == "*"
        await driver.aclose()
        driver = make_driver(fake.url, transport=fake.transport(), capabilities="-conditional_delete")
        with pytest.raises(StorageUnsupportedError):
            await driver.delete("k", if_match="e")
        await driver.aclose()

    asyncio.run(main())


def test_only_the_clouds_own_endpoint_lists_in_the_order_that_the_cloud_promises():
    for kind in (S3Config, WasabiConfig):
        own = row_for(s3_config(None, kind=kind, region="us-east-1"))
        assert own.capabilities.ordered
        assert not row_for(s3_config("http://127.0.0.1:9000", kind=kind)).capabilities.ordered
    assert row_for(s3_config(OWN, kind=S3CompatibleConfig, flavor="ceph")).capabilities.ordered
    assert not row_for(s3_config(OWN, kind=S3CompatibleConfig)).capabilities.ordered
