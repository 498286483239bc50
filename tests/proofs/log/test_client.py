"""Readers, witnesses, monitors and checks of a log, each with what it must not believe."""

import asyncio
import fcntl
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from credstore import MemoryConfig
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import (
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageInvalidRequestError,
    StorageRateLimitedError,
    StorageTimeoutError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from credstore.proofs import (
    CheckpointError,
    LogConsistencyError,
    LogError,
    LogForkError,
    LogInclusionError,
    LogRollbackError,
    LogTileError,
    WitnessError,
    WitnessQuorumError,
)
from credstore.proofs.log.add_checkpoint import encode_request, monitoring_path, parse_request
from credstore.proofs.log.checkpoint import Checkpoint, open_checkpoint, sign_text
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.fsck import check_log
from credstore.proofs.log.http import LogHttp
from credstore.proofs.log.lock import Lock
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.merkle import hash_leaf
from credstore.proofs.log.monitor import monitor_log
from credstore.proofs.log.note import (
    COSIGNATURE,
    MLDSA_COSIGNATURE,
    LocalNoteSigner,
    Note,
    NoteError,
    NoteSignature,
    parse_signatures,
    verify_note,
)
from credstore.proofs.log.objects import LogObjects
from credstore.proofs.log.policy import PolicyWitness, parse_log_policy, sole_policy
from credstore.proofs.log.proof_file import verify_log_proof
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.tiles import Edge, grow
from credstore.proofs.log.witness import LogWitness
from credstore.proofs.log.witnesses import WitnessClient, WitnessGroup
from credstore.provider.provider import StorageProvider
from credstore.wire.transport import WireError
from tests.proofs.log.logs import NOW, ORIGIN, PREFIX, SIGNER, Shop, Unsteady, made

W1 = LocalNoteSigner("w1.example", b"1" * 32, COSIGNATURE)
W2 = LocalNoteSigner("w2.example", b"2" * 32, MLDSA_COSIGNATURE)
POLICY = sole_policy(SIGNER.key.encode())
WITNESSED = parse_log_policy(
    f"log {SIGNER.key.encode()}\nwitness w1 {W1.key.encode()} http://w1.example/api/\n"
    f"witness w2 {W2.key.encode()} http://w2.example\ngroup g any w1 w2\nquorum g\n".encode()
)
BOTH = parse_log_policy(
    f"log {SIGNER.key.encode()}\nwitness w1 {W1.key.encode()} http://w1.example/api/\n"
    f"witness w2 {W2.key.encode()} http://w2.example\ngroup g all w1 w2\nquorum g\n".encode()
)


def entries(start, end):
    return [b"entry %d" % number for number in range(start, end)]


def fetching(shop):
    return LogObjects(shop.provider(), PREFIX).fetch


def reader(shop, policy=POLICY, **options):
    return LogClient(fetching(shop), policy=policy, **options)


async def filled(size, **options):
    shop = Shop()
    async with await made(shop, **options) as sequencer:
        await sequencer.append(entries(0, size))
    return shop


def overwrite(shop, path, data):
    key = PREFIX + path
    kept = shop.objects.by_key.get(key) or shop.objects.by_key[f"{PREFIX}checkpoint"]
    shop.objects.put(replace(kept, data=data, info=replace(kept.info, key=key, size=len(data), digest=None)))


async def signed(size, root_hash, *signers):
    return (await sign_text(Checkpoint(ORIGIN, size, root_hash).text, signers or (SIGNER,), 1)).encode()


# Reading.


def test_entries_and_proofs_of_a_log():
    async def main():
        shop = await filled(300)
        client = reader(shop)
        assert await client.entry(299) == b"entry 299"
        assert [entry async for _, entry in client.entries(250, 260)] == entries(250, 260)
        assert [entry async for _, entry in client.entries(300)] == []
        for index in (0, 255, 256, 299):
            proof = await client.prove(index)
            verify_log_proof(proof, entry=b"entry %d" % index, policy=POLICY)
            with pytest.raises(LogInclusionError):
                verify_log_proof(proof, entry=b"another", policy=POLICY)
        for ask in (
            client.entry(300),
            client.prove(-1),
            (await client.tiles()).leaf(300),
            (await client.tiles()).inclusion(300),
        ):
            with pytest.raises(LogInclusionError, match="has no"):
                await ask
        with pytest.raises(LogConsistencyError):
            await (await client.tiles()).consistency(301)
        with pytest.raises(StorageInvalidRequestError):
            _ = [each async for each in client.entries(0, 301)]

    asyncio.run(main())


def test_a_proof_in_70_000_entries_reads_at_most_4_tiles():
    async def main():
        made = grow(Edge(), [b"%d" % number for number in range(70_000)])
        tiles = LogTiles(lambda path, most: answer(made.tiles.get(path)), 70_000, made.edge.root)
        path = await tiles.inclusion(12_345)
        assert 9 <= len(path) <= 17
        assert tiles.reads <= 5
        assert await tiles.leaf(12_345) == hash_leaf(b"12345")

    async def answer(value):
        return value

    asyncio.run(main())


def test_a_client_that_remembers_sees_a_fork_and_keeps_both_notes(tmp_path):
    async def main():
        shop = await filled(10)
        memory = LogMemory(tmp_path)
        await reader(shop, memory=memory).checkpoint()
        async with shop.open() as sequencer:
            await sequencer.append(entries(10, 300))
        client = reader(shop, memory=memory)
        first = await client.checkpoint()
        other = grow(Edge(), entries(1, 400))
        forked = {
            "less": await signed(10, hash_leaf(b"other")),
            "another root": await signed(300, hash_leaf(b"other")),
            "another history": await signed(399, other.edge.root),
        }
        for number, (what, note) in enumerate(forked.items(), 1):
            if what == "another history":
                for path, data in other.tiles.items():
                    overwrite(shop, path, data)
            overwrite(shop, "checkpoint", note)
            for each in (client, reader(shop, memory=memory)):
                with pytest.raises(LogForkError, match="both notes are in") as caught:
                    await each.checkpoint()
                assert (caught.value.note_a, caught.value.note_b) == (first.signed.data, note)
            assert len(list((tmp_path / "forks").iterdir())) == number

    asyncio.run(main())


def test_a_client_without_memory_sees_a_fork_while_it_lives():
    async def main():
        shop = await filled(10)
        client = reader(shop)
        await client.checkpoint()
        await client.checkpoint()
        overwrite(shop, "checkpoint", await signed(5, hash_leaf(b"other")))
        with pytest.raises(LogForkError, match="at size 10, and now shows size 5"):
            await client.checkpoint()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "index"),
    [
        ("tile/0/000", 5),
        ("tile/0/001.p/44", 299),
        ("tile/1/000.p/1", 5),
        ("tile/entries/000", 5),
        ("tile/entries/001.p/44", 299),
    ],
)
def test_a_changed_or_missing_tile_is_named(path, index):
    async def main():
        shop = await filled(300)
        good = shop.objects.by_key[PREFIX + path]
        overwrite(shop, path, good.data[:-1] + bytes([good.data[-1] ^ 1]))
        with pytest.raises(LogTileError) as caught:
            await reader(shop).entry(index)
        assert path in caught.value.key or path in str(caught.value)
        report = await check_log(reader(shop))
        assert path in str(report.problems)
        del shop.objects.by_key[PREFIX + path]
        with pytest.raises(LogTileError, match="missing") as caught:
            await reader(shop).entry(index)
        assert caught.value.key == path
        assert "missing" in str((await check_log(reader(shop))).problems)

    asyncio.run(main())


