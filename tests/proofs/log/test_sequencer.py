"""The sequencer: what it writes, and that nothing is lost, forked or taken back whatever fails."""

import asyncio
import random
from dataclasses import replace

import pytest

from credstore import LocalConfig, LocalStorageProvider, MemoryConfig, WasabiConfig, WasabiStorageProvider
from credstore.drivers.memory import MemoryDriver
from credstore.encryption import Secret
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageConfigurationError,
    StorageConnectionError,
    StorageError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.proofs import (
    CheckpointError,
    LogBusyError,
    LogEntryError,
    LogForkError,
    LogRollbackError,
    LogTileError,
    ProofSignatureError,
)
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.log.checkpoint import Checkpoint, sign_text
from credstore.proofs.log.entry import StatementAdmission, parse_entry
from credstore.proofs.log.lock import open_lock
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.merkle import hash_leaf, root
from credstore.proofs.log.note import COSIGNATURE, MLDSA_COSIGNATURE, LocalNoteSigner, parse_note
from credstore.proofs.log.sequencer import LogSequencer
from credstore.provider.provider import StorageProvider
from credstore.strategies.fallback.driver import FallbackDriver
from tests.proofs import material
from tests.proofs.log.logs import NOW, ORIGIN, PREFIX, SIGNER, Killed, Plain, Shop, Unsteady, made, quietly

ISSUED, OTHER = (encode_envelope(material.issue(proof_id=each)) for each in (material.ID, material.OTHER_ID))
CHANGED = encode_envelope(replace(material.issue(), payload=material.issue().payload + b" "))


def entries(start, end):
    return [b"entry %d" % number for number in range(start, end)]


def test_a_log_from_its_creation_to_its_tiles():
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            assert shop.checkpoint == Checkpoint(ORIGIN, 0, root([]))
            assert await sequencer.append(entries(0, 3)) == [0, 1, 2]
            assert await sequencer.append(entries(3, 300)) == list(range(3, 300))
            assert await sequencer.append([]) == []
        names = sorted(key.removeprefix(PREFIX) for key in shop.objects.by_key)
        assert names == [
            "checkpoint", "lock", "tile/0/000", "tile/0/000.p/3", "tile/0/001.p/44", "tile/1/000.p/1",
            "tile/entries/000", "tile/entries/000.p/3", "tile/entries/001.p/44",
        ]  # fmt: skip
        assert shop.checkpoint.root == root([hash_leaf(each) for each in entries(0, 300)])
        assert await shop.entries() == entries(0, 300)
        for key, stored in shop.objects.by_key.items():
            cached = stored.info.headers.cache_control
            assert ("immutable" in cached) == ("/tile/" in key)
            assert "no-transform" in cached or cached == "no-store"
            assert not stored.info.headers.content_encoding

    asyncio.run(main())


def test_four_writes_and_the_tiles_for_a_batch():
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            shop.drivers[0].writes.clear()
            await sequencer.append(entries(0, 5))
            kinds = [key.removeprefix(PREFIX).split("/")[0] for key in shop.drivers[0].writes]
            assert kinds == ["staging", "lock", "tile", "tile", "checkpoint", "staging"]
            shop.drivers[0].writes.clear()
            await sequencer.append(entries(0, 5))
            assert shop.drivers[0].writes == []

    asyncio.run(main())


def test_entries_are_committed_together():
    async def main():
        shop = Shop()
        async with await made(shop, max_wait=60.0, max_batch=32) as sequencer:
            found = await asyncio.gather(*(sequencer.append([each]) for each in entries(0, 32)))
            assert sorted(index for (index,) in found) == list(range(32))
            assert list(shop.locks) == [0, 32]

    asyncio.run(main())


