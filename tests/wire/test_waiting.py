"""Waits that are no request end with the call, and hold up neither others nor the interpreter's end."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credstore.config.stores import MemoryConfig, S3Config
from credstore.driver import SignRequest
from credstore.drivers.s3.driver import S3Driver
from credstore.encryption import ClientSide, Secret
from credstore.errors import StorageAuthenticationError, StorageTimeoutError
from credstore.keyring.aws_kms import AwsKmsKey
from credstore.keyring.local import LocalKey
from credstore.keyring.ring import KeyRing
from credstore.keyring.wrapping import CallableKey
from credstore.provider.presets import MemoryStorageProvider, S3StorageProvider
from credstore.testing import ScriptedAnswer, ScriptedTransport
from credstore.wire import child_processes
from credstore.wire.aws import credentials as module
from credstore.wire.aws.credentials import LONGEST_SESSION, AwsChainCredentials, Credentials
from credstore.wire.waiting import Shared, within
from tests.drivers.s3.support import make_driver, put_request

PLACE = {"endpoint": "http://127.0.0.1:9", "region": "eu-west-1", "addressing": "path"}
OK = ScriptedAnswer(200, b"", {"etag": '"x"', "x-amz-request-id": "r"})
LIST = b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
SHORT = 0.05
KEYS = Credentials("AKID", Secret("canary-secret"))


class Gate:
    """A search for credentials that ends when the test says so."""

    def __init__(self, monkeypatch):
        self.opened = threading.Event()
        self.asked = 0
        monkeypatch.setattr(module, "_resolve", self.resolve)

    def resolve(self, profile):
        self.asked += 1
        assert self.opened.wait(600)
        return KEYS


@pytest.fixture
def gate(monkeypatch):
    found = Gate(monkeypatch)
    yield found
    found.opened.set()


CALLS = {
    "ping": lambda driver, end: driver.ping(deadline=end),
    "put": lambda driver, end: driver.put(put_request("k", b"x", deadline=end)),
    "delete": lambda driver, end: driver.delete("k", deadline=end),
    "list": lambda driver, end: driver.list(deadline=end),
    "link": lambda driver, end: driver.sign(SignRequest(key="k", deadline=end)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_whose_credentials_do_not_come_ends_at_its_deadline_and_did_nothing(gate, call):
    async def main():
        transport = ScriptedTransport(OK)
        driver = S3Driver(S3Config(bucket="box", **PLACE), transport=transport)
        with pytest.raises(StorageTimeoutError, match="the credentials") as caught:
            await call(driver, time.monotonic() + SHORT)
        assert (caught.value.applied, caught.value.retryable, transport.requests) == ("no", True, [])
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_call_whose_profile_is_not_read_in_time_ends_likewise(monkeypatch, call):
    held = threading.Event()
    monkeypatch.setattr("credstore.drivers.s3.driver.located", lambda config: held.wait(600))

    async def main():
        transport = ScriptedTransport(OK)
        driver = S3Driver(S3Config(bucket="box", profile="corp"), transport=transport)
        with pytest.raises(StorageTimeoutError, match="the AWS configuration") as caught:
            await call(driver, time.monotonic() + SHORT)
        assert (caught.value.applied, caught.value.retryable, transport.requests) == ("no", True, [])
        await driver.aclose()

    asyncio.run(main())
    held.set()


def test_a_health_check_is_a_result_and_a_link_an_error_when_credentials_do_not_come(gate):
    async def main():
        store = S3StorageProvider(S3Config(bucket="box", **PLACE))
        health = await store.health_check(timeout=SHORT)
        assert not health.healthy
        assert "the credentials" in health.errors[0]
        with pytest.raises(StorageTimeoutError, match="the credentials"):
            await store.get_signed_url("k", check=False, timeout=SHORT)
        with pytest.raises(StorageTimeoutError, match="the credentials"):
            await store.store("k", b"x", timeout=SHORT)
        assert gate.asked == 1  # All of them waited for the same search.
        await store.aclose()

    asyncio.run(main())


def test_who_stops_waiting_does_not_end_the_search_for_the_others(gate):
    async def main():
        source = AwsChainCredentials(profile=None)
        patient = asyncio.ensure_future(source.get())
        with pytest.raises(StorageTimeoutError):
            await within(time.monotonic() + SHORT, source.get(), "the credentials")
        gone = asyncio.ensure_future(source.get())
        await asyncio.sleep(0)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        gate.opened.set()
        assert await patient is KEYS
        assert gate.asked == 1

    asyncio.run(main())


def test_a_renewal_that_hangs_does_not_hold_up_calls_while_the_keys_at_hand_work(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", SHORT)
    held = threading.Event()
    asked = []
    now = datetime(2026, 1, 1, tzinfo=UTC)
    first = Credentials("AKID1", Secret("canary-secret"), None, now + timedelta(minutes=5))

    def resolve(profile):
        asked.append(profile)
        assert len(asked) == 1 or held.wait(600)
        return first

    monkeypatch.setattr(module, "_resolve", resolve)

    async def main():
        source = AwsChainCredentials(profile=None, now=lambda: now)
        assert await source.get() is first
        assert await source.get() is first  # Due, and the renewal hangs.
        assert await source.get() is first  # Not waited for again.
        assert len(asked) == 2

    asyncio.run(main())
    held.set()


def test_each_who_waits_has_an_error_of_its_own(monkeypatch):
    def resolve(profile):
        raise StorageAuthenticationError("the session has ended")

    monkeypatch.setattr(module, "_resolve", resolve)

    async def main():
        source = AwsChainCredentials(profile=None)
        found = await asyncio.gather(*(source.get() for _ in range(3)), return_exceptions=True)
        assert [str(each) for each in found] == [str(found[0])] * 3
        assert len({id(each) for each in found}) == 3

    asyncio.run(main())


def test_what_is_awaited_may_run_out_of_a_time_of_its_own():
    async def fails():
        raise TimeoutError("its own")

    async def main():
        with pytest.raises(TimeoutError, match="its own"):
            await within(time.monotonic() + 60, fails(), "it")
        assert await within(None, asyncio.sleep(0, "done"), "it") == "done"

    asyncio.run(main())


def test_the_next_who_asks_begins_anew_on_whichever_loop():
    asked = []
    shared = Shared(lambda: asked.append(1) or len(asked))
    assert [asyncio.run(shared.result()) for _ in range(3)] == [1, 2, 3]


HANGING = """
import asyncio, credstore
import aiobotocore.session, botocore.client  # So that the time of the call is the helper's.
async def main():
    config = credstore.S3Config(bucket="box", profile="slow", timeout=5)
    async with credstore.S3StorageProvider(config) as store:
        try:
            await store.store("k", b"x")
        except credstore.StorageTimeoutError as error:
            print(error.applied, "the credentials" in str(error) or "the AWS configuration" in str(error))
