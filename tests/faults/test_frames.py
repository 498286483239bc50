"""No frame that a cancellation or an error passes holds a secret in a local (F1).

Every verb is cancelled at every turn of its loop, and the locals of all frames of ours are looked at.
"""

import asyncio
import re
from types import TracebackType

import pytest

import credstore
from credstore import ClientSide, CustomerKey, KeyRing, LocalKey, Secret
from credstore.errors import StorageError
from credstore.provider.provider import StorageProvider
from tests.canaries import leaks
from tests.faults.messages import error
from tests.faults.rig import KEY_ID, SECRET, Rig, run
from tests.faults.script import Respond
from tests.faults.signatures import Account

ROOT = credstore.__path__[0]
OWN = CustomerKey(b"canary-customer-key-of-32-bytes!")
SEALED = ClientSide(
    KeyRing(LocalKey(b"canary-wrapping-key-of-32-bytes!"), random=lambda size: b"canary".ljust(size, b"k")),
    store_id="store",
    shreddable=True,
)
SIGNED = re.compile(r"signature=[0-9a-f%]{16}", re.IGNORECASE)
SMALL, LARGE = b"x" * 500, b"y" * 5000
PARTS = {"multipart_threshold": 2000, "part_size": 1500, "max_concurrency": 2}


async def pieces(data=LARGE):
    yield data[:2000]
    yield data[2000:]


async def streamed(store, key="there", **options):
    async with store.open(key, **options) as reader:
        return [chunk async for chunk in reader]


def sealing(store) -> StorageProvider:
    """The same store, whose verbs all encrypt before anything is sent."""
    return StorageProvider(store._session.driver, store._session.config, encryption=SEALED)


async def scanned(store):
    return [item async for item in store.scan()]


VERBS = {
    "store": lambda store: store.store("k", SMALL, encryption=OWN, metadata={"a": "b"}, tags={"t": "1"}),
    "store in parts": lambda store: store.store("k", LARGE, encryption=OWN),
    "store a stream": lambda store: store.store("k", pieces(), encryption=OWN),
    "retrieve": lambda store: store.retrieve("there", encryption=OWN),
    "retrieve nothing": lambda store: store.retrieve("absent"),
    "open": lambda store: streamed(store, encryption=OWN),
    "open a range": lambda store: streamed(store, encryption=OWN, start=10, end=100),
    "exists": lambda store: store.exists("plain"),
    "get_metadata": lambda store: store.get_metadata("there", encryption=OWN),
    "list": lambda store: store.list(),
    "scan": scanned,
    "get_stats": lambda store: store.get_stats(),
    "copy": lambda store: store.copy("there", "to", source_encryption=OWN, encryption=OWN),
    "move": lambda store: store.move("plain", "moved"),
    "delete": lambda store: store.delete("plain"),
    "batch_delete": lambda store: store.batch_delete(["plain", "k", "absent"]),
    "get_signed_url": lambda store: store.get_signed_url("plain"),
    "health_check": lambda store: store.health_check(),
    "list_versions": lambda store: store.list_versions("plain"),
    "delete_versions": lambda store: store.delete_versions("plain"),
    "list in parallel": lambda store: store.list(parallel=3),
    "list_dictionaries": lambda store: store.list_dictionaries(),
    "move with a key": lambda store: store.move("there", "moved", source_encryption=OWN),
    "seal": lambda store: store.store("k", SMALL, encryption=SEALED),
    "seal a stream": lambda store: store.store("k", pieces(), encryption=SEALED),
    "unseal": lambda store: store.retrieve("sealed", encryption=SEALED),
    "unseal a range": lambda store: streamed(store, key="sealed", encryption=SEALED, start=3, end=90),
    "copy sealed": lambda store: sealing(store).copy("sealed", "to"),
    "rotate_keys": lambda store: sealing(store).rotate_keys(),
    "forget_key": lambda store: sealing(store).forget_key("sealed"),
}
FAULTS = {
    "no fault": None,
    "broken": Respond(error(500, "InternalError")),
    "refused": Respond(error(403, "AccessDenied")),
    "expired": Respond(error(400, "ExpiredToken")),
}


def seen_in(failure: BaseException | None) -> list[str]:
    """What frames of ours tell, in the failure and in all that led to it."""
    found: list[str] = []
    waiting, done = [failure], set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in done:
            continue
        done.add(id(each))
        waiting += [each.__cause__, each.__context__]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        trace: TracebackType | None = each.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if frame.f_code.co_filename.startswith(ROOT):
                for name, value in list(frame.f_locals.items()):
                    text = repr(value)
                    if leaks(text) or SIGNED.search(text):
                        found.append(f"{frame.f_code.co_qualname}: {name}")
            trace = trace.tb_next
    return found


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


TOKEN = "canary-session-token"


async def prepared(rig: Rig) -> None:
    rig.origin.allow(Account(KEY_ID, SECRET, TOKEN))
    await rig.store.store("there", SMALL, encryption=OWN)
    await rig.store.store("plain", SMALL)
    await rig.store.store("sealed", SMALL, encryption=SEALED)


@pytest.mark.parametrize("verb", VERBS)
def test_no_frame_holds_a_secret_wherever_a_verb_is_cancelled(verb):
    async def test(rig: Rig):
        found: set[str] = set()
        count = done = 0
        while not done:
            await prepared(rig)
            task = asyncio.ensure_future(VERBS[verb](rig.store))
            await turns(count)
            done = task.done()
            task.cancel()
            try:
                await task
            except (asyncio.CancelledError, StorageError) as failure:
                found |= set(seen_in(failure))
            count += 1 + count // 24  # Every turn of a small request, and a share of those of a long one.
        assert not found, found
        assert count > 3

    run(test, aws=True, session_token=Secret(TOKEN), max_retries=0, **PARTS)


@pytest.mark.parametrize("fault", [name for name in FAULTS if FAULTS[name]])
@pytest.mark.parametrize("verb", VERBS)
def test_no_frame_holds_a_secret_when_a_verb_fails(verb, fault):
    async def test(rig: Rig):
        await prepared(rig)
        rig.origin.plan("before-apply", FAULTS[fault], times=None)
        found: list[str] = []
        try:
            await VERBS[verb](rig.store)
        except StorageError as failure:
            found = seen_in(failure)
        assert not found

    run(
        test,
        aws=True,
        faults_may_wait=True,
        session_token=Secret(TOKEN),
        max_retries=0,
        **PARTS,
    )