def test_the_full_tile_is_read_where_the_partial_one_is_gone():
    async def main():
        shop = await filled(200)
        old = await reader(shop).checkpoint()
        async with shop.open() as sequencer:
            await sequencer.append(entries(200, 300))
        for path in ("tile/0/000.p/200", "tile/entries/000.p/200"):
            del shop.objects.by_key[PREFIX + path]
        overwrite(shop, "checkpoint", old.signed.data)
        assert await reader(shop).entry(150) == b"entry 150"

    asyncio.run(main())


def test_a_sound_log_is_checked_whole():
    async def main():
        report = await check_log(reader(await filled(700)))
        assert (report.entries, report.problems) == (700, {})
        empty = await check_log(reader(await filled(0)))
        assert (empty.entries, empty.tiles, empty.problems) == (0, 0, {})

    asyncio.run(main())


def test_checkpoints_that_do_not_count():
    async def main():
        shop = await filled(3)
        for data in (
            b"rubbish",
            b"line\n" * 10_000,
            await signed(3, bytes(32), LocalNoteSigner("other", bytes(32))),
        ):
            overwrite(shop, "checkpoint", data)
            with pytest.raises(CheckpointError):
                await reader(shop).checkpoint()
        overwrite(shop, "checkpoint", bytes(300 * 1024))
        with pytest.raises(LogError, match="more than"):
            await reader(shop).checkpoint()
        del shop.objects.by_key[f"{PREFIX}checkpoint"]
        with pytest.raises(CheckpointError, match="no checkpoint here"):
            await reader(shop).checkpoint()

    asyncio.run(main())


def test_a_checkpoint_from_the_future_has_no_tiles():
    async def main():
        shop = await filled(3)
        overwrite(shop, "checkpoint", await signed(5, bytes(32)))
        with pytest.raises(LogTileError, match="missing"):
            await reader(shop).entry(4)

    asyncio.run(main())


# Witnesses.


class Answer:
    def __init__(self, status, body=b"", content_type="text/plain"):
        self.status, self.body, self.headers, self.proxy = status, body, {"content-type": content_type}, None

    async def read(self, limit):
        if len(self.body) > limit:
            raise WireError("protocol", sent=True, detail="too long")
        return self.body


class Network:
    """Hosts by name, each a witness or a function of the request; notes who was asked."""

    def __init__(self, **hosts):
        self.hosts = hosts
        self.asked = []

    async def send(self, request, *, deadline):
        assert deadline > time.monotonic()
        host, _, path = request.url.removeprefix("http://").partition("/")
        self.asked.append((host, path))
        found = self.hosts[host.partition(".")[0]]
        if isinstance(found, LogWitness):
            path = path.removeprefix("api/")
            if request.method == "POST":
                assert path == "add-checkpoint"
                answer = await found.add_checkpoint(request.body)
                return Answer(answer.status, answer.body, answer.content_type)
            data = await found.checkpoint(path)
            return Answer(404) if data is None else Answer(200, data)
        return await found(request)

    async def warm(self, origin, connections, *, deadline):
        pass

    async def aclose(self):
        pass


