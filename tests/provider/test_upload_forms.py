"""Upload forms: the store that takes them checks every condition, and none is made that could bypass anything."""

import asyncio
import base64
import copy
import hashlib
import json
import pickle
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest

from credstore import (
    AzureConfig,
    AzureStorageProvider,
    BackblazeConfig,
    BackblazeStorageProvider,
    ClientSide,
    CustomerKey,
    KeyRing,
    KmsKey,
    LocalConfig,
    LocalKey,
    LocalStorageProvider,
    MemoryStorageProvider,
    R2Config,
    R2StorageProvider,
    Secret,
    StorageAuthenticationError,
    StorageFactory,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageProvider,
    StorageUnsupportedError,
    UploadForm,
)
from credstore.drivers.gcs.driver import GcsDriver
from credstore.drivers.s3.driver import S3Driver
from credstore.strategies.prefixed import prefixed
from credstore.testing.scripted import ScriptedTransport
from credstore.wire.aws.credentials import Credentials, StaticCredentials
from tests.drivers.gcs.fake import FakeGcs, Tokens
from tests.drivers.s3.support import SECRET, minio_config, s3_config
from tests.servers.post_policy import Refused, check_upload, serving_forms, signed_by_aws

NOW = 1_790_000_000.0
KEYS = {"bucket": "proofs", "access_key_id": "id", "secret_access_key": Secret("canary-secret-key")}
AZURE = {
    "account": "acme",
    "bucket": "proofs",
    "account_key": Secret(base64.b64encode(bytes(32)).decode()),
}


@asynccontextmanager
async def opened(url="http://127.0.0.1:9", *, below="", driver_options=None, **settings):
    config = minio_config(url, bucket="proofs", **settings)
    driver = S3Driver(config, transport=ScriptedTransport(), clock=lambda: NOW, **(driver_options or {}))
    async with StorageProvider(prefixed(driver, below), config) as provider:
        yield provider


def signed_by_google(fields) -> bool:
    """The signature of the fake's account."""
    return fields["x-goog-signature"] == hashlib.sha256(fields["policy"].encode()).hexdigest()


def made(key=None, *, settings=None, **options) -> UploadForm:
    async def main():
        async with opened(**(settings or {})) as provider:
            return await provider.get_upload_form(key, **{"max_size": 100, **options})

    return asyncio.run(main())


async def post(form: UploadForm, data: bytes, *, filename="photo.png", **changed) -> int:
    """Send it as a browser would; `changed` fields are None to leave them out."""
    body = aiohttp.FormData(quote_fields=False)
    for name, value in {**form.fields, **changed}.items():
        if value is not None:
            body.add_field(name, value)
    body.add_field("file", data, filename=filename)
    async with aiohttp.ClientSession() as session, session.post(form.url, data=body) as answer:
        return answer.status


def test_the_store_takes_what_the_form_is_for_and_nothing_else():
    with serving_forms("proofs", signed_by_aws(SECRET), NOW + 5) as store:

        async def main():
            async with opened(store.url) as provider:
                limits = {"min_size": 2, "max_size": 10, "content_type": "image/png", "expires_in": 60}
                form = await provider.get_upload_form("a/é 1.png", success_status=201, **limits)
                assert await post(form, b"0123456789") == 201
                assert store.objects == {"a/é 1.png": ("image/png", b"0123456789")}
                for data, changed in (
                    (b"01234567890", {}),
                    (b"0", {}),
                    (b"012", {"key": "a/é 2.png"}),
                    (b"012", {"Content-Type": "text/html"}),
                    (b"012", {"Content-Type": None}),
                    (b"012", {"success_action_status": "200"}),
                    (b"012", {"x-amz-meta-credstore-sha256": "00"}),
                    (b"012", {"acl": "public-read"}),
                    (b"012", {"policy": form.fields["policy"][:-4]}),
                ):
                    assert await post(form, data, **changed) in {400, 403}, changed
                below = await provider.get_upload_form(prefix="inbox/", max_size=10, expires_in=60)
                assert await post(below, b"1", filename="my photo.png") == 204
                assert await post(below, b"2", key="inbox/other") == 204
                assert await post(below, b"3", key="elsewhere/other") == 403
                store.now = NOW + 61
                assert await post(form, b"012") == 403

        asyncio.run(main())
        assert {key: data for key, (_, data) in store.objects.items()} == {
            "a/é 1.png": b"0123456789", "inbox/my photo.png": b"1", "inbox/other": b"2",
        }  # fmt: skip


