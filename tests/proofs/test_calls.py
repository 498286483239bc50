"""Each verb of the proof store is one call: its event, its errors, and what closing the store waits for."""

import asyncio

import pytest

from credstore import MemoryConfig, MemoryStorageProvider
from credstore.drivers.memory import MemoryDriver
from credstore.errors import StorageConnectionError, StorageError, StorageInvalidRequestError
from credstore.proofs.format.errors import ProofNotFoundError
from credstore.proofs.format.original import LegacyHomes
from credstore.proofs.store.model import IssueRequest
from credstore.proofs.store.proof_store import ProofStore
from credstore.provider.provider import StorageProvider
from tests.proofs.material import ID, SIGNER
from tests.proofs.shelves import HOUR, TRUST, Shelf

ASSET = b"hello"


class Gate:
    """A hook of the driver that holds requests at one operation until it is opened."""

    def __init__(self, operation):
        self.operation = operation
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self, operation, key):
        if operation == self.operation:
            self.reached.set()
            await self.opened.wait()


async def turns():
    """Let every other task go as far as it can without an answer."""
    for _ in range(50):
        await asyncio.sleep(0)


async def close_at_once(store):
    """Close a store that has nothing to wait for."""
    closing = asyncio.create_task(store.aclose())
    await turns()
    assert closing.done()
    await closing


def run(test, **options):
    events = []

    async def body():
        shelf = Shelf()
        async with shelf.open(observers=[events.append], legacy=LegacyHomes(), **options) as store:
            await test(shelf, store, events)

    asyncio.run(body())


async def every(results):
    return [each async for each in results]


VERBS = {
    "issue": lambda store, name, digest: store.issue(ASSET),
    "issue_many": lambda store, name, digest: every(store.issue_many([])),
    "supersede": lambda store, name, digest: store.supersede(name, ASSET),
    "get": lambda store, name, digest: store.get(name),
    "find_by_hash": lambda store, name, digest: store.find_by_hash(digest),
    "scan_by_hash": lambda store, name, digest: every(store.scan_by_hash(digest)),
    "history": lambda store, name, digest: store.history(name),
    "exists": lambda store, name, digest: store.exists(name),
    "revoke": lambda store, name, digest: store.revoke(name),
    "delete": lambda store, name, digest: store.delete(name),
    "sweep_expired": lambda store, name, digest: store.sweep_expired(),
    "link": lambda store, name, digest: store.link(name),
    "get_manifest": lambda store, name, digest: store.get_manifest(name),
    "export": lambda store, name, digest: store.export(name),
    "read_unverified": lambda store, name, digest: store.read_unverified(name),
    "stats": lambda store, name, digest: store.stats(),
    "fsck": lambda store, name, digest: store.fsck(),
    "import_legacy": lambda store, name, digest: store.import_legacy(),
    "find_legacy": lambda store, name, digest: store.find_legacy(digest),
    "list": lambda store, name, digest: store.list(),
    "scan": lambda store, name, digest: every(store.scan()),
    "newest_trust": lambda store, name, digest: store.newest_trust(),
    "export_legacy": lambda store, name, digest: store.export_legacy(name),
}
OF_ONE = {
    "supersede", "get", "history", "exists", "revoke", "delete", "link", "get_manifest", "export", "read_unverified",
    "export_legacy",
}  # fmt: skip
ALIASES = {"store_proof", "get_proof", "get_proof_by_hash", "proof_exists", "delete_proof", "close"}