def new_witness(signer=W1, objects=None, logs=(SIGNER.key,), clock=lambda: NOW, driver=None):
    driver = driver or MemoryDriver(MemoryConfig(), objects=objects)
    provider = StorageProvider(driver, MemoryConfig())
    return LogWitness(provider, signer=signer, logs=logs, clock=clock)


async def state(size, start=0):
    """A signed checkpoint of a log of counted entries, with its tiles."""
    made = grow(Edge(), entries(start, start + size))

    async def fetch(path, most):
        return made.tiles.get(path)

    opened = open_checkpoint(await signed(size, made.edge.root), [SIGNER.key])
    return opened, LogTiles(fetch, size, made.edge.root)


async def ask(witness, old, size, *, start=0, proof=None):
    opened, tiles = await state(size, start)
    proof = await tiles.consistency(old) if proof is None else proof
    return await witness.add_checkpoint(encode_request(old, proof, opened.data))


def test_the_example_request_is_written_and_read_as_specified():
    proof = [bytes([number]) * 32 for number in range(3)]
    body = encode_request(5, proof, b"note\n")
    assert body == (
        b"old 5\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
        b"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\nnote\n"
    )
    assert parse_request(body).proof == tuple(proof)


@pytest.mark.parametrize(
    "body",
    [b"", b"old 5\n", b"old 05\n\nnote\n", b"old -1\n\nnote\n", b"new 5\n\nnote\n", b"old 5\nAAAA\n\nnote\n",
     b"old 5\n!\n\nnote\n", b"old \xff\n\nnote\n", b"old 5\n" + b"A" * 43 + b"=\n" * 1 + (b"A" * 43 + b"=\n") * 63 + b"\nnote\n"],
)  # fmt: skip
def test_what_is_not_a_request(body):
    with pytest.raises(NoteError):
        parse_request(body)
    assert asyncio.run(new_witness().add_checkpoint(body)).status == 400


@pytest.mark.parametrize("signer", [W1, W2])
def test_a_witness_cosigns_what_continues(signer):
    async def main():
        witness = new_witness(signer)
        for old, size in ((0, 3), (3, 3), (3, 300), (300, 301)):
            answer = await ask(witness, old, size)
            assert answer.status == 200
            opened, _ = await state(size)
            lines = parse_signatures(answer.body.decode())
            (found,) = verify_note(Note(opened.note.text, lines), [signer.key])
            assert found.time == int(NOW.timestamp())
            shown = await witness.checkpoint(monitoring_path(ORIGIN))
            assert open_checkpoint(shown, [SIGNER.key, signer.key]).checkpoint == opened.checkpoint
        assert await witness.checkpoint(monitoring_path("other")) is None
        assert await witness.checkpoint("../lock") is None

    asyncio.run(main())


def test_each_refusal_has_its_status():
    async def main():
        witness = new_witness()
        assert (await ask(witness, 0, 10)).status == 200
        behind = await ask(witness, 0, 20, proof=[])
        assert (behind.status, behind.body, behind.content_type) == (409, b"10\n", "text/x.tlog.size")
        assert (await ask(witness, 5, 20)).status == 409
        assert (await ask(witness, 10, 5, proof=[])).status == 400
        assert (await ask(witness, 10, 20, proof=[])).status == 422
        assert (await ask(witness, 10, 20, proof=[bytes(32)] * 3)).status == 422
        assert (await ask(witness, 10, 20, start=1)).status == 422
        assert (await ask(witness, 10, 10, start=1)).status == 422
        fresh = new_witness()
        assert (await ask(fresh, 0, 10, proof=[bytes(32)])).status == 422
        assert (await ask(fresh, 3, 10)).status == 409
        stranger = LocalNoteSigner("other.example", bytes(32))
        other = (await sign_text(Checkpoint("other.example", 1, hash_leaf(b"")).text, [stranger], 1)).encode()
        assert (await witness.add_checkpoint(encode_request(0, [], other))).status == 404
        namesake = await signed(20, bytes(32), LocalNoteSigner(ORIGIN, bytes(32)))
        assert (await witness.add_checkpoint(encode_request(10, [], namesake))).status == 403
        opened, tiles = await state(20)
        false = NoteSignature(ORIGIN, SIGNER.key.key_id, bytes(64))
        twice = Note(opened.note.text, (*opened.note.signatures, false)).encode()
        request = encode_request(10, await tiles.consistency(10), twice)
        assert (await witness.add_checkpoint(request)).status == 403
        assert (await witness.add_checkpoint(bytes(400 * 1024))).status == 400
        assert (await ask(witness, 10, 20)).status == 200

    asyncio.run(main())