def test_a_form_of_google_is_the_one_of_its_client_and_admits_the_same():
    config = FakeGcs().config()

    async def main():
        driver = GcsDriver(config, tokens=Tokens(), transport=ScriptedTransport(), clock=lambda: NOW)
        async with StorageProvider(driver, config) as provider:
            exact = await provider.get_upload_form(
                "a/é", max_size=3, content_type="text/plain", expires_in=60
            )
            return exact, await provider.get_upload_form(prefix="in/", max_size=3)

    exact, below = asyncio.run(main())
    assert urlsplit(exact.url)[1:3] == ("storage.googleapis.com", "/proofs/")
    told = {"bucket": "proofs", "now": NOW, "checked": signed_by_google}
    assert check_upload(exact.fields, "f", b"123", **told) == "a/é"
    assert check_upload(below.fields, "f", b"123", **told) == "in/f"
    for form, data, changed in (
        (exact, b"1234", {}),
        (exact, b"", {"key": "b"}),
        (exact, b"", {"Content-Type": "text/html"}),
        (exact, b"", {"x-goog-meta-a": "b"}),
        (below, b"", {"key": "out"}),
    ):
        with pytest.raises(Refused):
            check_upload({**form.fields, **changed}, "f", data, **told)
    assert exact.expires_at == datetime.fromtimestamp(NOW + 60, UTC)


def test_a_form_shows_nothing_that_grants_access(caplog):
    events = []

    async def main():
        async with opened() as provider:
            provider._session.lifetime.observers = (events.append,)
            return await provider.get_upload_form("a", max_size=1)

    with caplog.at_level("DEBUG"):
        form = asyncio.run(main())
    shown = repr(form) + str(form) + repr(events) + caplog.text
    assert form.url in repr(form)
    for name in ("policy", "x-amz-signature", "x-amz-credential"):
        assert form.fields[name] not in shown
    for taken in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="never pickled"):
            taken(form)
    with pytest.raises(TypeError):
        form.fields["key"] = "b"
    assert SECRET not in json.dumps(dict(form.fields))


def test_a_form_does_not_outlive_the_credentials_that_signed_it():
    ends = datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=30)

    def credentials(ends):
        keys = Credentials("id", Secret(SECRET), Secret("token"), ends)
        return StaticCredentials(keys, now=lambda: datetime.fromtimestamp(NOW - 60, UTC))

    form = made("a", settings={"driver_options": {"credentials": credentials(ends)}})
    assert form.expires_at == ends
    assert form.fields["x-amz-security-token"] == "token"
    policy = json.loads(base64.b64decode(form.fields["policy"]))
    assert {"x-amz-security-token": "token"} in policy["conditions"]
    assert datetime.fromisoformat(policy["expiration"]) == ends
    with pytest.raises(StorageAuthenticationError):
        made("a", settings={"driver_options": {"credentials": credentials(ends - timedelta(seconds=30))}})


def test_an_upload_is_encrypted_as_the_store_encrypts():
    def conditions(**settings):
        async def main():
            config = s3_config(None, region="eu-west-1", **settings)
            driver = S3Driver(config, transport=ScriptedTransport())
            async with StorageProvider(driver, config) as provider:
                form = await provider.get_upload_form("a", max_size=1)
                policy = json.loads(base64.b64decode(form.fields["policy"]))
                named = {name: value for name, value in form.fields.items() if "encryption" in name}
                assert all({name: value} in policy["conditions"] for name, value in named.items())
                return named

        return asyncio.run(main())

    name = "x-amz-server-side-encryption"
    assert conditions() == {name: "AES256"}
    assert conditions(encryption=KmsKey("arn:k")) == {name: "aws:kms", f"{name}-aws-kms-key-id": "arn:k"}
    assert conditions(encryption=False) == {}
    with pytest.raises(StorageUnsupportedError, match="SSE-C"):
        conditions(encryption=CustomerKey(bytes(32)))


