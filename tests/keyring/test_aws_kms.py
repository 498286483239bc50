"""AWS KMS against moto: it makes and unwraps data keys, binds them to the store and says what went wrong."""

import asyncio
import base64
import gc
import json
import logging
import os
import pickle
import sys
import traceback
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
from aiobotocore.session import AioSession
from botocore import exceptions as theirs

from credstore import errors
from credstore.encryption import DataKey, Secret
from credstore.errors import StorageConfigurationError, StorageDecryptionError, StorageError
from credstore.keyring import aws_kms
from credstore.keyring.aws_kms import AwsKmsKey
from credstore.keyring.ring import KeyRing
from credstore.pipeline.header import undecryptable

ARN = "arn:aws:kms:us-east-1:123456789012:key/0"
KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": Secret("kms-canary-secret")}


async def made(url):
    """ARN of a new key in moto."""
    client = AioSession().create_client(
        "kms", region_name="us-east-1", endpoint_url=url, aws_access_key_id="a", aws_secret_access_key="b"
    )
    async with client as kms:
        return (await kms.create_key())["KeyMetadata"]["Arn"]


def kms_key(arn, url, **more):
    return AwsKmsKey(arn, endpoint=url, **{**KEYS, **more})


@pytest.fixture
def arn(moto_server):
    return asyncio.run(made(moto_server.url))


def test_a_data_key_goes_round(moto_server, arn):
    async def scenario():
        async with KeyRing(kms_key(arn, moto_server.url)) as ring:
            key = await ring.generate(store_id="store")
            again = await ring.unwrap(key.key_id, key.wrapped, store_id="store")
            anew = await ring.wrap(key, store_id="store")
            ring.forget()
            after = await ring.unwrap(anew.key_id, anew.wrapped, store_id="store")
            return key, again, anew, after

    key, again, anew, after = asyncio.run(scenario())
    assert key.key_id == arn
    assert len(key.reveal()) == 32
    assert key.reveal() == again.reveal() == anew.reveal() == after.reveal()
    assert anew.wrapped != key.wrapped


def test_a_data_key_of_another_store_or_with_a_changed_bit_is_the_one_error(moto_server, arn):
    async def scenario():
        texts = set()
        async with KeyRing(kms_key(arn, moto_server.url)) as ring:
            key = await ring.generate(store_id="store")
            changed = bytearray(key.wrapped)
            changed[-1] ^= 1
            for key_id, wrapped, store_id in (
                (arn, key.wrapped, "another"),
                (arn, bytes(changed), "store"),
                (arn, b"junk", "store"),
            ):
                with pytest.raises(StorageDecryptionError) as caught:
                    await ring.unwrap(key_id, wrapped, store_id=store_id)
                texts.add(str(caught.value))
                assert caught.value.__context__ is None
        return texts

    assert asyncio.run(scenario()) == {str(undecryptable())}


def test_a_key_that_is_not_there_says_so(moto_server):
    async def scenario():
        missing = "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000"
        async with KeyRing(kms_key(missing, moto_server.url)) as ring:
            await ring.generate(store_id="store")

    with pytest.raises(StorageConfigurationError, match="no such key") as caught:
        asyncio.run(scenario())
    assert (caught.value.code, caught.value.provider_code) == ("KEY_UNUSABLE", "NotFoundException")
    assert not caught.value.retryable


def test_one_client_serves_many_calls_and_every_loop_has_its_own(moto_server, arn):
    key = kms_key(arn, moto_server.url)

    async def scenario():
        made = await asyncio.gather(*(key.generate(bytes, "store") for _ in range(8)))
        client = key._client
        await key.unwrap(made[0][1], "store")
        assert key._client is client
        await key.aclose()
        await key.aclose()
        return client, {plain for plain, _ in made}

    first, plains = asyncio.run(scenario())
    second, _ = asyncio.run(scenario())
    assert len(plains) == 8
    assert first is not second
    gc.collect()  # A connection left open would warn.