def test_the_verbs_are_all_here():
    public = {name for kind in (ProofStore, *ProofStore.__bases__) for name in vars(kind)}
    public = {name for name in public if not name.startswith("_")}
    elsewhere = {"adopt", "aclose", "closed", "new_proof_id", "timestamp", "renew_timestamps"}
    elsewhere |= {"prefix", "reconcile", "publish_trust"}
    elsewhere |= {"import_legacy_from"}
    assert public - ALIASES == VERBS.keys() | elsewhere


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_one_event(verb):
    async def test(shelf, store, events):
        proof = await store.issue(ASSET, manifest=b"m")
        events.clear()
        await VERBS[verb](store, proof.proof_id, proof.record.asset.sha256)
        (event,) = events
        assert (event.name, event.provider, event.error) == (f"credstore.proof.{verb}", "memory", None)
        assert event.duration >= 0
        if verb in OF_ONE:
            assert event.key == proof.proof_id

    run(test)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_of_a_closed_store_is_refused_in_the_same_way(verb):
    async def test(shelf, store, events):
        await store.aclose()
        events.clear()
        with pytest.raises(StorageInvalidRequestError) as refused:
            await VERBS[verb](store, ID, bytes(32))
        error = refused.value
        assert (error.code, error.operation, error.provider) == ("CLOSED", f"proof.{verb}", "memory")
        assert "this proof store is closed" in error.message
        assert events == []
        with pytest.raises(StorageInvalidRequestError) as refused:
            await store.provider.exists("key")
        assert refused.value.code == "CLOSED"

    run(test)


def test_an_event_tells_what_the_verb_did():
    async def test(shelf, store, events):
        proof = await store.issue(ASSET, expires_in=HOUR)
        assert (events[-1].key, events[-1].attributes) == (proof.proof_id, {"size": 5})
        requests = [
            IssueRequest(asset=b"1"),
            IssueRequest(asset=b"2", expires_in=-1),
            IssueRequest(asset=b"3"),
        ]
        await every(store.issue_many(requests))
        assert events[-1].attributes == {"issued": 2, "failed": 1}
        assert sorted(each.name for each in events[1:]) == [
            *["credstore.proof.issue"] * 3, "credstore.proof.issue_many",
        ]  # fmt: skip
        assert {each.error for each in events} == {None, "INVALID_REQUEST"}
        await store.find_by_hash(proof.record.asset.sha256)
        assert events[-1].attributes == {"proofs": 1}
        await store.list()
        assert events[-1].attributes == {"proofs": 3}
        await store.sweep_expired(grace=0)
        assert events[-1].attributes == {"swept": 0, "cleaned": 0, "failed": 0}
        await store.fsck()
        assert events[-1].attributes == {"proofs": 3, "failed": 0}
        await store.issue(ASSET, manifest=b"abc", proof_id=ID)
        await store.get_manifest(ID)
        assert events[-1].attributes == {"size": 3}

    run(test)


def test_a_failure_is_told_with_its_code_and_facts():
    async def test(shelf, store, events):
        with pytest.raises(ProofNotFoundError) as missing:
            await store.get(ID)
        error = missing.value
        assert (error.operation, error.key, error.provider) == ("proof.get", ID, "memory")
        assert (events[-1].name, events[-1].key, events[-1].error) == (
            "credstore.proof.get", ID, "PROOF_NOT_FOUND",
        )  # fmt: skip
        # An error of a request keeps the facts of that request.
        store.driver.fail(1, "unsent")
        with pytest.raises(StorageConnectionError) as lost:
            await store.get(ID)
        assert lost.value.operation in {"retrieve", "list"}
        assert events[-1].error == lost.value.code
        with pytest.raises(StorageError) as wrong:
            await store.get(5)
        assert (wrong.value.key, events[-1].key) == (None, None)

    run(test)


def test_the_providers_observers_are_told_unless_others_are_named():
    async def main():
        told = []
        provider = StorageProvider(MemoryDriver(MemoryConfig()), MemoryConfig(), observers=[told.append])
        quiet = ProofStore(provider, trust=TRUST, signer=SIGNER, close_provider=False, observers=[])
        await quiet.issue(ASSET)
        assert {event.name for event in told} == {"credstore.store"}
        told.clear()
        async with ProofStore(provider, trust=TRUST, signer=SIGNER) as store:
            await store.issue(ASSET)
        assert [event.name for event in told] == [*["credstore.store"] * 2, "credstore.proof.issue"]

    asyncio.run(main())