def test_closing_logs_what_waits():
    async def main():
        shop = Shop()
        sequencer = await made(shop, max_wait=60.0)
        waiting = asyncio.create_task(sequencer.append(entries(0, 2)))
        await asyncio.sleep(0)
        await sequencer.aclose()
        await sequencer.aclose()
        assert await waiting == [0, 1]
        with pytest.raises(StorageInvalidRequestError, match="closed"):
            await sequencer.append(entries(2, 3))

    asyncio.run(main())


def test_a_caller_that_gives_up_holds_up_no_one():
    async def main():
        shop = Shop()
        async with await made(shop, max_wait=60.0, max_batch=4) as sequencer:
            first = asyncio.create_task(sequencer.append(entries(0, 2)))
            await asyncio.sleep(0)
            first.cancel()
            assert await sequencer.append(entries(2, 4)) == [2, 3]
        assert await shop.entries() == entries(0, 4)

    asyncio.run(main())


def test_an_entry_is_logged_once():
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            assert await sequencer.append([b"a", b"b", b"a"]) == [0, 1, 0]
            assert await sequencer.append([b"b", b"c"]) == [1, 2]
        assert await shop.entries() == [b"a", b"b", b"c"]

    asyncio.run(main())


def test_signed_statements_become_entries_and_others_do_not():
    async def main():
        shop = Shop()
        admission = StatementAdmission(material.TRUST, clock=lambda: material.NOW)
        async with await made(shop, admission=admission) as sequencer:
            assert await sequencer.append([ISSUED]) == [0]
            with pytest.raises(ProofSignatureError):
                await sequencer.append([OTHER, CHANGED])
        (entry,) = await shop.entries()
        assert parse_entry(entry).proof_id == material.ID

    asyncio.run(main())


def test_entries_have_a_largest_size():
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append([bytes(16 * 1024)])
            with pytest.raises(LogEntryError, match="16385 bytes"):
                await sequencer.append([b"small", bytes(16 * 1024 + 1)])
        assert shop.checkpoint.size == 1

    asyncio.run(main())


# Who may sequence.


class Unproved(MemoryDriver):
    """Nothing shows that it honours `if_match`."""

    @property
    def capabilities(self):
        return replace(super().capabilities, conditional_replace=False)


def refused(provider, **options):
    return LogSequencer(
        provider,
        **{"signer": SIGNER, "admission": Plain(), "clock": lambda: NOW, "randomness": bytes, **options},
    )


def test_composites_and_stores_without_proved_conditions_are_refused(tmp_path):
    two = FallbackDriver(MemoryDriver(MemoryConfig()), MemoryDriver(MemoryConfig()))
    wasabi = WasabiConfig(
        bucket="proofs", access_key_id="a", secret_access_key=Secret("s"), region="eu-central-1"
    )
    for provider in (
        StorageProvider(two, MemoryConfig()),
        WasabiStorageProvider(wasabi),
        StorageProvider(Unproved(MemoryConfig()), MemoryConfig()),
    ):
        with pytest.raises(StorageUnsupportedError, match="single store"):
            refused(provider)
    refused(LocalStorageProvider(LocalConfig(path=tmp_path)))


def test_settings_that_cannot_be_right():
    shop = Shop()
    witness = LocalNoteSigner(ORIGIN, bytes(32), COSIGNATURE)
    other = LocalNoteSigner("other.example", bytes(32), MLDSA_COSIGNATURE)
    for options in (
        {"signer": witness},
        {"cosigners": [other]},
        {"max_batch": 0},
        {"max_batch": 5000},
        {"max_wait": -1.0},
        {"prefix": "log"},
    ):
        with pytest.raises(StorageConfigurationError):
            refused(shop.provider(), **options)


def test_a_log_starts_by_its_creation_only():
    async def main():
        shop = Shop()
        sequencer = shop.open()
        with pytest.raises(LogRollbackError, match="there is no log here"):
            await sequencer.append(entries(0, 1))
        await sequencer.create()
        with pytest.raises(StorageAlreadyExistsError):
            await sequencer.create()
        with pytest.raises(StorageAlreadyExistsError):
            await shop.open().create()
        del shop.objects.by_key[f"{PREFIX}lock"]
        with pytest.raises(LogRollbackError, match="there is no log here"):
            await shop.open().recover()

    asyncio.run(main())