def test_nothing_of_a_call_is_logged(moto_server, arn, caplog):
    caplog.set_level(logging.DEBUG)

    async def scenario():
        async with KeyRing(kms_key(arn, moto_server.url)) as ring:
            key = await ring.generate(store_id="store")
            anew = await ring.wrap(key, store_id="store")
            await ring.unwrap(key.key_id, key.wrapped, store_id="store")
            return key, anew

    key, _ = asyncio.run(scenario())
    plain = key.reveal()
    forms = [repr(plain), plain.hex(), base64.b64encode(plain).decode(), "kms-canary-secret"]
    for form in forms:
        assert form not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("botocore", "aiobotocore"))]
    logging.getLogger("botocore.parsers").debug("others still speak")
    assert "others still speak" in caplog.text


def test_nothing_shows_a_secret():
    key = AwsKmsKey(ARN, **KEYS)
    assert repr(key) == f"AwsKmsKey({ARN!r})"
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(key)


@pytest.mark.parametrize(
    "arn", ["", "alias/a", "arn:aws:kms:us-east-1:1:alias/a", "arn:aws:s3:us-east-1:1:key/a", "0"]
)
def test_only_the_arn_of_a_key_names_one_for_good(arn):
    with pytest.raises(StorageConfigurationError, match="describe-key"):
        AwsKmsKey(arn)


@pytest.fixture
def answering(monkeypatch):
    """A KMS that gives one answer."""
    monkeypatch.setattr(aws_kms, "ATTEMPTS", 1)
    answer = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"__type": answer["code"], "message": "canary"}).encode()
            self.send_response(answer["status"])
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-amzn-RequestId", "id-1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def ask(code, status):
        answer.update(code=code, status=status)

        async def scenario():
            async with KeyRing(kms_key(ARN, f"http://127.0.0.1:{server.server_port}")) as ring:
                await ring.unwrap(ARN, b"wrapped", store_id="store")

        with pytest.raises(StorageError) as caught:
            asyncio.run(scenario())
        return caught.value

    yield ask
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("code", "status", "kind", "retryable"),
    [
        ("AccessDeniedException", 400, errors.StorageAccessDeniedError, False),
        ("ExpiredTokenException", 400, errors.StorageAuthenticationError, False),
        ("UnrecognizedClientException", 400, errors.StorageAuthenticationError, False),
        ("ThrottlingException", 400, errors.StorageRateLimitedError, True),
        ("KMSInternalException", 500, errors.StorageUnavailableError, True),
        ("DependencyTimeoutException", 503, errors.StorageUnavailableError, True),
        ("SomethingElse", 502, errors.StorageUnavailableError, True),
        ("DisabledException", 400, errors.StorageConfigurationError, False),
        ("KMSInvalidStateException", 400, errors.StorageConfigurationError, False),
        ("SomethingElse", 400, errors.StorageError, False),
    ],
)
def test_what_keeps_kms_from_answering_is_its_own_error(answering, code, status, kind, retryable):
    error = answering(code, status)
    assert type(error) is kind
    assert (error.provider_code, error.status_code, error.retryable) == (code, status, retryable)
    assert error.request_id == "id-1"
    assert "canary" not in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize(
    "code", ["InvalidCiphertextException", "IncorrectKeyException", "ValidationException"]
)
def test_what_kms_says_of_a_ciphertext_is_the_one_error(answering, code):
    assert str(answering(code, 400)) == str(undecryptable())


def test_no_connection_is_its_own_error(monkeypatch, unused_tcp_port_url):
    monkeypatch.setattr(aws_kms, "ATTEMPTS", 1)
    with pytest.raises(errors.StorageConnectionError, match="EndpointConnectionError") as caught:
        asyncio.run(_generate(kms_key(ARN, unused_tcp_port_url)))
    assert caught.value.retryable


def test_no_frame_of_an_error_holds_a_data_key(monkeypatch, unused_tcp_port_url):
    monkeypatch.setattr(aws_kms, "ATTEMPTS", 1)
    plain = b"canary key of thirty-two bytes!!"

    async def scenario():
        async with KeyRing(kms_key(ARN, unused_tcp_port_url)) as ring:
            await ring.wrap(DataKey(plain, key_id="old", wrapped=b"w"), store_id="store")

    with pytest.raises(errors.StorageConnectionError) as caught:
        asyncio.run(scenario())
    frames = [entry.frame for entry in caught.traceback if "credstore/keyring" in str(entry.path)]
    assert len(frames) >= 3
    for frame in frames:
        shown = repr(frame.f_locals)
        assert "canary" not in shown
        assert plain.hex() not in shown