def test_two_requests_at_once_cannot_take_a_witness_back():
    async def main():
        objects = MemoryObjects()
        await ask(new_witness(objects=objects), 0, 10)
        drivers = [Unsteady(objects) for _ in range(2)]
        slow, fast = (new_witness(driver=driver) for driver in drivers)

        async def overtake(key):
            drivers[0].hook = None
            assert (await ask(fast, 10, 30)).status == 200

        drivers[0].hook = overtake
        answer = await ask(slow, 10, 20)
        assert (answer.status, answer.body) == (409, b"30\n")
        shown = await slow.checkpoint(monitoring_path(ORIGIN))
        assert open_checkpoint(shown, [SIGNER.key]).checkpoint.size == 30

    asyncio.run(main())


@pytest.mark.parametrize("plan", ["unsent", "lost"])
def test_a_cosignature_leaves_only_after_it_is_remembered(plan):
    async def main():
        driver = Unsteady(MemoryObjects())
        witness = new_witness(driver=driver)
        driver.nth, driver.plan = 0, plan
        answer = await ask(witness, 0, 10)
        if answer.status == 200:
            assert plan == "unsent"
        else:
            assert (answer.status, answer.body) == (409, b"10\n")
        shown = await witness.checkpoint(monitoring_path(ORIGIN))
        assert open_checkpoint(shown, [SIGNER.key]).checkpoint.size == 10

    asyncio.run(main())


def test_a_witness_has_a_key_of_its_own_and_a_store_with_conditions():
    shop = Shop()
    for signer, logs in ((SIGNER, [SIGNER.key]), (W1, []), (W1, [replace(W1.key, name=ORIGIN, kind=1)])):
        with pytest.raises(StorageConfigurationError):
            LogWitness(shop.provider(), signer=signer, logs=logs, clock=lambda: NOW)

    class Unproved(MemoryDriver):
        @property
        def capabilities(self):
            return replace(super().capabilities, conditional_create=False)

    with pytest.raises(StorageUnsupportedError):
        new_witness(driver=Unproved(MemoryConfig()))


def test_a_log_publishes_with_the_cosignatures_of_its_quorum():
    async def main():
        network = Network(w1=new_witness(W1), w2=new_witness(W2))
        group = WitnessGroup(BOTH, LogHttp(network))
        shop = Shop()
        async with await made(shop, cosign=group.cosign) as sequencer:
            await sequencer.append(entries(0, 10))
            await sequencer.append(entries(10, 300))
        found = await reader(shop, BOTH).checkpoint()
        assert found.time == NOW
        assert sorted(found.witnesses) == ["w1", "w2"]
        assert found.signed.checkpoint.size == 300
        # Another process asks first, learns the size of each, and continues.
        again = WitnessGroup(BOTH, LogHttp(network))
        async with shop.open(cosign=again.cosign) as sequencer:
            assert await sequencer.append(entries(300, 301)) == [300]

    asyncio.run(main())


def test_a_slow_witness_does_not_stop_the_log():
    async def main():
        released = asyncio.Event()

        async def slow(request):
            try:
                await asyncio.Event().wait()
            finally:
                released.set()

        group = WitnessGroup(WITNESSED, LogHttp(Network(w1=slow, w2=new_witness(W2))))
        shop = await filled(10, cosign=group.cosign)
        assert released.is_set()
        assert list((await reader(shop, WITNESSED).checkpoint()).witnesses) == ["w2"]

    asyncio.run(main())


async def broken(request):
    raise WireError("broken", sent=True)


async def late(request):
    raise WireError("timeout", sent=True)


def status(code, body=b"", content_type="text/plain"):
    async def respond(request):
        return Answer(code, body, content_type) if request.method == "POST" else Answer(404)

    return respond


@pytest.mark.parametrize(
    ("behaviour", "why", "again"),
    [
        (broken, "no usable response", True),
        (late, "in time", True),
        (status(400), "malformed", False),
        (status(403), "does not trust", False),
        (status(404), "does not know", False),
        (status(422), "does not continue", False),
        (status(429), "status 429", True),
        (status(500), "status 500", True),
        (status(302), "status 302", False),
        (status(409, b"x\n", "text/x.tlog.size"), "not a size", False),
        (status(409, b"5", "text/x.tlog.size"), "not a size", False),
        (status(409, b"1000\n", "text/x.tlog.size"), "shows nothing that the log has signed", False),
        (status(409, b"0\n", "text/x.tlog.size"), "shows nothing that the log has signed", False),
        (status(409, b"1000\n"), "shows nothing that the log has signed", False),
        (status(200), "1 to 64 signatures|cannot be used", False),
        (status(200, b"\xff\n"), "cannot be used", False),
        (status(200, b"x" * 300_000), "no usable response", False),
        (
            status(200, NoteSignature("stranger", bytes(4), bytes(72)).encode().encode()),
            "no known key",
            False,
        ),
        (
            status(200, NoteSignature(W1.key.name, W1.key.key_id, bytes(72)).encode().encode()),
            "does not fit",
            False,
        ),
    ],
)
def test_a_witness_that_does_not_cosign_stops_the_log_only_without_a_quorum(behaviour, why, again):
    async def main():
        opened, tiles = await state(10)
        network = Network(w1=behaviour, w2=new_witness(W2))
        note = await WitnessGroup(WITNESSED, LogHttp(network)).cosign(opened, tiles)
        assert len(note.signatures) == 2
        with pytest.raises(WitnessQuorumError, match=f"w1.*({why})") as caught:
            await WitnessGroup(BOTH, LogHttp(Network(w1=behaviour, w2=new_witness(W2)))).cosign(opened, tiles)
        assert caught.value.retryable == again
        assert "the witness 'w1'" not in str(caught.value)
        assert caught.value.applied == "maybe"
        (client,) = WitnessGroup(BOTH, LogHttp(network)).clients[:1]
        with pytest.raises((WitnessError, StorageConnectionError, StorageTimeoutError)) as alone:
            await client.add_checkpoint(opened, tiles)
        assert alone.value.retryable == again

    asyncio.run(main())


