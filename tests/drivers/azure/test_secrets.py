"""No frame, message or repr holds a key, signature or token (P24, F1)."""

import asyncio
import base64
import re
from datetime import UTC, datetime, timedelta

import pytest

from credstore.config.azure import AzureConfig
from credstore.driver.values import ReadOptions, SignRequest
from credstore.encryption import CustomerKey, Secret
from credstore.errors import StorageConfigurationError, StorageError
from credstore.model import Retention
from credstore.provider.presets import provider_for
from credstore.testing.harness import Stream, put, request
from credstore.testing.scripted import ScriptedTransport
from credstore.wire.tokens import Token, TokenSource
from tests.canaries import leaks
from tests.drivers.azure.fake import KEY, FakeAzure, refusal
from tests.drivers.azure.test_faults import copied
from tests.faults.test_frames import ROOT, turns

TOLD = re.compile(r"sig=[^&*]|sharedkey [a-z0-9]+:|bearer [a-z]", re.IGNORECASE)
PARTS = {"multipart_threshold": 2000, "part_size": 1500, "max_concurrency": 2, "single_copy_limit": 2000}
LARGE = b"y" * 5000
FAR = datetime(2037, 1, 1, tzinfo=UTC)
SAS = "sv=2023-11-03&sp=racwdl&sr=c&sig=canary-signature"


class Tokens(TokenSource):
    """A token of Entra ID."""

    async def get(self):
        await asyncio.sleep(0)
        return Token(Secret("token"), datetime.now(UTC) + timedelta(hours=1))

    async def refresh(self):
        return await self.get()

    async def aclose(self):
        return None


WAYS = {
    "key": {},
    "signature": {"sas_token": Secret(SAS)},
    "token": {"auth_mode": "login", "tokens": Tokens()},
}


async def read(driver, key):
    async with await driver.get(key) as reader:
        return [chunk async for chunk in reader]


async def copy(driver, key):
    return await copied(driver, await driver.head(key), "copy")


async def sign(driver, key):
    if "GET" in driver.capabilities.presign:
        await driver.sign(SignRequest(key=key))


OURS = CustomerKey(base64.b64decode("canary" * 7 + "Q="))


async def copy_sealed(driver, data):
    """A copy of what is there under a customer-provided key, to a key of its own."""
    await driver.put(request("sealed", data, encryption=OURS))
    source = await driver.head("sealed", ReadOptions(customer_key=OURS))
    return await copied(driver, source, "copy", source_customer_key=OURS, encryption=OURS)


async def read_sealed(driver):
    await driver.put(request("sealed", b"x", encryption=OURS))
    async with await driver.get("sealed", ReadOptions(customer_key=OURS)) as reader:
        return await reader.read()


VERBS = {
    "put": lambda driver: driver.put(request("k", b"x")),
    "put in blocks": lambda driver: driver.put(request("k", LARGE)),
    "put a stream": lambda driver: driver.put(request("k", body=Stream(LARGE, LARGE), digest=None)),
    "put under a key": lambda driver: driver.put(request("k", b"x", encryption=OURS)),
    "put in blocks under a key": lambda driver: driver.put(request("k", LARGE, encryption=OURS)),
    "get under a key": read_sealed,
    "copy under a key": lambda driver: copy_sealed(driver, b"x"),
    "copy in blocks under a key": lambda driver: copy_sealed(driver, LARGE),
    "get": lambda driver: read(driver, "small"),
    "get a large one": lambda driver: read(driver, "large"),
    "get nothing": lambda driver: read(driver, "absent"),
    "head": lambda driver: driver.head("small"),
    "delete": lambda driver: driver.delete("small"),
    "delete many": lambda driver: driver.delete_many(["small", "absent"]),
    "list": lambda driver: driver.list(),
    "copy": lambda driver: copy(driver, "small"),
    "copy in blocks": lambda driver: copy(driver, "large"),
    "tags": lambda driver: driver.put_tags("small", {"a": "1"}),
    "sign": lambda driver: sign(driver, "small"),
    "list versions": lambda driver: driver.list_versions(),
    "put under hold": lambda driver: driver.put(request("k", b"x", retention=Retention(legal_hold=True))),
    "retain": lambda driver: driver.set_retention("small", FAR, "governance"),
    "hold": lambda driver: driver.set_legal_hold("small", held=True),
    "ping": lambda driver: driver.ping(),
}