async def _generate(key):
    try:
        await key.generate(bytes, "store")
    finally:
        await key.aclose()


@pytest.fixture
def unused_tcp_port_url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("NoCredentialsError", errors.StorageAuthenticationError),
        ("PartialCredentialsError", errors.StorageAuthenticationError),
        ("UnauthorizedSSOTokenError", errors.StorageAuthenticationError),
        ("ReadTimeoutError", errors.StorageTimeoutError),
        ("ConnectTimeoutError", errors.StorageTimeoutError),
        ("ConnectionClosedError", errors.StorageConnectionError),
    ],
)
def test_other_failures_by_their_class(name, kind):
    assert issubclass(getattr(theirs, name), theirs.BotoCoreError)
    assert type(aws_kms._breakage(name)) is kind


def test_a_profile_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageConfigurationError, match="ProfileNotFound"):
        asyncio.run(_generate(AwsKmsKey(ARN, profile="none")))


GARBAGE = "print('canary, which is no JSON')"
PROCESS = "credential_process = " + sys.executable + " {files}/answer.py"
KEYS_OF_FILE = "aws_access_key_id = AKIDFILE\naws_secret_access_key = canary-file-secret\n"
BROKEN = {
    "a program that is not there": ("credential_process = /no/such/program", "", "FileNotFoundError"),
    "a program that prints garbage": (PROCESS, GARBAGE, "printed no credentials"),
    "a program that prints a list": (PROCESS, "print('[1]')", "printed no credentials"),
    "a program that prints no text": (
        PROCESS,
        "import sys; sys.stdout.buffer.write(bytes([255, 254]))",
        "printed no credentials",
    ),
    "a program that fails": (PROCESS, "raise SystemExit('canary')", "CredentialRetrievalError"),
    "a command that does not end": ("credential_process = 'open", "", "ValueError"),
    "a token file that is not there": (
        "role_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = /no/such/file",
        "",
        "FileNotFoundError",
    ),
    "a role's profile that is not there": (
        "role_arn = arn:aws:iam::1:role/x\nsource_profile = nowhere",
        "",
        "InvalidConfigError",
    ),
    "half a key": ("aws_access_key_id = AKIDFILE", "", "half of a key pair"),
    "no keys": ("", "", "no AWS credentials"),
    "an endpoint that is none": (KEYS_OF_FILE + "endpoint_url = foo", "", "endpoint_url"),
    "a section that is not there": (KEYS_OF_FILE + "services = nowhere", "", "a profile or section"),
    "authorities without a name": (KEYS_OF_FILE + "ca_bundle = ", "", "ca_bundle"),
    "a file that is none": ("]\ncanary", "", "cannot be parsed"),
}


@pytest.fixture
def files(monkeypatch, tmp_path):
    """Nothing of AWS's but what a test gives; the directory of its files."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def all_shown(error):
    """What an error reporter shows: the frames outside this file with their locals, and the error itself."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in shown.stack if frame.filename != __file__]
    return repr([(frame.name, frame.locals) for frame in frames]) + str(error)