@pytest.mark.parametrize("owned", [True, False])
def test_closing_waits_for_a_call_under_way_and_then_releases(owned):
    async def main():
        store = Shelf().open(close_provider=owned)
        store.driver.hook = gate = Gate("put")
        issuing = asyncio.create_task(store.issue(ASSET))
        await gate.reached.wait()
        closing = [asyncio.create_task(store.aclose()) for _ in range(2)]
        await turns()
        assert store.closed
        assert not any(each.done() for each in closing)
        assert not store.provider.closed
        with pytest.raises(StorageInvalidRequestError) as refused:
            await store.issue(ASSET)
        assert refused.value.code == "CLOSED"
        gate.opened.set()
        # More requests follow the one that was held: the provider must still be open for them.
        assert (await issuing).record.asset.size == 5
        await asyncio.gather(*closing)
        assert store.provider.closed is owned
        await store.aclose()
        await store.provider.aclose()

    asyncio.run(main())


def test_a_close_that_is_cut_short_is_taken_up_again():
    async def main():
        store = Shelf().open()
        store.driver.hook = gate = Gate("put")
        issuing = asyncio.create_task(store.issue(ASSET))
        await gate.reached.wait()
        closing = asyncio.create_task(store.aclose())
        await turns()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert not store.provider.closed
        again = asyncio.create_task(store.aclose())
        await turns()
        assert not again.done()
        gate.opened.set()
        await issuing
        await again
        assert store.provider.closed

    asyncio.run(main())


HELD = {
    "issue": ("put", lambda store, name, digest: store.issue(ASSET)),
    "issue_many": (
        "put",
        lambda store, name, digest: every(store.issue_many([IssueRequest(asset=ASSET)] * 3)),
    ),
    "get": ("get", lambda store, name, digest: store.get(name)),
    "find_by_hash": ("get", lambda store, name, digest: store.find_by_hash(digest)),
    "scan_by_hash": ("get", lambda store, name, digest: every(store.scan_by_hash(digest))),
    "list": ("get", lambda store, name, digest: store.list()),
    "scan": ("list", lambda store, name, digest: every(store.scan())),
    "revoke": ("put", lambda store, name, digest: store.revoke(name)),
    "delete": ("delete_many", lambda store, name, digest: store.delete(name)),
    "fsck": ("get", lambda store, name, digest: store.fsck()),
}


@pytest.mark.parametrize("verb", HELD)
def test_a_cancelled_call_is_no_longer_under_way(verb):
    operation, call = HELD[verb]

    async def test(shelf, store, events):
        proof = await store.issue(ASSET)
        events.clear()
        store.driver.hook = gate = Gate(operation)
        calling = asyncio.create_task(call(store, proof.proof_id, proof.record.asset.sha256))
        await gate.reached.wait()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert {(event.name, event.error) for event in events} <= {
            (f"credstore.proof.{verb}", "CancelledError"), ("credstore.proof.issue", "CancelledError"),
        }  # fmt: skip
        assert f"credstore.proof.{verb}" in {event.name for event in events}
        await close_at_once(store)

    run(test)


@pytest.mark.parametrize("verb", ["scan", "scan_by_hash"])
@pytest.mark.parametrize("owned", [True, False])
def test_a_scan_held_open_does_not_keep_the_store_open(verb, owned):
    async def test(shelf, store, events):
        proof = await store.issue(ASSET)
        await store.issue(ASSET)
        events.clear()
        results = store.scan() if verb == "scan" else store.scan_by_hash(proof.record.asset.sha256)
        await anext(results)
        await close_at_once(store)
        with pytest.raises(StorageInvalidRequestError) as refused:
            await anext(results)
        assert (refused.value.code, refused.value.operation) == ("CLOSED", f"proof.{verb}")
        assert [(event.name, event.error) for event in events] == [(f"credstore.proof.{verb}", "CLOSED")]

    run(test, close_provider=owned)