def test_a_log_whose_lock_was_removed_is_not_created_again():
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 3))
        published = shop.objects.by_key.pop(PREFIX + "lock") and shop.checkpoint
        with pytest.raises(
            LogRollbackError, match="published at size 3, but its lock is not there"
        ) as caught:
            await made(shop)
        assert caught.value.key == f"{PREFIX}checkpoint"
        assert PREFIX + "lock" not in shop.objects.by_key
        assert shop.checkpoint == published

    asyncio.run(main())


def test_the_lock_of_another_log_is_refused():
    async def main():
        shop = Shop()
        await (await made(shop)).aclose()
        other = LocalNoteSigner(ORIGIN, bytes(32))
        with pytest.raises(CheckpointError):
            await shop.open(signer=other).recover()

    asyncio.run(main())


def test_a_second_kind_of_signature_is_under_each_checkpoint():
    async def main():
        shop = Shop()
        second = LocalNoteSigner(ORIGIN, bytes(range(32)), MLDSA_COSIGNATURE)
        async with await made(shop, cosigners=[second]) as sequencer:
            await sequencer.append(entries(0, 3))
        note = parse_note(shop.objects.by_key[f"{PREFIX}checkpoint"].data)
        assert [line.key_id for line in note.signatures] == [SIGNER.key.key_id, second.key.key_id]
        assert (
            note.signatures[0]
            == parse_note((await sign_text(shop.checkpoint.text, [SIGNER], 0)).encode()).signatures[0]
        )

    asyncio.run(main())


# Each write fails in two ways, and the process ends in two ways; then another one starts.


async def count_writes():
    shop = Shop()
    async with await made(shop) as sequencer:
        await sequencer.append(entries(0, 250))
        shop.drivers[0].writes.clear()
        await sequencer.append(entries(250, 530))
        return list(shop.drivers[0].writes)


WRITES = asyncio.run(count_writes())


@pytest.mark.parametrize("plan", ["unsent", "lost", "killed-before", "killed-after"])
@pytest.mark.parametrize("nth", range(len(WRITES)), ids=[key.removeprefix(PREFIX)[:24] for key in WRITES])
def test_any_write_may_fail(nth, plan):
    async def main():
        shop = Shop()
        sequencer = await made(shop)
        acknowledged = dict(zip(entries(0, 250), await sequencer.append(entries(0, 250)), strict=True))
        driver = shop.drivers[0]
        driver.writes.clear()
        driver.nth, driver.plan = nth, plan

        async def append():
            batch = entries(250, 530)
            acknowledged.update(zip(batch, await sequencer.append(batch), strict=True))

        await quietly(append())
        committed = open_lock(shop.objects.by_key[f"{PREFIX}lock"].data, SIGNER.key).size
        async with shop.open() as another:
            assert await another.recover() == committed
            assert shop.checkpoint.size == committed
            batch = entries(100, 600)
            acknowledged.update(zip(batch, await another.append(batch), strict=True))
            await another.recover()
        found = await shop.invariant(acknowledged)
        assert sorted(found) == sorted(entries(0, 600))
        assert not any("staging/" in key for key in shop.objects.by_key)

    asyncio.run(main())


@pytest.mark.parametrize("plan", ["unsent", "lost"])
@pytest.mark.parametrize("nth", range(len(WRITES)), ids=[key.removeprefix(PREFIX)[:24] for key in WRITES])
def test_the_same_process_continues_after_a_failure_and_logs_nothing_twice(nth, plan):
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 250))
            driver = shop.drivers[0]
            driver.writes.clear()
            driver.nth, driver.plan = nth, plan
            batch = entries(250, 530)
            failures = []
            while True:
                try:
                    found = await sequencer.append(batch)
                except StorageError as error:
                    failures.append(error.applied)
                else:
                    break
            assert failures in ([], ["no"] if nth == 0 else ["maybe"])
            assert found == list(range(250, 530))
        assert await shop.entries() == entries(0, 530)
        await shop.invariant({})

    asyncio.run(main())