def seen_in(failure):
    """What frames of ours tell, in the failure and in all that led to it."""
    found, waiting, done = [], [failure], set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in done:
            continue
        done.add(id(each))
        waiting += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
        texts = [("message", f"{each} {each!r} {getattr(each, '__notes__', '')}")]
        trace = each.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            name = frame.f_code.co_filename
            if name.startswith(ROOT) and "/testing/" not in name:
                for local, value in frame.f_locals.items():
                    texts.append((f"{frame.f_code.co_qualname}: {local}", repr(value)))
            trace = trace.tb_next
        found += [where for where, text in texts if leaks(text) or TOLD.search(text) or KEY in text]
    return found


class Slow(FakeAzure):
    """Answers after a few turns of the loop."""

    def transport(self):
        async def step(sent):
            await turns(3)
            return self.answer(sent)

        return ScriptedTransport(step)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", VERBS)
def test_no_frame_holds_a_secret_wherever_a_verb_is_cancelled(verb, way):
    async def check():
        found: set[str] = set()
        count = done = 0
        while not done:
            fake = Slow(immutable=True)
            fake.put("small", b"data", tags={"t": "1"})
            fake.put("large", LARGE)
            driver = fake.driver(max_retries=0, **PARTS, **WAYS[way])
            task = asyncio.ensure_future(VERBS[verb](driver))
            await turns(count)
            done = task.done()
            task.cancel()
            try:
                await task
            except (asyncio.CancelledError, StorageError) as failure:
                found |= set(seen_in(failure))
            await driver.aclose()
            count += 1 + count // 12
        assert not found, found
        assert count > 1

    asyncio.run(check())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("verb", VERBS)
def test_no_frame_holds_a_secret_when_a_verb_fails(verb, way):
    async def check():
        for answer in (refusal(500, "InternalError"), refusal(403, "AuthenticationFailed", f"?{SAS}")):
            fake = FakeAzure()
            fake.put("small", b"data")
            driver = fake.driver(max_retries=1, **PARTS, **WAYS[way])
            fake.faults.append(lambda _sent, _serve, answer=answer: answer)
            found: list[str] = []
            try:
                await VERBS[verb](driver)
            except StorageError as failure:
                found = seen_in(failure)
            assert not found
            await driver.aclose()

    asyncio.run(check())


@pytest.mark.parametrize(
    "wrong",
    [
        {"account_key": Secret("canary-no-base64")},
        {"account_key": Secret(f"?{SAS}")},
        {"sas_token": Secret("canary=1")},
        {"sas_token": Secret(f"https://acme.blob.core.windows.net/?{SAS}")},
        {"sas_token": Secret(SAS), "account_key": Secret(KEY)},
        {"connection_string": Secret("AccountName=acme;AccountKey=canary-no-base64")},
        {"connection_string": Secret("canary")},
        {"connection_string": Secret("AccountName=other;AccountKey=canary")},
    ],
)
def test_a_config_that_refuses_a_secret_does_not_tell_it(wrong):
    with pytest.raises(StorageConfigurationError) as raised:
        AzureConfig(account="acme", bucket="proofs", **wrong)
    assert not seen_in(raised.value)


def test_a_store_and_its_config_do_not_tell_their_secrets():
    fake = FakeAzure()
    for way in ({}, {"sas_token": Secret(SAS)}):
        config = fake.config(**way)
        store = provider_for(config)
        for text in (repr(config), str(config), repr(store), repr(fake.driver(**way))):
            assert not leaks(text)
            assert KEY not in text


def test_a_link_hides_its_signature():
    async def check():
        fake = FakeAzure()
        driver = fake.driver()
        await put(driver, "key")
        link = await driver.sign(SignRequest(key="key"))
        assert "sig=" in link.url
        assert "sig" not in repr(link)
        await driver.aclose()

    asyncio.run(check())
