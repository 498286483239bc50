"""AWS's chain through aiobotocore: found, renewed once for all, and never shown."""

import asyncio
import json
import logging
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from credstore.encryption import Secret
from credstore.errors import StorageAuthenticationError, StorageConfigurationError
from credstore.wire.aws import credentials as module
from credstore.wire.aws.credentials import _TALKATIVE, AwsChainCredentials, Credentials, StaticCredentials
from credstore.wire.quiet import hushed

CANARY = "canary-secret"


@pytest.fixture(autouse=True)
def empty_chain(monkeypatch, tmp_path):
    """No credentials from anywhere but what a test gives."""
    for name in list(__import__("os").environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def get(profile=None):
    async def main():
        chain = AwsChainCredentials(profile=profile)
        found = await chain.get()
        await chain.aclose()
        return found

    return asyncio.run(main())


def test_keys_of_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert get() == Credentials("AKIDENV", Secret(CANARY), Secret("token"))


def test_keys_of_a_profile(tmp_path):
    (tmp_path / "credentials").write_text(
        f"[proofs]\naws_access_key_id = AKIDFILE\naws_secret_access_key = {CANARY}\n"
    )
    assert get("proofs") == Credentials("AKIDFILE", Secret(CANARY))


def test_keys_of_a_process_with_their_end(tmp_path):
    ends = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    answer = {
        "Version": 1,
        "AccessKeyId": "AKIDPROC",
        "SecretAccessKey": CANARY,
        "SessionToken": "token",
        "Expiration": ends.isoformat(),
    }
    script = tmp_path / "answer.py"
    script.write_text(f"print({json.dumps(json.dumps(answer))})")
    (tmp_path / "config").write_text(f"[profile proc]\ncredential_process = {sys.executable} {script}\n")
    found = get("proc")
    assert (found.access_key_id, found.expires_at) == ("AKIDPROC", ends)


def test_no_credentials_says_what_to_set():
    with pytest.raises(StorageConfigurationError, match="AWS_ACCESS_KEY_ID") as caught:
        get()
    assert caught.value.code == "NO_CREDENTIALS"


def test_no_such_profile_is_named():
    with pytest.raises(StorageConfigurationError, match="'nowhere'"):
        get("nowhere")


def test_a_failing_process_does_not_tell_its_output(tmp_path, caplog):
    script = tmp_path / "answer.py"
    script.write_text(f"import sys; sys.exit('{CANARY}')")
    (tmp_path / "config").write_text(f"[profile proc]\ncredential_process = {sys.executable} {script}\n")
    with caplog.at_level(logging.DEBUG), pytest.raises(StorageAuthenticationError) as caught:
        get("proc")
    shown = caught.value
    while shown is not None:
        assert CANARY not in str(shown)
        shown = shown.__cause__
    assert CANARY not in caplog.text


def test_explicit_keys_never_ask_the_chain():
    async def main():
        keys = Credentials("id", Secret(CANARY))
        source = StaticCredentials(keys)
        assert await source.get() is await source.refresh() is keys

    asyncio.run(main())
    assert CANARY not in repr(Credentials("id", Secret(CANARY)))


class Chain:
    """In place of the chain: counts its uses, in whichever thread."""

    def __init__(self, monkeypatch, lifetime=timedelta(hours=1)):
        self.asked = 0
        self.threads = set()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.lifetime = lifetime
        self.fails = False
        monkeypatch.setattr(module, "_resolve", self.resolve)
        self.source = AwsChainCredentials(profile=None, now=lambda: self.now)

    def resolve(self, profile):
        self.asked += 1
        self.threads.add(threading.get_ident())
        if self.fails:
            raise StorageAuthenticationError("the session has ended")
        return Credentials(f"KEY{self.asked}", Secret(CANARY), None, self.now + self.lifetime)


def test_one_look_serves_all_who_wait_and_holds_up_nobody(monkeypatch):
    chain = Chain(monkeypatch)

    async def main():
        found = await asyncio.gather(*(chain.source.get() for _ in range(50)))
        assert {each.access_key_id for each in found} == {"KEY1"}
        found = await asyncio.gather(*(chain.source.refresh() for _ in range(50)))
        assert {each.access_key_id for each in found} == {"KEY2"}

    asyncio.run(main())
    assert threading.get_ident() not in chain.threads


def test_they_are_renewed_before_they_end_and_used_on_while_that_fails(monkeypatch):
    chain = Chain(monkeypatch)

    async def main():
        assert (await chain.source.get()).access_key_id == "KEY1"
        chain.now += timedelta(minutes=49)
        assert (await chain.source.get()).access_key_id == "KEY1"
        chain.now += timedelta(minutes=2)
        chain.fails = True
        assert (await chain.source.get()).access_key_id == "KEY1"
        assert chain.asked == 2
        await chain.source.get()
        assert chain.asked == 2  # Not asked again at once.
        chain.now += timedelta(minutes=20)
        with pytest.raises(StorageAuthenticationError):
            await chain.source.get()
        chain.fails = False
        assert (await chain.source.get()).access_key_id == "KEY4"

    asyncio.run(main())


@pytest.mark.parametrize(
    "name", ["botocore.credentials", "aiobotocore.credentials", "botocore.tokens", "botocore"]
)
def test_no_logger_of_the_chain_speaks_while_it_looks_for_keys(name, caplog):
    def elsewhere():
        logging.getLogger(name).warning("another thread's own words")

    with hushed(*_TALKATIVE):
        logging.getLogger(name).warning("a response with a new key")
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    logging.getLogger(name).warning("words of later")
    assert "a response with a new key" not in caplog.text
    assert "another thread's own words" in caplog.text
    assert "words of later" in caplog.text
