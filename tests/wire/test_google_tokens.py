"""Google's tokens, with google-auth itself: a service account's key, impersonation, and what fails how."""

import asyncio
import base64
import json
import logging
import threading
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from google.auth import exceptions
from google.auth.transport import Request, Response

from credstore.encryption import Secret
from credstore.errors import ErrorCode, StorageAuthenticationError, StorageConfigurationError
from credstore.wire.google import tokens as module
from credstore.wire.google.tokens import GoogleTokens, Identity
from tests.wire.test_google_signatures import ACCOUNT, KEY, PEM

USER = {"type": "authorized_user", "client_id": "id", "client_secret": "s", "refresh_token": "hidden-refresh"}


@contextmanager
def token_server(status: int = 200, **said: object):
    """Google's token endpoint on this machine; yields its address and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps({"access_token": f"hidden-{len(asked)}", "expires_in": 3600, **said}).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/token", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def account(uri: str) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "client_email": ACCOUNT,
            "private_key": PEM,
            "token_uri": uri,
            "private_key_id": "1",
        }
    )


def test_a_service_account_signs_in_once_for_all_who_wait(tmp_path):
    with token_server() as (uri, asked):
        file = tmp_path / "key.json"
        file.write_text(account(uri))
        source = GoogleTokens(Identity(file=str(file)))

        async def several() -> list[str]:
            found = await asyncio.gather(*(source.get() for _ in range(8)))
            return [each.value.reveal() for each in found]

        assert asyncio.run(several()) == ["hidden-1"] * 8
        assert len(asked) == 1
        assert asyncio.run(source.get()).expires_at > datetime.now(UTC) + timedelta(minutes=50)
        assert asyncio.run(source.refresh()).value.reveal() == "hidden-2"


def test_a_token_is_renewed_before_it_ends():
    with token_server() as (uri, asked):
        now = datetime.now(UTC)
        moments = [now]
        source = GoogleTokens(Identity(info=Secret(account(uri))), now=lambda: moments[0])
        asyncio.run(source.get())
        moments[0] = now + timedelta(minutes=50)
        assert asyncio.run(source.get()).value.reveal() == "hidden-1"
        moments[0] = now + timedelta(minutes=58)
        assert asyncio.run(source.get()).value.reveal() == "hidden-2"
        assert len(asked) == 2


def test_a_service_account_signs_links_with_its_own_key():
    source = GoogleTokens(Identity(info=Secret(account("https://oauth2.example/token"))))
    assert asyncio.run(source.account()) == ACCOUNT
    signature = asyncio.run(source.sign(b"text"))
    KEY.public_key().verify(signature, b"text", padding.PKCS1v15(), hashes.SHA256())


class Iam(Request):
    """Google's IAM: answers signBlob and generateAccessToken."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, object]]] = []

    def __call__(self, url, method="GET", body=None, headers=None, timeout=None, **_):
        self.asked.append((url, json.loads(body) if body and body[:1] in {b"{", "{"} else {}))
        if ":signBlob" in url:
            return Said({"signedBlob": base64.b64encode(b"signed by IAM").decode()})
        if ":generateAccessToken" in url:
            ends = datetime.now(UTC) + timedelta(hours=1)
            return Said({"accessToken": "hidden-other", "expireTime": f"{ends:%Y-%m-%dT%H:%M:%SZ}"})
        return Said({"access_token": "hidden-own", "expires_in": 3600})


class Said(Response):
    status, headers, data = 200, None, b""

    def __init__(self, told: dict[str, object]) -> None:
        self.data = json.dumps(told).encode()


def test_whoever_impersonates_gets_its_token_and_its_signatures(monkeypatch):
    iam = Iam()
    monkeypatch.setattr(module, "_request", lambda: iam)
    monkeypatch.setattr("google.auth.transport.requests.AuthorizedSession.post", _posted(iam), raising=False)
    other = "writer@acme.iam.gserviceaccount.com"
    source = GoogleTokens(Identity(info=Secret(json.dumps(USER)), impersonate=other))
    assert asyncio.run(source.get()).value.reveal() == "hidden-other"
    assert asyncio.run(source.account()) == other
    assert asyncio.run(source.sign(b"text")) == b"signed by IAM"
    url, body = next(each for each in iam.asked if ":signBlob" in each[0])
    assert f"/{other}:signBlob" in url
    assert base64.b64decode(body["payload"]) == b"text"


def _posted(iam: Iam):
    class Answer:
        def __init__(self, said: Said) -> None:
            self.status_code, self._said = said.status, said

        def json(self):
            return json.loads(self._said.data)

    def post(_, url, headers=None, json=None, **__):
        iam.asked.append((url, json))
        return Answer(iam(url))

    return post