@pytest.mark.parametrize("keys", [{}, KEYS], ids=["chain", "given keys"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_aws_configuration_is_said_and_not_tried_again(files, broken, keys):
    text, program, expected = BROKEN[broken]
    (files / "answer.py").write_text(program)
    (files / "config").write_text(f"[default]\n{text.replace('{files}', str(files))}\n")
    at_creation = broken.startswith(("an endpoint", "a section", "authorities", "a file"))
    if keys and not at_creation:
        return  # With given keys, the chain is not asked.

    async def scenario():
        async with KeyRing(AwsKmsKey(ARN, **keys)) as ring:
            await ring.generate(store_id="store")

    with pytest.raises((StorageConfigurationError, errors.StorageAuthenticationError)) as caught:
        asyncio.run(scenario())
    error = caught.value
    assert expected in str(error)
    assert (error.retryable, error.applied, error.__context__) == (False, "no", None)
    shown = all_shown(error)
    assert "canary, which" not in shown
    assert "canary-secret" not in shown
    assert "canary-file-secret" not in shown
    gc.collect()  # A session left open would warn.


def test_authorities_that_are_not_there_are_no_broken_connection(files, monkeypatch, unused_tcp_port_url):
    monkeypatch.setattr(aws_kms, "ATTEMPTS", 1)
    (files / "config").write_text("[default]\nca_bundle = /no/such/file\n")
    with pytest.raises(StorageConfigurationError, match="ca_bundle") as caught:
        asyncio.run(_generate(kms_key(ARN, unused_tcp_port_url.replace("http:", "https:"))))
    assert (caught.value.code, caught.value.retryable, caught.value.applied) == ("TLS", False, "no")


@pytest.mark.parametrize("body", [b"<html>canary", b'{"canary": 1}', b""])
@pytest.mark.parametrize("verb", ["generate", "wrap", "unwrap"])
def test_a_response_that_is_none_is_named_and_never_a_key(files, monkeypatch, body, verb):
    class Page(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Say nothing."""

    monkeypatch.setattr(aws_kms, "ATTEMPTS", 1)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    async def scenario():
        key = kms_key(ARN, f"http://127.0.0.1:{server.server_port}")
        try:
            await (key.generate(bytes, "store") if verb == "generate" else getattr(key, verb)(b"w", "store"))
        finally:
            await key.aclose()

    try:
        with pytest.raises(errors.StorageConnectionError, match="not its response") as caught:
            asyncio.run(scenario())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "canary" not in all_shown(caught.value)


def test_an_arn_without_region_and_half_a_key_are_refused_at_once():
    with pytest.raises(StorageConfigurationError, match="no region"):
        AwsKmsKey("arn:aws:kms::123456789012:key/0")
    for half in (
        {"access_key_id": "AKID"},
        {"secret_access_key": Secret("canary")},
        {"session_token": Secret("c")},
    ):
        with pytest.raises(StorageConfigurationError, match="go together"):
            AwsKmsKey(ARN, **half)


def test_keys_of_a_profile_sign_and_newer_ones_are_used(files, moto_server, arn):
    (files / "config").write_text(
        f"[profile corp]\nendpoint_url = {moto_server.url}\ncredential_process = {sys.executable} {files}/answer.py\n"
    )
    answer = {"Version": 1, "AccessKeyId": "AKIDPROC", "SecretAccessKey": "canary-secret"}
    ends = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    count = f"open({str(files / 'asked')!r}, 'a').write('x')\n"
    (files / "answer.py").write_text(count + f"print({json.dumps({**answer, 'Expiration': ends})!r})")

    async def scenario():
        async with KeyRing(AwsKmsKey(arn, profile="corp")) as ring:
            first = await ring.generate(store_id="store")
            await ring.generate(store_id="store")  # They end soon: newer ones are looked for.
            return first

    assert asyncio.run(scenario()).key_id == arn
    assert len((files / "asked").read_text()) >= 2


def test_no_frame_of_a_cancelled_call_holds_a_key(files, monkeypatch):
    asked, plain = Event(), b"canary key of thirty-two bytes!!"
    go_on = Event()

    class Silent(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.set()
            go_on.wait(600)

        def log_message(self, *args):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    async def scenario():
        async with KeyRing(kms_key(ARN, f"http://127.0.0.1:{server.server_port}")) as ring:
            key = DataKey(plain, key_id="old", wrapped=b"w")
            task = asyncio.ensure_future(ring.wrap(key, store_id="store"))
            await asyncio.to_thread(asked.wait, 60)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as error:
                return all_shown(error)

    try:
        shown = asyncio.run(scenario())
    finally:
        go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert "'_ask'" in shown
    for secret in ("canary key", plain.hex(), base64.b64encode(plain).decode(), "kms-canary-secret"):
        assert secret not in shown