asyncio.run(main())
"""
KEY_SERVICE = """
import asyncio, credstore, time
async def main():
    key = credstore.CallableKey("slow", wrap=lambda plain: time.sleep(10000), unwrap=bytes)
    policy = credstore.ClientSide(credstore.KeyRing(key), store_id="x")
    async with credstore.MemoryStorageProvider(encryption=policy) as store:
        try:
            await store.store("k", b"x", timeout=0.2)
        except credstore.StorageTimeoutError as error:
            print(error.applied, "the key service" in str(error))
asyncio.run(main())
"""


HELPER = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(10000)"])
pathlib.Path("{files}/pids.new").write_text(f"{os.getpid()} {child.pid}")
os.rename("{files}/pids.new", "{files}/pids")
time.sleep(10000)
"""


def gone(process):
    """Wait until a process is no more, reaped by whoever is its parent."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z" and int(parent) != os.getpid():
            return  # Killed, and inherited by one who has not come to it yet.
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    pytest.fail("it lives on")


async def appeared(path):
    while not path.exists():
        await asyncio.sleep(0.01)
    return [int(each) for each in path.read_text().split()]


@pytest.fixture
def hanging(monkeypatch, tmp_path):
    """A profile whose helper hangs, and has started another program; the file with the ids of both."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "helper.py").write_text(HELPER.replace("{files}", str(tmp_path)))
    (tmp_path / "config").write_text(
        f"[profile slow]\ncredential_process = {sys.executable} {tmp_path}/helper.py\n"
    )
    return tmp_path / "pids"


