"""Wrong accounts, keys, clocks, signatures and names at each cloud: one line, with code and request id."""

import asyncio
import base64
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from azure.storage.blob import generate_container_sas

from credstore import StorageError, StorageFactory
from credstore.testing.scripted import ScriptedTransport
from credstore.wire.google import tokens
from credstore.wire.http import HttpClient
from tests.drivers.azure.fake import FakeAzure, refusal
from tests.drivers.gcs.fake import FakeGcs
from tests.drivers.gcs.test_faults import said
from tests.faults.messages import error as refused_by_s3
from tests.faults.origin import Origin
from tests.faults.script import Respond
from tests.servers.azurite import ACCOUNT, KEY, running_azurite

AZURE = "az://acme/proofs?max_retries=0"
GCS = "gs://proofs?auth_mode=anonymous&max_retries=0"
SIGNED_IN = "gs://proofs?max_retries=0"
OTHER = base64.b64encode(bytes(64)).decode()
LATE = "Server failed to authenticate the request. Request date header too old: 'x'"
TIMES = "Signature not valid in the specified time frame: Start [x] - Expiry [y] - Current [z]"
SAS = "sv=2023-11-03&sp=rwl&sr=c&sig=canary-signature"
LONG = "x" * 64


@pytest.fixture(autouse=True)
def no_store(root, monkeypatch):
    monkeypatch.delenv("CREDSTORE_URL")
    for name in ("AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)


def by_api(url):
    """The error of a listing through the API."""

    async def main():
        async with StorageFactory() as factory:
            store = factory.create(url)
            with pytest.raises(StorageError) as raised:
                await store.list("")
            return raised.value

    return asyncio.run(main())


def by_both(cli, url, code, request_id=None, status=None):
    """The line that the command ends with; the API raises the same, and `--json` has the same facts."""
    ended = cli("--store", url, "ls", code=status)
    assert (ended.out, ended.err.count("\n")) == ("", 1)
    assert ended.err.startswith("credstore: ")
    document = cli("--json", "--store", url, "ls", code=status).error
    asked = document["request_id"]
    assert re.search(rf"\[{code}{'; request id: [^ ]+' if asked else ''}\]\n$", ended.err)
    error = by_api(url)
    assert (document["code"], document["message"]) == (error.code, error.message)
    assert document["code"] == code
    assert not error.retryable
    if request_id is not None:
        assert document["request_id"]
        assert request_id in {error.request_id, "any"}
        verbose = cli("-v", "--store", url, "ls", code=status).err.splitlines()[-1]
        assert f"request id: {request_id if request_id != 'any' else ''}" in verbose
        assert f"[{code};" in verbose
    return ended.err


def answering(monkeypatch, fake, answer):
    """Every request gets this answer, and is noted by the fake."""
    fake.faults.append(lambda _request, _serve: answer)
    transport = ScriptedTransport(fake.answer)

    async def send(_self, request, *, deadline):
        return await transport.send(request, deadline=deadline)

    monkeypatch.setattr(HttpClient, "send", send)


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        (refusal(403, "AuthenticationFailed"), ("AUTHENTICATION_FAILED", 4, "is of this account")),
        (refusal(403, "AuthenticationFailed", LATE), ("CLOCK_SKEW", 4, "clock")),
        (refusal(403, "AuthenticationFailed", TIMES), ("CREDENTIALS_EXPIRED", 4, "has expired, or is not")),
        (refusal(403, "AuthorizationPermissionMismatch"), ("ACCESS_DENIED", 4, "permissions")),
        (refusal(403, "KeyBasedAuthenticationNotPermitted"), ("ACCESS_DENIED", 4, 'auth_mode="login"')),
        (refusal(403, "AccountIsDisabled"), ("ACCESS_DENIED", 4, "the account is disabled")),
        (refusal(400, "InvalidHostHeader"), ("CONFIGURATION", 8, "check `account` and `endpoint`")),
        (refusal(404, "ContainerNotFound"), ("BUCKET_NOT_FOUND", 3, "az storage container restore")),
        (refusal(409, "ContainerBeingDeleted"), ("BUCKET_NOT_FOUND", 3, "being deleted")),
    ],
)
@pytest.mark.parametrize("way", ["key", "signature"])
def test_what_azure_refuses(cli, monkeypatch, answer, means, way):
    code, exit_code, says = means
    if way == "key":
        monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    else:
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", SAS)
    fake = FakeAzure()
    answering(monkeypatch, fake, answer)
    assert says in by_both(cli, AZURE, code, "0-1-2-3", exit_code)