def test_witnesses_that_never_respond_are_given_up():
    async def main():
        async def silent(request):
            await asyncio.Event().wait()

        group = WitnessGroup(BOTH, LogHttp(Network(w1=silent, w2=silent)), timeout=0.0)
        with pytest.raises(WitnessQuorumError, match="w1: it did not respond in time; w2"):
            await group.cosign(*await state(10))

    asyncio.run(main())


def test_other_lines_of_an_answer_are_ignored():
    async def main():
        witness = new_witness(W1)

        async def chatty(request):
            answer = await witness.add_checkpoint(request.body)
            return Answer(200, NoteSignature("stranger", bytes(4), b"1").encode().encode() + answer.body)

        client = WitnessGroup(WITNESSED, LogHttp(Network(w1=chatty))).clients[0]
        (line,) = await client.add_checkpoint(*await state(10))
        assert line.name == W1.key.name

    asyncio.run(main())


def test_a_witness_proves_that_the_bucket_was_restored():
    async def main():
        witness = new_witness(W1)
        group = WitnessGroup(WITNESSED, LogHttp(Network(w1=witness, w2=broken)))
        shop = Shop()
        async with await made(shop, cosign=group.cosign) as sequencer:
            await sequencer.append(entries(0, 10))
            kept = shop.copy()
            await sequencer.append(entries(10, 20))
        shop.objects.by_key.clear()
        shop.objects._order.clear()
        shop.objects._new.clear()
        for stored in kept.by_key.values():
            shop.objects.put(stored)
        shop.sizes.clear()
        # Another machine, which remembers nothing.
        again = WitnessGroup(WITNESSED, LogHttp(Network(w1=witness, w2=broken)))
        async with shop.open(cosign=again.cosign) as sequencer:
            shop.drivers[-1].writes.clear()
            with pytest.raises(LogRollbackError, match="has cosigned its size 20"):
                await sequencer.append(entries(10, 11))
            assert shop.drivers[-1].writes == []

    asyncio.run(main())


def test_a_quorum_that_others_can_still_meet_is_worth_a_retry():
    async def main():
        for w1, w2, again in ((status(403), late, True), (status(403), status(404), False)):
            with pytest.raises(WitnessQuorumError) as caught:
                await WitnessGroup(WITNESSED, LogHttp(Network(w1=w1, w2=w2))).cosign(*await state(10))
            assert caught.value.retryable == again

    asyncio.run(main())


def test_what_another_sequencer_has_committed_but_not_published_is_no_rollback():
    async def main():
        network = Network(w1=new_witness(W1), w2=broken)
        shop = await filled(10, cosign=WitnessGroup(WITNESSED, LogHttp(network)).cosign)
        started = []

        async def stopping(signed, tiles, published):
            """Of the other one, which ends after the witness has cosigned its size."""
            note = await WitnessGroup(WITNESSED, LogHttp(network)).cosign(signed, tiles, published)
            if signed.checkpoint.size == 12:
                raise StorageConnectionError("stopped")
            return note

        async def overtaken(signed, tiles, published):
            if signed.checkpoint.size == 11 and not started:
                started.append(True)
                async with shop.open(cosign=stopping) as other:
                    with pytest.raises(StorageConnectionError, match="stopped"):
                        await other.append(entries(11, 12))
                assert shop.checkpoint.size == 11
            return await WitnessGroup(WITNESSED, LogHttp(network)).cosign(signed, tiles, published)

        async with shop.open(cosign=overtaken) as log:
            assert await log.append(entries(10, 11)) == [10]
        assert shop.checkpoint.size == 12
        await shop.invariant({b"entry 10": 10, b"entry 11": 11})

    asyncio.run(main())


def test_a_witness_that_saw_another_root_proves_a_fork():
    async def main():
        witness = new_witness(W1)
        await ask(witness, 0, 10, start=5)
        group = WitnessGroup(WITNESSED, LogHttp(Network(w1=witness, w2=broken)))
        opened, tiles = await state(10)
        with pytest.raises(LogForkError, match="two roots for size 10") as caught:
            await group.cosign(opened, tiles)
        assert caught.value.note_a == opened.data
        assert W1.key.name.encode() in caught.value.note_b

    asyncio.run(main())