@pytest.mark.parametrize("how", ["deadline", "cancelled", "closed", "key service"])
def test_a_helper_that_nobody_waits_for_is_killed_with_what_it_started(hanging, how):
    async def main():
        if how == "key service":
            key = AwsKmsKey("arn:aws:kms:us-east-1:123456789012:key/0", profile="slow")
            waiting = asyncio.ensure_future(key.generate(bytes, "store"))
            pids = await appeared(hanging)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await key.aclose()
            return pids
        source = AwsChainCredentials(profile="slow")
        if how == "closed":
            looking = asyncio.ensure_future(source._looking.result(abandon=False))
        elif how == "deadline":
            # The time ends when the helper hangs, however long it took to start.
            looking = asyncio.ensure_future(ended(source))
        else:
            looking = asyncio.ensure_future(source.get())
        pids = await appeared(hanging)
        if how == "deadline":
            with pytest.raises(StorageTimeoutError):
                await looking
        else:
            looking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await looking
        await source.aclose()
        return pids

    async def ended(source):
        async def when_it_hangs():
            limit = asyncio.timeout(None)
            try:
                async with limit:
                    end = asyncio.ensure_future(appeared(hanging))
                    end.add_done_callback(lambda _: limit.reschedule(0))
                    return await source.get()
            except TimeoutError:
                raise StorageTimeoutError("the time is over") from None

        return await when_it_hangs()

    for process in asyncio.run(main()):
        gone(process)


def test_a_helper_that_is_being_started_when_its_search_is_given_up_is_killed_too(hanging, monkeypatch):
    start = child_processes._Base.subprocess_exec
    given_up = threading.Event()

    async def slow(loop, *args, **kwargs):
        made = await start(loop, *args, **kwargs)
        while not given_up.is_set():
            await asyncio.sleep(0.01)
        return made

    monkeypatch.setattr(child_processes._Base, "subprocess_exec", slow)

    async def main():
        looking = asyncio.ensure_future(AwsChainCredentials(profile="slow").get())
        pids = await appeared(hanging)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        given_up.set()
        return pids

    for process in asyncio.run(main()):
        gone(process)


def test_a_helper_goes_on_while_others_wait_for_it(hanging):
    async def main():
        source = AwsChainCredentials(profile="slow")
        first, second = (asyncio.ensure_future(source.get()) for _ in range(2))
        helper, _ = await appeared(hanging)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        os.kill(helper, 0)
        assert not second.done()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        return helper

    gone(asyncio.run(main()))


def test_who_asks_after_a_search_was_given_up_has_one_of_its_own(hanging):
    async def main():
        source = AwsChainCredentials(profile="slow")
        first = asyncio.ensure_future(source.get())
        await appeared(hanging)
        answer = '{"Version": 1, "AccessKeyId": "AKIDPROC", "SecretAccessKey": "canary-secret"}'
        (hanging.parent / "helper.py").write_text(f"print({answer!r})")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert (await source.get()).access_key_id == "AKIDPROC"

    asyncio.run(main())