@pytest.mark.parametrize(
    ("answer", "means"),
    [
        (said(401, "authError", "Invalid Credentials"), ("CREDENTIALS_EXPIRED", 4, "expired or was revoked")),
        (said(401, "required", "Anonymous caller"), ("AUTHENTICATION_FAILED", 4, "no credentials")),
        (said(401, "authError", "Invalid Credentials"), ("AUTHENTICATION_FAILED", 4, "no credentials")),
        (said(401, "authError", "Token used too early"), ("CLOCK_SKEW", 4, "clock")),
        (said(403, "forbidden"), ("ACCESS_DENIED", 4, "roles")),
        (said(403, "accountDisabled"), ("ACCESS_DENIED", 4, "disabled")),
        (said(404, "notFound", "The specified bucket does not exist."), ("BUCKET_NOT_FOUND", 3, "restore")),
    ],
)
def test_what_google_refuses(cli, monkeypatch, answer, means):
    code, exit_code, says = means
    fake = FakeGcs()
    answering(monkeypatch, fake, answer)
    user = SimpleNamespace(token="token", expiry=None, refresh=lambda request: None)
    monkeypatch.setattr(tokens, "_found", lambda identity: user)
    url = GCS if "no credentials" in says else SIGNED_IN
    assert says in by_both(cli, url, code, "ABC-1", exit_code)
    assert {each.url.startswith("https://storage.googleapis.com/") for each in fake.sent} == {True}


@pytest.mark.parametrize(
    ("status", "name", "means"),
    [
        (403, "InvalidAccessKeyId", ("AUTHENTICATION_FAILED", 4, "does not know this access key id")),
        (403, "SignatureDoesNotMatch", ("AUTHENTICATION_FAILED", 4, "check the secret access key")),
        (403, "RequestTimeTooSkewed", ("CLOCK_SKEW", 4, "clock")),
        (400, "ExpiredToken", ("CREDENTIALS_EXPIRED", 4, "renew the session")),
        (403, "AccessDenied", ("ACCESS_DENIED", 4, "policy")),
        (404, "NoSuchBucket", ("BUCKET_NOT_FOUND", 3, "check the bucket's name")),
        (400, "AuthorizationHeaderMalformed", ("WRONG_REGION", 8, "region")),
    ],
)
def test_what_s3_refuses(monkeypatch, status, name, means):
    """At the fault origin, over a socket."""
    code, exit_code, says = means
    monkeypatch.setenv("CREDSTORE_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("CREDSTORE_SECRET_ACCESS_KEY", "canary-secret-value")

    async def main():
        async with Origin() as origin:
            origin.store.buckets["proofs"] = {}
            refused = refused_by_s3(status, name)
            origin.plan("before-apply", Respond(lambda _: refused), times=None)
            url = f"minio://127.0.0.1:{origin.port}/proofs?http=true&max_retries=0"
            async with StorageFactory() as factory:
                with pytest.raises(StorageError) as raised:
                    await factory.create(url).list("")
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "credstore", "-v", "--store", url, "ls", stdout=-1, stderr=-1
            )
            out, err = await process.communicate()
            return raised.value, process.returncode, out, err.decode()

    error, ended, out, err = asyncio.run(main())
    assert (error.code, error.provider_code, error.retryable) == (code, name, False)
    assert error.request_id
    assert (ended, out) == (exit_code, b"")
    last = err.splitlines()[-1]
    assert says in last
    assert f"[{code};" in last
    assert "request id: " in last