def test_a_witness_that_went_back_is_left_out_and_the_evidence_is_kept(tmp_path):
    async def main():
        network = Network(w1=new_witness(W1), w2=new_witness(W2))
        memory = LogMemory(tmp_path)
        group = WitnessGroup(WITNESSED, LogHttp(network), memory=memory)
        await group.cosign(*await state(10))
        client = next(each for each in group.clients if each.name == "w1")
        await client.add_checkpoint(*await state(10))
        network.hosts["w1"] = new_witness(W1)
        with pytest.raises(WitnessError, match="has cosigned size 10, and now says that it has seen size 0"):
            await client.add_checkpoint(*await state(20))
        asked = len(network.asked)
        with pytest.raises(WitnessError, match="has cosigned size 10"):
            await client.add_checkpoint(*await state(20))
        assert len(network.asked) == asked
        (evidence,) = (tmp_path / "forks").iterdir()
        assert W1.key.name in evidence.read_text()
        note = await group.cosign(*await state(20))
        assert W2.key.name in {line.name for line in note.signatures}

    asyncio.run(main())


def test_a_witness_without_an_address_cannot_be_asked():
    with pytest.raises(StorageConfigurationError, match="no URL"):
        WitnessClient(PolicyWitness("w", W1.key), LogHttp(Network()))


# HTTP.


def test_files_over_http():
    async def main():
        async def respond(request):
            assert request.method == "GET"
            return {
                "/log/checkpoint": Answer(200, b"data"),
                "/log/gone": Answer(410),
                "/log/denied": Answer(403),
                "/log/down": Answer(503),
                "/log/busy": Answer(429),
            }.get(request.url.removeprefix("http://w1.example"), Answer(404))

        async with LogHttp(Network(w1=respond)) as http:
            fetch = http.fetch("http://w1.example/log/")
            assert await fetch("checkpoint", 10) == b"data"
            assert await fetch("other", 10) is None
            assert await fetch("gone", 10) is None
            with pytest.raises(StorageUnavailableError) as caught:
                await fetch("down", 10)
            assert caught.value.status_code == 503
            with pytest.raises(StorageError, match="status 403") as caught:
                await fetch("denied", 10)
            assert not caught.value.retryable
            with pytest.raises(StorageRateLimitedError) as caught:
                await fetch("busy", 10)
            assert caught.value.retryable
            with pytest.raises(StorageConnectionError, match=r"\(status 200\): too long") as caught:
                await fetch("checkpoint", 3)
            assert not caught.value.retryable
            for url in ("ftp://a", "a", "http://", "http://u:p@a", "http://a b", "http://[", "http://ä"):
                with pytest.raises(StorageConfigurationError):
                    http.fetch(url)

    asyncio.run(main())


# Monitoring.


async def watch(shop, network, policy=WITNESSED, **options):
    group = WitnessGroup(policy, LogHttp(network))
    options = {"now": NOW, "patience": 0, **options}
    return await monitor_log(reader(shop, policy), group.clients, **options)


def test_a_monitor_finds_nothing_wrong_with_a_sound_log():
    async def main():
        network = Network(w1=new_witness(W1), w2=new_witness(W2))
        shop = await filled(300, cosign=WitnessGroup(BOTH, LogHttp(network)).cosign)
        report = await watch(shop, network, max_age=timedelta(hours=1), expected=entries(0, 3))
        assert report.problems == ()
        assert report.witnessed == {"w1": 300, "w2": 300}
        assert report.verified == 300
        assert (await watch(shop, network, start=290)).verified == 10

    asyncio.run(main())


def test_a_log_that_publishes_while_it_is_watched_is_sound():
    async def main():
        w1 = new_witness(W1)
        network = Network(w1=w1, w2=broken)
        shop = await filled(10, cosign=WitnessGroup(WITNESSED, LogHttp(network)).cosign)
        before = shop.copy()
        async with shop.open(cosign=WitnessGroup(WITNESSED, LogHttp(network)).cosign) as log:
            await log.append(entries(10, 20))
        now = reader(shop, WITNESSED)._fetch
        calls = []

        async def behind(path, most):
            """What was there before, when the checkpoint is read for the first time."""
            calls.append(path)
            if path == "checkpoint" and calls.count(path) == 1:
                return before.by_key[PREFIX + path].data
            return await now(path, most)

        group = WitnessGroup(WITNESSED, LogHttp(network))
        report = await monitor_log(LogClient(behind, policy=WITNESSED), group.clients, now=NOW)
        assert (report.problems, report.checkpoint.size) == ((), 20)

    asyncio.run(main())


def test_a_monitor_says_when_no_witness_looks():
    async def main():
        network = Network(w1=new_witness(W1), w2=broken)
        shop = await filled(10, cosign=WitnessGroup(WITNESSED, LogHttp(network)).cosign)
        network.hosts["w1"] = new_witness(W1)
        (problem,) = (await watch(shop, network)).problems
        assert "the witness 'w1' has cosigned size 10, and now knows nothing" in problem
        network.hosts["w1"] = broken
        (problem,) = (await watch(shop, network)).problems
        assert "no witness could be asked" in problem

    asyncio.run(main())