@pytest.mark.parametrize("plan", ["unsent", "lost", "killed-before", "killed-after"])
@pytest.mark.parametrize("nth", [0, 1])
def test_any_write_of_the_creation_may_fail(nth, plan):
    async def main():
        shop = Shop()
        driver = Unsteady(shop.objects)
        driver.nth, driver.plan = nth, plan
        await quietly(shop.open(driver=driver).create())
        async with shop.open() as another:
            if f"{PREFIX}lock" not in shop.objects.by_key:
                await another.create()
            assert await another.append(entries(0, 3)) == [0, 1, 2]
        await shop.invariant({})

    asyncio.run(main())


# Several at once.


@pytest.mark.parametrize("seed", range(4))
def test_two_sequencers_and_16_submitters_with_lost_answers(seed):
    """One root for each size, and no acknowledged entry missing."""

    async def main():
        shop = Shop()
        await (await made(shop)).aclose()
        sequencers = [shop.open(seed=seed * 2 + number, max_batch=64) for number in range(2)]
        for sequencer in sequencers:
            sequencer.driver.losing = 0.3
        acknowledged = {}

        async def submit(number):
            chosen = random.Random(seed * 100 + number)
            for turn in range(6):
                batch = [b"%d %d %d" % (number, turn, each) for each in range(chosen.randint(1, 20))]
                while True:
                    sequencer = chosen.choice(sequencers)
                    try:
                        found = await sequencer.append(batch)
                    except (StorageConnectionError, LogBusyError):
                        continue
                    acknowledged.update(zip(batch, found, strict=True))
                    break

        await asyncio.gather(*(submit(number) for number in range(16)))
        for sequencer in sequencers:
            await sequencer.aclose()
        found = await shop.invariant(acknowledged)
        assert len(acknowledged) > 500
        assert set(found) == set(acknowledged)

    asyncio.run(main())


@pytest.mark.parametrize("stopped_at", ["tile", "checkpoint", "staging"])
def test_a_process_that_stops_after_its_commit_cannot_move_the_log_back(stopped_at):
    async def main():
        shop = Shop()
        await (await made(shop)).aclose()
        paused, go = asyncio.Event(), asyncio.Event()

        async def stop(key):
            if key.removeprefix(PREFIX).startswith(stopped_at) and shop.locks.get(3):
                slow.driver.hook = None
                paused.set()
                await go.wait()

        slow = shop.open()
        slow.driver.hook = stop
        first = asyncio.create_task(slow.append(entries(0, 3)))
        await paused.wait()
        async with shop.open() as fast:
            acknowledged = dict(zip(entries(3, 10), await fast.append(entries(3, 10)), strict=True))
        assert shop.checkpoint.size == 10
        go.set()
        assert await first == [0, 1, 2]
        assert shop.checkpoint.size == 10
        assert await slow.append(entries(10, 12)) == [10, 11]
        await shop.invariant(acknowledged)

    asyncio.run(main())


def test_a_process_that_stops_before_its_commit_loses_and_logs_after_the_other():
    async def main():
        shop = Shop()
        await (await made(shop)).aclose()
        paused, go = asyncio.Event(), asyncio.Event()

        async def stop(key):
            if key == f"{PREFIX}lock":
                slow.driver.hook = None
                paused.set()
                await go.wait()

        slow = shop.open()
        slow.driver.hook = stop
        first = asyncio.create_task(slow.append(entries(0, 3)))
        await paused.wait()
        async with shop.open() as fast:
            # One of them is the same entry, which the slow one then finds in the log.
            assert await fast.append(entries(2, 5)) == [0, 1, 2]
        go.set()
        assert await first == [3, 4, 0]
        await shop.invariant({})

    asyncio.run(main())