def test_a_store_below_a_prefix_makes_forms_below_it():
    assert made("a", settings={"below": "team/"}).fields["key"] == "team/a"
    form = made(prefix="in/", settings={"below": "team/"})
    assert form.fields["key"] == "team/in/${filename}"
    policy = json.loads(base64.b64decode(form.fields["policy"]))
    assert ["starts-with", "$key", "team/in/"] in policy["conditions"]


@pytest.mark.parametrize(
    "prefix",
    ["", ".", ".cred", ".credstore", ".credstore/", ".credstore/keys/x", "a/.", "a/.cred", "a/b/.credstore"],
)
def test_no_form_reaches_what_credstore_keeps_for_itself(prefix):
    with pytest.raises(StorageInvalidKeyError) as caught:
        made(prefix=prefix)
    assert caught.value.code == "RESERVED_KEY"


@pytest.mark.parametrize(
    ("key", "options"),
    [
        (None, {}),
        ("a", {"prefix": "b"}),
        ("a/${filename}", {}),
        ("a", {"content_type": "text/${filename}"}),
        (None, {"prefix": "a/../"}),
        (None, {"prefix": "./"}),
        (None, {"prefix": "k" * 1024}),
        ("a", {"max_size": 5 * 1024**4 + 1}),
        ("a", {"max_size": 10**30}),
        ("a", {"max_size": 0}),
        ("a", {"max_size": 1.5}),
        ("a", {"min_size": -1}),
        ("a", {"min_size": 2, "max_size": 1}),
        ("a", {"content_type": "a\nb"}),
        ("a", {"content_type": None}),
        ("a", {"success_status": 202}),
        ("a", {"success_status": True}),
        ("a", {"expires_in": 0}),
        ("a", {"expires_in": 604_801}),
        ("a", {"expires_in": "sixty"}),
        ("a", {"method": "PUT"}),
        ("a", {"timeout": 0}),
    ],
)
def test_wrong_arguments_are_refused(key, options):
    with pytest.raises(StorageInvalidRequestError):
        made(key, **options)


@pytest.mark.parametrize("key", ["", "\0", ".credstore/keys/x", "k" * 1025])
def test_a_form_is_for_a_users_key(key):
    with pytest.raises(StorageInvalidKeyError):
        made(key)


def test_a_form_past_the_pipeline_is_refused():
    with pytest.raises(StorageUnsupportedError, match="compress=False"):
        made("a", settings={"compress": "gzip"})

    async def sealed():
        config = minio_config("http://127.0.0.1:9")
        policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="store")
        driver = S3Driver(config, transport=ScriptedTransport())
        async with StorageProvider(driver, config, encryption=policy) as provider:
            await provider.get_upload_form("a", max_size=1)

    with pytest.raises(StorageUnsupportedError, match="bypassing the encryption"):
        asyncio.run(sealed())


def r2():
    return R2StorageProvider(R2Config(**KEYS, account_id="0" * 32))


def b2():
    return BackblazeStorageProvider(BackblazeConfig(**KEYS, region="eu-central-003"))


def fallback():
    return StorageFactory().create_with_fallback(
        {"provider": "minio", "bucket": "proofs-1", "endpoint": "http://127.0.0.1:9", "access_key_id": "i",
         "secret_access_key": "s"},
        {"provider": "minio", "bucket": "proofs-2", "endpoint": "http://127.0.0.1:9", "access_key_id": "i",
         "secret_access_key": "s"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "provider",
    [
        lambda _: r2(),
        lambda _: b2(),
        lambda _: fallback(),
        lambda _: AzureStorageProvider(AzureConfig(**AZURE)),
        lambda _: MemoryStorageProvider(),
        lambda path: LocalStorageProvider(LocalConfig(path=str(path))),
    ],
)
def test_stores_without_forms_refuse_before_anything_is_sent(provider, tmp_path):
    async def main():
        async with provider(tmp_path) as store:
            assert not store.capabilities.upload_forms
            with pytest.raises(StorageUnsupportedError, match="nothing was sent") as caught:
                await store.get_upload_form("a", max_size=1)
            assert caught.value.applied == "no"

    asyncio.run(main())