def test_a_monitor_finds_what_is_wrong(tmp_path):
    async def main():
        w1, w2 = new_witness(W1), new_witness(W2)
        network = Network(w1=w1, w2=w2)
        shop = await filled(10, cosign=WitnessGroup(BOTH, LogHttp(network)).cosign)
        late_now = NOW + timedelta(days=1)
        report = await watch(shop, network, now=late_now, max_age=timedelta(hours=1), expected=[b"missing"])
        assert [each.split(":")[0] for each in report.problems] == [
            "the log stalls",
            "1 expected entry is not in the log",
        ]
        # The witness has seen more than is shown here.
        assert (await ask(w1, 10, 20)).status == 200
        assert (
            "shows size 10 here, but the witness 'w1' has cosigned size 20"
            in (await watch(shop, network)).problems[0]
        )
        # Another witness has seen another history.
        network.hosts["w1"] = new_witness(W1)
        await ask(network.hosts["w1"], 0, 5, start=3)
        group = WitnessGroup(WITNESSED, LogHttp(network))
        client = reader(shop, WITNESSED, memory=LogMemory(tmp_path))
        report = await monitor_log(client, group.clients, now=NOW, patience=0)
        assert "has cosigned size 5, which the log does not continue" in report.problems[0]
        assert len(list((tmp_path / "forks").iterdir())) == 1
        # One cannot be reached, and one shows nothing, or rubbish.
        network.hosts.update(w1=broken, w2=status(404))
        report = await watch(shop, network)
        assert list(report.unreachable) == ["w1"]
        assert report.witnessed == {"w2": None}

        async def rubbish(request):
            return Answer(200, b"rubbish")

        network.hosts.update(w1=rubbish)
        assert "not signed as it has to be" in (await watch(shop, network)).unreachable["w1"]

    asyncio.run(main())


def test_a_monitor_keeps_the_notes_of_what_is_hidden_from_it(tmp_path):
    async def main():
        network = Network(w1=new_witness(W1), w2=broken)
        shop = await filled(10, cosign=WitnessGroup(WITNESSED, LogHttp(network)).cosign)
        await ask(network.hosts["w1"], 10, 20)
        group = WitnessGroup(WITNESSED, LogHttp(network))
        client = reader(shop, WITNESSED, memory=LogMemory(tmp_path))
        report = await monitor_log(client, group.clients, now=NOW, patience=0)
        assert "has cosigned size 20; both notes are in" in report.problems[0]
        (evidence,) = (tmp_path / "forks").iterdir()
        assert [f"{ORIGIN}\n{size}\n" in evidence.read_text() for size in (10, 20)] == [True, True]

    asyncio.run(main())


def test_a_monitor_says_what_witnesses_have_seen_of_a_log_that_went_back(tmp_path):
    async def main():
        network = Network(w1=new_witness(W1), w2=broken)
        shop = await filled(10, cosign=WitnessGroup(WITNESSED, LogHttp(network)).cosign)
        old = shop.objects.by_key[f"{PREFIX}checkpoint"].data
        async with shop.open(cosign=WitnessGroup(WITNESSED, LogHttp(network)).cosign) as log:
            await log.append(entries(10, 20))
        memory = LogMemory(tmp_path)
        await reader(shop, WITNESSED, memory=memory).checkpoint()
        overwrite(shop, "checkpoint", old)
        group = WitnessGroup(WITNESSED, LogHttp(network))
        with pytest.raises(
            LogForkError, match=r"now shows size 10.*'w1' has cosigned size 20; .*'w2': no usable"
        ):
            await monitor_log(reader(shop, WITNESSED, memory=memory), group.clients, now=NOW)

    asyncio.run(main())


def test_a_monitor_says_whether_it_has_compared_anything(tmp_path):
    async def main():
        network = Network(w1=new_witness(W1), w2=broken)
        shop = await filled(10, cosign=WitnessGroup(WITNESSED, LogHttp(network)).cosign)
        assert (await watch(shop, network)).compared
        assert not (await monitor_log(reader(shop), [], now=NOW)).compared
        client = reader(shop, memory=LogMemory(tmp_path))
        assert (await monitor_log(client, [], now=NOW)).compared
        network.hosts["w1"] = broken
        assert not (await watch(shop, network)).compared

    asyncio.run(main())


def test_a_log_without_witnesses_has_no_time_that_could_be_checked():
    async def main():
        report = await monitor_log(
            reader(await filled(3)), [], now=datetime.now(UTC), max_age=timedelta(days=1)
        )
        assert "it is not known since when" in report.problems[0]

    asyncio.run(main())


# Memory.


def test_a_folder_that_cannot_be_used(tmp_path):
    async def main():
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StorageError, match="what is remembered"):
            await LogMemory(tmp_path / "file").save("a", b"note")
        with pytest.raises(StorageError, match="what is remembered"):
            await LogMemory(tmp_path / "file").load("a")
        with pytest.raises(StorageConfigurationError):
            LogMemory("")
        memory = LogMemory(tmp_path / "new")
        assert await memory.load("a") is None
        await memory.save("a", b"note")
        assert await memory.load("a") == b"note"
        assert await memory.load("a", "sequencer") is None

    asyncio.run(main())


