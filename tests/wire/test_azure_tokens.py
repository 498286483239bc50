"""Tokens of Entra ID: asked for in a thread, shared, renewed, and never told."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential

from credstore.config.azure import AzureConfig
from credstore.drivers.azure.driver import AzureDriver
from credstore.errors import StorageAuthenticationError, StorageConfigurationError
from credstore.testing.harness import request
from credstore.wire.azure import tokens as module
from credstore.wire.azure.signer import TokenSigner
from credstore.wire.azure.tokens import SCOPE, EntraTokens
from credstore.wire.signer import WireCall
from tests.drivers.azure.fake import FakeAzure, refusal
from tests.test_extras import by_hand

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


class Asked:
    """A credential like azure-identity's; `hold` keeps it waiting."""

    def __init__(self, *answers, lasts=3600):
        self.answers, self.lasts = list(answers), lasts
        self.scopes, self.threads = [], []
        self.hold = threading.Event()
        self.hold.set()
        self.now = NOW

    def get_token(self, *scopes):
        self.scopes.append(scopes)
        self.threads.append(threading.current_thread())
        assert self.hold.wait(600)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(token=answer, expires_on=int(self.now.timestamp()) + self.lasts)


def test_one_request_serves_all_who_wait_and_blocks_no_loop():
    async def check():
        asked = Asked("canary-token")
        asked.hold.clear()
        source = EntraTokens(asked, now=lambda: NOW)
        waiting = [asyncio.ensure_future(source.get()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        asked.hold.set()
        found = await asyncio.gather(*waiting[1:])
        assert {each.value.reveal() for each in found} == {"canary-token"}
        assert asked.scopes == [(SCOPE,)]
        assert asked.threads[0] is not threading.main_thread()
        assert asked.threads[0].daemon
        assert "canary" not in repr(found)
        await source.get()
        assert len(asked.scopes) == 1

    asyncio.run(check())


def test_a_token_is_renewed_before_it_ends_and_used_on_while_that_fails():
    async def check():
        asked = Asked("one", ClientAuthenticationError("canary"), "two")
        now = [NOW]
        source = EntraTokens(asked, now=lambda: now[0])
        first = await source.get()
        now[0] = asked.now = first.expires_at - timedelta(minutes=6)
        assert await source.get() is first
        now[0] = asked.now = first.expires_at - timedelta(minutes=4)
        assert await source.get() is first
        assert len(asked.scopes) == 2
        now[0] += timedelta(seconds=30)  # Not again within a minute.
        assert await source.get() is first
        assert len(asked.scopes) == 2
        now[0] = asked.now = first.expires_at
        assert (await source.get()).value.reveal() == "two"

    asyncio.run(check())


def test_a_request_is_signed_at_once_while_the_token_has_some_time_left():
    async def check():
        asked, now = Asked("one", "two"), [NOW]
        source = EntraTokens(asked, now=lambda: now[0])
        signer = TokenSigner(source)
        call = WireCall(operation="GetBlob", method="GET", origin="https://a", path="/c/k", mutation=False)
        assert signer.sign_now(call, None, 0.0) is None  # Nobody has been asked yet.
        first = await signer.sign(call, None, 0.0)
        ends = (await source.get()).expires_at
        now[0] = asked.now = ends - timedelta(minutes=6)
        at_once = signer.sign_now(call, None, 0.0)
        assert at_once is not None
        assert at_once.headers == first.headers
        assert at_once.headers["authorization"] == "Bearer one"
        now[0] = asked.now = ends - timedelta(minutes=4)
        assert signer.sign_now(call, None, 0.0) is None  # It is to be renewed.
        assert (await signer.sign(call, None, 0.0)).headers["authorization"] == "Bearer two"
        await signer.aclose()
        assert signer.sign_now(call, None, 0.0) is None

    asyncio.run(check())


@pytest.mark.parametrize(
    ("failure", "kind", "code", "retryable"),
    [
        (CredentialUnavailableError("canary"), StorageConfigurationError, "NO_CREDENTIALS", False),
        (ClientAuthenticationError("canary"), StorageAuthenticationError, "AUTHENTICATION_FAILED", False),
        (ServiceRequestError("canary"), StorageAuthenticationError, "AUTHENTICATION_FAILED", True),
    ],
)
def test_a_failure_says_what_to_do_and_not_what_was_answered(failure, kind, code, retryable):
    async def check():
        with pytest.raises(kind, match="az ") as raised:
            await EntraTokens(Asked(failure)).get()
        assert (raised.value.code, raised.value.retryable) == (code, retryable)
        assert raised.value.__cause__ is None
        assert raised.value.__context__ is None

    asyncio.run(check())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Authentication failed: AADSTS7000215: Invalid client secret provided. canary", "AADSTS7000215"),
        ("AADSTS900023: canary", "AADSTS900023"),
        ("canary of XAADSTS7000215, AADSTS1, AADSTS12345678901", None),
    ],
)
def test_the_code_of_a_refused_sign_in_is_told(text, code):
    with pytest.raises(StorageAuthenticationError) as raised:
        asyncio.run(EntraTokens(Asked(ClientAuthenticationError(text))).get())
    assert raised.value.provider_code == code
    assert "canary" not in str(raised.value)