@pytest.mark.system
def test_what_azurite_refuses(cli, monkeypatch):
    now = datetime.now(UTC)
    with running_azurite() as server:
        name = server.make_container()
        root = server.url.removesuffix(f"/{ACCOUNT}")
        here = f"az://{ACCOUNT}/{name}?endpoint={server.url}&max_retries=0"
        monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
        other = f"az://other/{name}?endpoint={root}/other&max_retries=0"
        assert "the account's" in by_both(cli, other, "BUCKET_NOT_FOUND", "any", 3)
        absent = here.replace(name, "absent")
        assert "no such container" in by_both(cli, absent, "BUCKET_NOT_FOUND", "any", 3)
        monkeypatch.setenv("AZURE_STORAGE_KEY", OTHER)
        assert "the key" in by_both(cli, here, "ACCESS_DENIED", "any", 4)
        monkeypatch.delenv("AZURE_STORAGE_KEY")
        ended = generate_container_sas(
            ACCOUNT, name, account_key=KEY, permission="rl", expiry=now - timedelta(hours=1)
        )
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", ended)
        assert "ended at" in by_both(cli, here, "CREDENTIALS_EXPIRED", status=4)
        monkeypatch.delenv("AZURE_STORAGE_SAS_TOKEN")
        monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
        with server.client() as client:
            client.delete_container(name)
        assert "az storage container restore" in by_both(cli, here, "BUCKET_NOT_FOUND", "any", 3)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("az://acme/ab", "3 to 63"),
        (f"az://acme/{LONG}", "3 to 63"),
        ("az://acme/Proofs", "lower-case"),
        ("az://acme/a--b", "single hyphens"),
        ("az://ac/proofs", "3 to 24"),
        ("az://ACME-x/proofs", "3 to 24"),
        ("gs://ab", "3 to 63"),
        (f"gs://{LONG}", "3 to 63"),
        ("gs://my-google-bucket", "google"),
        ("gs://192.168.1.1", "bucket's name"),
        ("s3://ab", "bucket"),
        (f"s3://{LONG * 4}", "bucket"),  # Some of AWS's oldest buckets have names of up to 255 characters.
    ],
)
def test_names_that_a_cloud_does_not_have_are_refused_before_anything_is_sent(cli, monkeypatch, url, says):
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    monkeypatch.setattr(HttpClient, "send", None)
    assert says in by_setting(cli, url)


@pytest.mark.parametrize(
    ("url", "given", "says"),
    [
        ("az://acme/proofs", ("AZURE_STORAGE_KEY", SAS), "sas_token"),
        (
            "az://acme/proofs",
            ("AZURE_STORAGE_KEY", f"AccountName=acme;AccountKey={KEY}"),
            "connection_string",
        ),
        ("az://acme/proofs", ("AZURE_STORAGE_KEY", "canary-secret-access-key"), "88 characters"),
        ("gs://proofs", ("GOOGLE_APPLICATION_CREDENTIALS", "aws.json"), "service account"),
        ("gs://proofs", ("GOOGLE_APPLICATION_CREDENTIALS", "absent.json"), "cannot be read"),
    ],
)
def test_a_key_of_another_kind_is_refused_before_anything_is_sent(cli, monkeypatch, url, given, says):
    Path("aws.json").write_text(
        json.dumps({"AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "canary-secret"})
    )
    monkeypatch.setenv(*given)
    monkeypatch.setattr(HttpClient, "send", None)
    err = by_setting(cli, url)
    assert says in err
    assert "canary" not in err


def by_setting(cli, url):
    """The line of a failure that no request was needed for."""
    ended = cli("--store", url, "ls", code=8)
    assert (ended.out, ended.err.count("\n")) == ("", 1)

    async def main():
        async with StorageFactory() as factory:
            with pytest.raises(StorageError) as raised:
                await factory.create(url).list("")
            return raised.value

    error = asyncio.run(main())
    assert f"{error.message} [{error.code}]" in ended.err
    return ended.err


@pytest.mark.parametrize("key", ["a\rb", "a\nb", "a\r\nb"])
@pytest.mark.parametrize("url", [AZURE, GCS, "s3://proofs?region=us-east-1", "memory:x"])
def test_names_with_line_ends_are_refused_at_every_cloud(cli, monkeypatch, key, url):
    for name, value in (
        ("AZURE_STORAGE_KEY", KEY), ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "canary-x"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(HttpClient, "send", None)
    Path("file").write_text("x")
    ended = cli("--store", url, "put", "file", key, code=2)
    assert ended.err.count("\n") == 1
    assert "[INVALID_KEY]" in ended.err