def test_a_helper_ends_with_the_interpreter(hanging):
    program = """
import asyncio, pathlib, sys
from credstore.wire.aws.credentials import AwsChainCredentials
async def main():
    looking = asyncio.ensure_future(AwsChainCredentials(profile="slow")._looking.result(abandon=False))
    while not pathlib.Path(sys.argv[1]).exists():
        await asyncio.sleep(0.01)
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(hanging)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for process in map(int, hanging.read_text().split()):
        gone(process)


@pytest.mark.parametrize("program", [HANGING, KEY_SERVICE], ids=["credential process", "key service"])
def test_a_helper_that_hangs_keeps_no_interpreter_from_ending(tmp_path, program):
    pid = tmp_path / "pid"
    (tmp_path / "helper.py").write_text(
        f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(10000)"
    )
    (tmp_path / "config").write_text(
        "[profile slow]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:9\n"
        f"credential_process = {sys.executable} {tmp_path}/helper.py\n"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ |= {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stdout) == (0, "no True\n"), done.stderr
    assert "Traceback" not in done.stderr
    if pid.exists():  # Where the machine was too busy, the time ended before the helper began.
        gone(int(pid.read_text()))


@pytest.mark.parametrize("verb", ["wrap", "unwrap"])
def test_a_key_service_that_does_not_answer_is_waited_for_until_the_deadline(verb):
    held = asyncio.Event()

    async def hang(data):
        await held.wait()
        return data

    async def answer(data):
        return data

    functions = {"wrap": answer, "unwrap": answer, verb: hang}

    async def main():
        ring = KeyRing(CallableKey("slow", **functions))
        config = MemoryConfig(timeout=SHORT if verb == "unwrap" else 30.0)
        async with MemoryStorageProvider(config, encryption=ClientSide(ring, store_id="s")) as store:
            if verb == "unwrap":
                await store.store("k", b"x")
                with pytest.raises(StorageTimeoutError, match="the key service"):
                    await store.retrieve("k")
            else:
                with pytest.raises(StorageTimeoutError, match="the key service") as caught:
                    await store.store("k", b"x", timeout=SHORT)
                assert caught.value.applied == "no"
                assert not await store.exists("k")

    asyncio.run(main())


def test_a_key_at_hand_is_not_held_up_by_a_deadline_of_its_own():
    async def main():
        policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s")
        async with MemoryStorageProvider() as store:
            await store.store("k", b"x", encryption=policy, timeout=30)
            assert await store.retrieve("k", encryption=policy) == b"x"

    asyncio.run(main())


NOW = 1_800_000_000


def session(**settings):
    clock = {"now": NOW}
    transport = ScriptedTransport(ScriptedAnswer(200, LIST))
    driver = make_driver(
        "http://127.0.0.1:9",
        transport=transport,
        clock=lambda: clock["now"],
        session_token=Secret("canary-token"),
        **settings,
    )
    return driver, transport, clock


@pytest.mark.parametrize("told", [True, False])
def test_a_link_of_a_static_session_ends_with_it(told):
    ends = datetime.fromtimestamp(NOW, UTC) + (timedelta(hours=1) if told else LONGEST_SESSION)

    async def main():
        driver, _, _ = session(**({"session_expires_at": ends} if told else {}))
        signed = await driver.sign(SignRequest(key="k", expires_in=7 * 24 * 3600))
        assert signed.expires_at == ends
        assert f"X-Amz-Expires={int(ends.timestamp()) - NOW}&" in signed.url + "&"
        signed = await driver.sign(SignRequest(key="k", expires_in=60))
        assert signed.expires_at == datetime.fromtimestamp(NOW + 60, UTC)
        await driver.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("told", [True, False])
def test_a_static_session_that_has_ended_says_so_before_anything_is_sent(told):
    ends = datetime.fromtimestamp(NOW, UTC) + (timedelta(hours=1) if told else LONGEST_SESSION)

    async def main():
        driver, transport, clock = session(**({"session_expires_at": ends} if told else {}))
        clock["now"] = ends.timestamp() - 1
        await driver.ping()
        clock["now"] = ends.timestamp()
        for call in (driver.ping(), driver.sign(SignRequest(key="k")), driver.put(put_request("k", b"x"))):
            with pytest.raises(StorageAuthenticationError) as caught:
                await call
            assert (caught.value.code, caught.value.applied) == ("CREDENTIALS_EXPIRED", "no")
            assert ("session_expires_at" in str(caught.value)) is not told
        assert len(transport.requests) == 1
        await driver.aclose()

    asyncio.run(main())


def test_keys_without_a_session_do_not_end():
    async def main():
        driver = make_driver("http://127.0.0.1:9", transport=ScriptedTransport(OK), clock=lambda: float(NOW))
        signed = await driver.sign(SignRequest(key="k", expires_in=7 * 24 * 3600))
        assert signed.expires_at == datetime.fromtimestamp(NOW + 7 * 24 * 3600, UTC)
        await driver.aclose()

    asyncio.run(main())