def test_nothing_is_logged_of_what_the_chain_says(caplog):
    caplog.set_level(logging.DEBUG)

    class Talkative(Asked):
        def get_token(self, *scopes):
            logging.getLogger("azure.identity").warning("canary of the chain")
            logging.getLogger("msal.token_cache").error("canary of the cache")
            return super().get_token(*scopes)

    asyncio.run(EntraTokens(Talkative("token")).get())
    assert "canary" not in caplog.text
    logging.getLogger("azure.identity").warning("of somebody else")
    assert "of somebody else" in caplog.text


def test_nothing_is_logged_by_loggers_that_are_made_meanwhile(caplog):
    """As azure-identity's and msal's are, when they are first loaded."""
    caplog.set_level(logging.DEBUG)
    names = [f"azure.{uuid4().hex}", f"azure.identity.{uuid4().hex}", f"msal.{uuid4().hex}"]
    own = logging.getLogger(uuid4().hex)

    class Talkative(Asked):
        def get_token(self, *scopes):
            for name in names:
                logging.getLogger(name).error("canary")
            own.warning("of the application")
            return super().get_token(*scopes)

    asyncio.run(EntraTokens(Talkative("token")).get())
    assert "canary" not in caplog.text
    assert "of the application" in caplog.text
    logging.getLogger(names[0]).warning("later")
    assert "later" in caplog.text


NOBODY = """
import asyncio
from credstore import StorageError
from credstore.wire.azure.tokens import EntraTokens
try:
    asyncio.run(EntraTokens().get())
except StorageError as error:
    print(type(error).__name__, error.code, "az login" in error.message)
"""


@pytest.mark.parametrize(
    ("told", "shows"),
    [
        ({}, "StorageConfigurationError NO_CREDENTIALS True"),
        # Set up, and its file is not there: that has failed.
        (
            {"AZURE_CLIENT_ID": "id", "AZURE_TENANT_ID": "t", "AZURE_CLIENT_CERTIFICATE_PATH": "/absent.pem"},
            "StorageAuthenticationError AUTHENTICATION_FAILED False",
        ),
    ],
)
def test_who_is_signed_in_nowhere_learns_so_in_one_line(told, shows):
    """In a process of its own, where azure-identity is loaded by the first token."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AZURE_")}
    environ = {**kept, "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential", **told}
    ended = subprocess.run([sys.executable, "-c", NOBODY], env=environ, capture_output=True, check=True)
    assert (ended.stdout.decode().strip(), ended.stderr.decode()) == (shows, "")


def test_without_keys_azures_own_chain_is_asked_and_its_absence_is_told_early(monkeypatch):
    config = AzureConfig(account="acme", bucket="proofs")
    assert config.auth == "login"
    assert isinstance(module._chain(), DefaultAzureCredential)
    by_hand(monkeypatch, "azure.identity")
    with pytest.raises(StorageConfigurationError, match=r"credstore\[azure\]") as raised:
        AzureDriver(config)
    assert raised.value.code == "EXTRA_MISSING"


def test_a_token_that_the_service_calls_expired_is_renewed_once():
    async def check():
        asked = Asked("token")
        asked.now = datetime.now(UTC)
        fake = FakeAzure()
        fake.put("key", b"data")
        expired = refusal(
            401, "InvalidAuthenticationInfo", "Lifetime validation failed. The token is expired."
        )
        driver = fake.driver(tokens=EntraTokens(asked), auth_mode="login")
        fake.faults.append(lambda sent, serve: expired if len(fake.sent) == 1 else None)
        assert (await driver.put(request("k"))).etag
        assert len(asked.scopes) == 2
        fake.faults[:] = [lambda sent, serve: expired]
        before = len(fake.sent)
        with pytest.raises(StorageAuthenticationError) as raised:
            await driver.delete("k")
        assert raised.value.code == "CREDENTIALS_EXPIRED"
        assert len(fake.sent) - before == 2
        await driver.aclose()

    asyncio.run(check())