def test_a_scan_that_is_left_early_has_not_failed():
    async def test(shelf, store, events):
        await store.issue(ASSET)
        await store.issue(ASSET)
        for results in (store.scan(), store.issue_many([IssueRequest(asset=b"1"), IssueRequest(asset=b"2")])):
            events.clear()
            await anext(results)
            await results.aclose()
            assert events[-1].error is None
            assert events[-1].name in {"credstore.proof.scan", "credstore.proof.issue_many"}

    run(test)


def test_what_had_not_started_when_the_store_was_closed_has_the_refusal_as_its_outcome():
    async def test(shelf, store, events):
        outcomes = store.issue_many((IssueRequest(asset=bytes([each])) for each in range(4)), at_once=2)
        first = await anext(outcomes)
        await close_at_once(store)  # What is held open is not under way.
        results = [first, *await every(outcomes)]
        assert len(results) == 4
        assert first.proof is not None
        refused = [each.error.code for each in results if each.error is not None]
        assert refused
        assert set(refused) == {"CLOSED"}

    run(test)


def test_another_loop_and_a_fork_are_refused(monkeypatch):
    store = ProofStore(MemoryStorageProvider(), trust=TRUST, signer=SIGNER)
    asyncio.run(store.exists(ID))
    with pytest.raises(StorageInvalidRequestError) as refused:
        asyncio.run(store.exists(ID))
    assert (refused.value.code, refused.value.operation) == ("WRONG_LOOP", "proof.exists")
    monkeypatch.setattr("credstore.forks.count", 1)
    with pytest.raises(StorageInvalidRequestError) as refused:
        asyncio.run(store.exists(ID))
    assert refused.value.code == "FORKED"


class Failing:
    """A key service that is out of order."""

    public_key = SIGNER.public_key

    async def sign(self, pae):
        raise LookupError("the key service's own words")


def test_what_the_users_own_code_raises_reaches_the_user():
    def broken():
        yield b"1"
        raise LookupError("the stream's own words")

    def progress(done, total):
        raise LookupError("the callback's own words")

    def requests():
        yield IssueRequest(asset=b"1")
        raise LookupError("the requests' own words")

    async def test(shelf, store, events):
        proof = await store.issue(b"1")
        broken_key = shelf.open(signer=Failing(), legacy=LegacyHomes())
        for call in (
            store.issue(broken()),
            store.issue(b"1", manifest=broken()),
            store.issue(b"1" * 100_000, progress=progress),
            store.get(proof.proof_id, asset=broken()),
            store.supersede(proof.proof_id, broken()),
            every(store.issue_many(requests())),
            every(store.issue_many([IssueRequest(asset=broken())])),
            broken_key.issue(ASSET),
            broken_key.revoke(proof.proof_id),
            broken_key.delete(proof.proof_id),
        ):
            with pytest.raises(LookupError, match="own words"):
                await call

    run(test)


def test_what_nobody_foresaw_is_a_storage_error():
    async def test(shelf, store, events):
        def clock():
            raise LookupError("details from below")

        proof = await store.issue(ASSET)
        other = shelf.open(clock=clock, observers=[events.append])
        for call, applied in ((other.get(proof.proof_id), "no"), (other.revoke(proof.proof_id), "maybe")):
            with pytest.raises(StorageError) as caught:
                await call
            assert (caught.value.code, caught.value.applied) == ("UNFORESEEN", applied)
            assert isinstance(caught.value.__cause__, LookupError)
            assert "details" not in str(caught.value)
            assert events[-1].error == "UNFORESEEN"

    run(test)


def test_a_store_that_could_not_be_made_owns_nothing():
    async def main():
        async with MemoryStorageProvider() as provider:
            with pytest.raises(StorageError):
                ProofStore(provider, trust=TRUST, threshold=0)
            assert not provider.closed
            assert not await provider.exists("key")

    asyncio.run(main())