def test_one_that_always_loses_says_so():
    async def main():
        shop = Shop()
        await (await made(shop)).aclose()
        slow, fast = shop.open(), shop.open()
        numbers = iter(range(1000))

        async def overtake(key):
            if key == f"{PREFIX}lock":
                await fast.append([b"fast %d" % next(numbers)])

        slow.driver.hook = overtake
        with pytest.raises(LogBusyError) as caught:
            await slow.append([b"slow"])
        assert caught.value.retryable
        slow.driver.hook = None
        await slow.append([b"slow"])
        assert (await shop.entries()).count(b"slow") == 1

    asyncio.run(main())


# Restored buckets.


async def restored(shop, sequencer):
    """Append, and let the bucket be what it was before."""
    kept = shop.copy()
    await sequencer.append(entries(10, 20))
    shop.objects.by_key.clear()
    shop.objects._order.clear()
    shop.objects._new.clear()
    for stored in kept.by_key.values():
        shop.objects.put(stored)


def test_a_process_refuses_a_bucket_that_was_restored_under_it():
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 10))
            await restored(shop, sequencer)
            with pytest.raises(LogRollbackError, match="known at size 20"):
                await sequencer.append(entries(20, 21))
        assert shop.checkpoint.size == 10

    asyncio.run(main())


def test_a_machine_that_remembers_refuses_a_restored_bucket(tmp_path):
    async def main():
        shop = Shop()
        memory = LogMemory(tmp_path / "memory")
        async with await made(shop, memory=memory) as sequencer:
            await sequencer.append(entries(0, 10))
            await restored(shop, sequencer)
        for attempt in ("recover", "create"):
            if attempt == "create":
                shop.objects.by_key.clear()
            with pytest.raises(LogRollbackError, match="at size 20") as caught:
                await getattr(shop.open(memory=memory), attempt)()
            assert not caught.value.retryable

    asyncio.run(main())


def test_a_machine_that_remembers_as_a_reader_writes_to_no_restored_bucket(tmp_path):
    async def main():
        shop = Shop()
        memory = LogMemory(tmp_path / "memory")
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 10))
            kept = shop.copy()
            await sequencer.append(entries(10, 20))
            await memory.save(ORIGIN, shop.objects.by_key[f"{PREFIX}checkpoint"].data)
        shop.objects.by_key.clear()
        for stored in kept.by_key.values():
            shop.objects.put(stored)
        before = shop.checkpoint
        with pytest.raises(LogRollbackError, match="known at size 20"):
            await shop.open(memory=memory).append(entries(20, 21))
        assert shop.checkpoint == before
        shop.objects.by_key.clear()
        with pytest.raises(LogRollbackError, match="at size 20"):
            await shop.open(memory=memory).create()

    asyncio.run(main())


def test_a_checkpoint_ahead_of_its_lock_is_refused():
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 10))
            lock = shop.objects.by_key[f"{PREFIX}lock"]
            await sequencer.append(entries(10, 20))
        shop.objects.put(lock)
        with pytest.raises(LogRollbackError, match="size 20 was published, but the lock is at size 10"):
            await shop.open().recover()

    asyncio.run(main())


def test_a_lock_without_its_tiles_is_refused():
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 10))
            driver = shop.drivers[0]
            driver.writes.clear()
            driver.nth, driver.plan = 2, "killed-before"
            await quietly(sequencer.append(entries(10, 20)))
        for key in [key for key in shop.objects.by_key if "staging/" in key]:
            del shop.objects.by_key[key]
        with pytest.raises(LogRollbackError, match="neither complete nor staged"):
            await shop.open().recover()

    asyncio.run(main())