def test_a_memory_never_remembers_less_and_is_locked_while_it_is_written(tmp_path, monkeypatch):
    async def main():
        memory = LogMemory(tmp_path)
        notes = {size: (await state(size))[0].data for size in (5, 10, 20)}
        locks = {size: Lock(ORIGIN, size, bytes(32), (0, bytes(32)), "-").text.encode() for size in (5, 10)}
        for size, kept in ((10, 10), (5, 10), (20, 20), (10, 20)):
            await memory.save(ORIGIN, notes[size])
            assert await LogMemory(tmp_path).load(ORIGIN) == notes[kept]
        for size, kept in ((5, 5), (10, 10), (5, 10)):
            await memory.save(ORIGIN, locks[size], "sequencer")
            assert await memory.load(ORIGIN, "sequencer") == locks[kept]
        # A state of the same size that says something else stays what it was, and the next reader sees the fork.
        await memory.save(ORIGIN, await signed(20, hash_leaf(b"other")))
        assert await memory.load(ORIGIN) == notes[20]
        memory.path(ORIGIN).write_bytes(b"")
        await memory.save(ORIGIN, notes[5])
        assert await memory.load(ORIGIN) == notes[5]

        def write(path, data, **options):
            fd = os.open(tmp_path / ".lock", os.O_RDWR)
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(fd)
            written.append(path)

        written = []
        monkeypatch.setattr("credstore.proofs.log.memory.write_file", write)
        await memory.save(ORIGIN, notes[10])
        assert len(written) == 1

    asyncio.run(main())


def test_a_log_that_another_process_reads_while_it_grows_has_not_gone_back(tmp_path):
    async def main():
        shop = await filled(10)
        before = shop.copy()
        async with shop.open() as sequencer:
            await sequencer.append(entries(10, 20))
        memory, now = LogMemory(tmp_path), fetching(shop)

        async def slow(path, most):
            """Another process reads and remembers the log while this response is on its way."""
            if path != "checkpoint":
                return await now(path, most)
            await reader(shop, memory=memory).checkpoint()
            return before.by_key[PREFIX + path].data

        client = LogClient(slow, policy=POLICY, memory=memory)
        assert (await client.checkpoint()).signed.checkpoint.size == 10
        # What is remembered is the larger state still, so this is one that went back.
        with pytest.raises(LogForkError, match="at size 20, and now shows size 10"):
            await LogClient(slow, policy=POLICY, memory=memory).checkpoint()

    asyncio.run(main())


@pytest.mark.parametrize("sound", [True, False])
def test_two_calls_of_one_client_may_see_different_states_that_continue_each_other(sound):
    async def main():
        shop = await filled(10)
        before = shop.copy()
        async with shop.open() as sequencer:
            await sequencer.append(entries(10, 20))
        old = before.by_key[f"{PREFIX}checkpoint"].data if sound else await signed(10, hash_leaf(b"other"))
        now, waiting, asked = fetching(shop), asyncio.Event(), []

        async def fetch(path, most):
            if path == "checkpoint":
                asked.append(path)
                if len(asked) == 1:
                    await waiting.wait()
                    return old
            return await now(path, most)

        client = LogClient(fetch, policy=POLICY)
        slow = asyncio.create_task(client.checkpoint())
        await asyncio.sleep(0)
        assert (await client.checkpoint()).signed.checkpoint.size == 20
        waiting.set()
        if sound:
            assert (await slow).signed.checkpoint.size == 10
        else:
            with pytest.raises(LogForkError, match="shows size 10, which its size 20 does not continue"):
                await slow
        assert (await client.tiles()).size == 20
        verify_log_proof(await client.prove(15), entry=b"entry 15", policy=POLICY)

    asyncio.run(main())


def test_a_memory_that_is_damaged_is_named(tmp_path):
    async def main():
        shop = await filled(10)
        memory = LogMemory(tmp_path)
        await reader(shop, memory=memory).checkpoint()
        async with shop.open(memory=memory) as sequencer:
            await sequencer.append(entries(10, 11))
        for role, read in (
            ("client", reader(shop, memory=memory).checkpoint),
            ("sequencer", shop.open(memory=memory).recover),
        ):
            path = memory.path(ORIGIN, role)
            kept = path.read_bytes()
            path.write_bytes(kept[:-9])
            with pytest.raises(CheckpointError) as caught:
                await read()
            assert caught.value.key == str(path)
            path.write_bytes(kept)

    asyncio.run(main())


# Arguments.


def test_methods_refuse_arguments_of_a_wrong_type():
    async def main():
        shop = await filled(3)
        client, witness, sequencer = reader(shop), new_witness(), shop.open()
        http = LogHttp(Network())
        for call in (
            lambda: sequencer.append("text"),
            lambda: sequencer.append(["text"]),
            lambda: sequencer.append(b"bytes"),
            lambda: sequencer.submit("text"),
            lambda: client.entry("1"),
            lambda: client.prove(True),
            lambda: client.entries(start="1"),
            lambda: witness.add_checkpoint("text"),
            lambda: witness.checkpoint(b"path"),
            lambda: POLICY.verify("text"),
            lambda: http.fetch(b"http://a"),
            lambda: LogMemory("x").save("a", "text"),
        ):
            with pytest.raises(StorageInvalidRequestError, match="not"):
                await call()

    asyncio.run(main())