class OnMachine:
    """Credentials of a machine's service account, whose key is Google's."""

    token, expiry, universe_domain = None, None, "googleapis.com"
    service_account_email = "default"
    quota_project_id = "payer"

    def refresh(self, request):
        self.token, self.service_account_email = "hidden-machine", ACCOUNT

    def before_request(self, request, method, url, headers):
        headers["authorization"] = f"Bearer {self.token}"


def test_a_machines_account_signs_by_iam_and_says_who_pays(monkeypatch):
    iam = Iam()
    monkeypatch.setattr(module, "_request", lambda: iam)
    source = GoogleTokens(Identity(), credentials=OnMachine())
    assert asyncio.run(source.get()).headers == {"x-goog-user-project": "payer"}
    assert asyncio.run(source.account()) == ACCOUNT
    assert asyncio.run(source.sign(b"text")) == b"signed by IAM"


def test_a_user_makes_no_links():
    source = GoogleTokens(Identity(info=Secret(json.dumps(USER))))
    with pytest.raises(StorageConfigurationError, match="impersonate"):
        asyncio.run(source.account())


@pytest.mark.parametrize(
    ("identity", "shows"),
    [
        (Identity(file="/absent/key.json"), "cannot be read"),
        (Identity(info=Secret("hidden")), "is not the JSON"),
        (Identity(info=Secret('["hidden"]')), "is not the JSON"),
        (Identity(info=Secret("[" * 20_000)), "is not the JSON"),
        (Identity(info=Secret('{"type": "service_account", "private_key": "hidden"}')), "damaged, or lack"),
        (
            Identity(
                info=Secret(
                    json.dumps({**json.loads(account("http://127.0.0.1:9")), "private_key": "hidden"})
                )
            ),
            "damaged, or lack",
        ),
        (Identity(info=Secret('{"type": "authorized_user", "refresh_token": "hidden"}')), "damaged, or lack"),
        (Identity(info=Secret('{"type": "external_account", "audience": "hidden"}')), "damaged, or lack"),
        (Identity(info=Secret('{"type": "hidden"}')), "damaged, or lack"),
    ],
)
def test_credentials_that_are_none_are_a_mistake_in_the_configuration(identity, shows):
    with pytest.raises(StorageConfigurationError, match=shows) as caught:
        asyncio.run(GoogleTokens(identity).get())
    assert caught.value.code == ErrorCode.NO_CREDENTIALS
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [line for line in told.format() if "/tests/" not in line]
    assert "hidden" not in repr(caught.value) + "".join(frames)


class Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def refresh(self, request):
        raise self._error


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (exceptions.DefaultCredentialsError("hidden"), StorageConfigurationError, False),
        (exceptions.RefreshError("hidden"), StorageAuthenticationError, False),
        (exceptions.RefreshError("hidden", retryable=True), StorageAuthenticationError, True),
        (exceptions.TransportError("hidden"), StorageAuthenticationError, True),
        (ValueError("hidden"), StorageAuthenticationError, False),
    ],
)
def test_what_google_auth_says_stays_out_of_our_errors(error, kind, retryable):
    with pytest.raises(kind) as caught:
        asyncio.run(GoogleTokens(Identity(), credentials=Failing(error)).get())
    assert caught.value.retryable is retryable
    shown = [
        repr(caught.value),
        str(caught.value),
        repr(caught.value.__context__),
        repr(caught.value.__cause__),
    ]
    assert not any("hidden" in each for each in shown)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("invalid_grant: Invalid grant: account not found", "invalid_grant"),
        ("unauthorized_client: Client is unauthorized", "unauthorized_client"),
        ("invalid_grants of hidden", None),
        ("hidden invalid_grant", None),
    ],
)
def test_the_code_of_a_refused_sign_in_is_told(text, code):
    failure = exceptions.RefreshError(text, {"error_description": "hidden"})
    with pytest.raises(StorageAuthenticationError) as caught:
        asyncio.run(GoogleTokens(Identity(), credentials=Failing(failure)).get())
    assert caught.value.provider_code == code
    assert "hidden" not in str(caught.value)


def test_a_clock_that_is_wrong_is_said_to_be():
    text = "invalid_grant: Token must be a short-lived token. Check your iat and exp values in the JWT claim."
    with pytest.raises(StorageAuthenticationError) as caught:
        asyncio.run(GoogleTokens(Identity(), credentials=Failing(exceptions.RefreshError(text))).get())
    assert caught.value.code == ErrorCode.CLOCK_SKEW


def test_google_auth_logs_no_token(caplog):
    caplog.set_level(logging.DEBUG)
    with token_server() as (uri, _):
        source = GoogleTokens(Identity(info=Secret(account(uri))))
        token = asyncio.run(source.get())
    assert "hidden" not in caplog.text
    assert "hidden" not in repr(token)