@pytest.mark.parametrize("path", ["tile/0/000.p/20", "tile/entries/000.p/20"])
def test_a_tile_that_was_replaced_is_damage_and_no_rollback(path):
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 20))
        kept = shop.objects.by_key[PREFIX + path]
        data = (
            kept.data.replace(b"entry 15", b"entry 51") if "entries" in path else bytes(32) + kept.data[32:]
        )
        shop.objects.by_key[PREFIX + path] = replace(kept, data=data, info=replace(kept.info, digest=None))
        with pytest.raises(LogTileError, match="is damaged or was replaced, and a verified copy") as caught:
            await shop.open().recover()
        assert caught.value.key == path
        del shop.objects.by_key[PREFIX + path]
        with pytest.raises(LogRollbackError, match="neither complete nor staged"):
            await shop.open().recover()

    asyncio.run(main())


@pytest.mark.parametrize("size", [10, 20])
def test_a_checkpoint_that_contradicts_the_lock_is_a_fork(size):
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 20))
        other = Checkpoint(ORIGIN, size, hash_leaf(b"another"))
        note = (await sign_text(other.text, [SIGNER], 0)).encode()
        place = f"{PREFIX}checkpoint"
        kept = shop.objects.by_key[place]
        info = replace(kept.info, size=len(note), digest=None)
        shop.objects.by_key[place] = replace(kept, data=note, info=info)
        with pytest.raises(LogForkError) as caught:
            await shop.open().recover()
        assert caught.value.note_a == note
        assert b"log-lock" in caught.value.note_b

    asyncio.run(main())


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data,
                                    lambda data: data.replace(b"entry 15", b"entry 51"), lambda data: b""])  # fmt: skip
def test_what_is_staged_is_not_believed(change):
    async def main():
        shop = Shop()
        async with await made(shop) as sequencer:
            await sequencer.append(entries(0, 10))
            driver = shop.drivers[0]
            driver.writes.clear()
            driver.nth, driver.plan = 2, "killed-before"
            await quietly(sequencer.append(entries(10, 20)))
        (place,) = [key for key in shop.objects.by_key if "staging/" in key]
        kept = shop.objects.by_key[place]
        data = change(kept.data)
        info = replace(kept.info, size=len(data), digest=None)
        shop.objects.by_key[place] = replace(kept, data=data, info=info)
        with pytest.raises(LogRollbackError, match="staged"):
            await shop.open().recover()
        assert shop.checkpoint.size == 10
        shop.objects.by_key[place] = kept
        assert await shop.open().recover() == 20

    asyncio.run(main())


# The inbox.


def test_other_processes_leave_statements_in_the_inbox():
    async def main():
        shop = Shop()
        names = iter(range(100))
        admission = StatementAdmission(material.TRUST, clock=lambda: material.NOW)
        options = {"admission": admission, "randomness": lambda count: next(names).to_bytes(count, "big")}
        async with await made(shop, **options) as sequencer:
            submitter = shop.open(**options)
            name = await submitter.submit(ISSUED)
            assert name.startswith("in/2026060100/")
            await submitter.submit(OTHER)
            await submitter.submit(ISSUED)
            with pytest.raises(ProofSignatureError):
                await submitter.submit(CHANGED)
            await shop.provider().store(f"{PREFIX}in/2026060100/rubbish", b"rubbish", compress=False)
            assert await sequencer.drain() == (3, 1)
            assert not any("/in/" in key for key in shop.objects.by_key)
            assert await sequencer.drain() == (0, 0)
        assert [parse_entry(each).proof_id for each in await shop.entries()] == [
            material.ID,
            material.OTHER_ID,
        ]

    asyncio.run(main())


def test_a_crash_after_logging_leaves_no_duplicate():
    async def main():
        shop = Shop()
        sequencer = await made(shop)
        await sequencer.submit(b"one")
        driver = shop.drivers[0]
        driver.writes.clear()
        driver.nth, driver.plan = 6, "killed-before"
        with pytest.raises(Killed):
            await sequencer.drain()
        assert shop.checkpoint.size == 1
        async with shop.open() as another:
            assert await another.drain() == (1, 0)
        assert await shop.entries() == [b"one"]
        await shop.invariant({b"one": 0})

    asyncio.run(main())
