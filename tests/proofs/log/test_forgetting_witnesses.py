"""Witnesses that have forgotten what they cosigned, as after a restored backup, and who can see that."""

import asyncio
from datetime import timedelta

import pytest

from credstore.errors import StorageError
from credstore.proofs.format.errors import (
    CheckpointError,
    LogForkError,
    LogRollbackError,
    WitnessError,
    WitnessQuorumError,
)
from credstore.proofs.log.checkpoint import open_checkpoint
from credstore.proofs.log.http import LogHttp
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.objects import LogObjects
from credstore.proofs.log.witnesses import WitnessGroup
from tests.proofs.log.logs import NOW, PREFIX, SIGNER, Shop, made
from tests.proofs.log.test_client import (
    BOTH,
    W1,
    W2,
    WITNESSED,
    Network,
    ask,
    broken,
    entries,
    filled,
    new_witness,
    state,
    watch,
)


def group(network, policy=WITNESSED, **options):
    return WitnessGroup(policy, LogHttp(network), **options)


def client_of(network, name="w1", **options):
    return next(each for each in group(network, **options).clients if each.name == name)


def beside(shop):
    return [key for key in shop.objects.by_key if key.startswith(PREFIX + "witnesses/")]


def cosigners_of(shop):
    note = open_checkpoint(shop.objects.by_key[PREFIX + "checkpoint"].data, [SIGNER.key]).note
    return {line.name for line in note.signatures} - {SIGNER.key.name}


async def append(shop, network, start, end, policy=WITNESSED, **options):
    """A process of its own that logs entries, as a command does."""
    objects = LogObjects(shop.provider(), PREFIX)
    async with shop.open(cosign=group(network, policy, objects=objects, **options).cosign) as log:
        return await log.append(entries(start, end))


async def started(network, policy=BOTH):
    shop = Shop()
    async with await made(shop, cosign=group(network, policy).cosign) as log:
        await log.append(entries(0, 10))
    return shop


def test_a_writer_that_remembers_nothing_sees_it_by_the_published_checkpoint():
    async def main():
        network = Network(w1=new_witness(W1), w2=new_witness(W2))
        shop = await started(network)
        assert cosigners_of(shop) == {W1.key.name, W2.key.name}
        network.hosts["w1"] = new_witness(W1)
        assert await append(shop, network, 10, 11) == [10]
        assert cosigners_of(shop) == {W2.key.name}
        (kept,) = beside(shop)
        assert open_checkpoint(shop.objects.by_key[kept].data, [SIGNER.key]).checkpoint.size == 10
        # The next process has no such checkpoint any more, but what the one before has kept.
        assert await append(shop, network, 11, 12) == [11]
        assert cosigners_of(shop) == {W2.key.name}
        with pytest.raises(
            WitnessQuorumError, match=r"w1: .* has cosigned size 10, and now says that it has seen size 0"
        ):
            await append(shop, network, 12, 13, BOTH)
        # Once it knows the log again, as far as it did and further, it counts again.
        await client_of(network).add_checkpoint(*await state(12))
        await append(shop, network, 13, 14, BOTH)
        assert cosigners_of(shop) == {W1.key.name, W2.key.name}

    asyncio.run(main())


def test_a_writer_that_finishes_anothers_work_sees_it_too():
    async def main():
        network = Network(w1=new_witness(W1), w2=new_witness(W2))
        shop = await started(network)
        async with shop.open(cosign=group(Network(w1=broken, w2=broken), BOTH).cosign) as log:
            with pytest.raises(StorageError):
                await log.append(entries(10, 11))
        network.hosts["w1"] = new_witness(W1)
        async with shop.open() as log:  # Committed, and not published; no one is asked.
            log._steps.cosign = group(network, BOTH).cosign
            with pytest.raises(WitnessQuorumError, match=r"w1: .* has cosigned size 10"):
                await log.recover()

    asyncio.run(main())


def test_a_machine_remembers_what_a_witness_has_cosigned(tmp_path):
    async def main():
        memory = LogMemory(tmp_path)
        network = Network(w1=new_witness(W1))
        await client_of(network, memory=memory).add_checkpoint(*await state(10))
        await client_of(network, memory=memory).add_checkpoint(*await state(20))
        network.hosts["w1"] = new_witness(W1)
        await ask(network.hosts["w1"], 0, 15)
        with pytest.raises(WitnessError, match="has cosigned size 20, and now says that it has seen size 15"):
            await client_of(network, memory=memory).add_checkpoint(*await state(30))
        (evidence,) = (tmp_path / "forks").iterdir()
        assert W1.key.name in evidence.read_text()
        (remembered,) = tmp_path.glob("*.witness")
        remembered.write_bytes((await state(20))[0].data)
        with pytest.raises(CheckpointError, match="not a checkpoint that it has cosigned"):
            await client_of(network, memory=memory).add_checkpoint(*await state(30))

    asyncio.run(main())


def test_what_a_witness_has_cosigned_convicts_the_log_although_the_witness_forgot(tmp_path):
    async def main():
        memory = LogMemory(tmp_path)
        network = Network(w1=new_witness(W1))
        await client_of(network, memory=memory).add_checkpoint(*await state(20))
        network.hosts["w1"] = new_witness(W1)
        with pytest.raises(
            LogRollbackError, match="at size 10, but the witness 'w1' has cosigned its size 20"
        ):
            await client_of(network, memory=memory).add_checkpoint(*await state(10))
        opened, tiles = await state(20, start=5)
        with pytest.raises(LogForkError, match="two roots for size 20") as caught:
            await client_of(network, memory=memory).add_checkpoint(opened, tiles)
        assert caught.value.note_a == opened.data
        assert W1.key.name.encode() in caught.value.note_b

    asyncio.run(main())


@pytest.mark.parametrize("planted", ["rubbish", "not cosigned", "smaller"])
def test_what_is_planted_beside_the_log_excludes_no_witness(planted):
    async def main():
        network = Network(w1=new_witness(W1), w2=new_witness(W2))
        shop = await started(network)
        network.hosts["w1"] = new_witness(W1)
        await append(shop, network, 10, 11)
        (kept,) = beside(shop)
        data = b"rubbish"
        if planted == "not cosigned":
            data = (await state(1000))[0].data
        if planted == "smaller":
            lines = await client_of(Network(w1=new_witness(W1))).add_checkpoint(*await state(5))
            data = (await state(5))[0].note.extended(lines).encode()
        await shop.provider().store(kept, data, compress=False)
        await client_of(network).add_checkpoint(*await state(11))
        await append(shop, network, 11, 12, BOTH)
        assert cosigners_of(shop) == {W1.key.name, W2.key.name}

    asyncio.run(main())


@pytest.mark.parametrize(
    ("known", "shown", "now", "why"),
    [
        (0, 1, 2, "has cosigned size 10 at .*T00:00:00.*, and size 5 later, at .*T00:00:01"),
        (0, 0, 60, None),  # What it shows may be an hour old.
        (0, -3600, 3600, None),
        (0, -3600, 3601, "has cosigned size 10 at .*T00:00:00.*, and still shows size 5"),
    ],
)
def test_a_monitor_sees_it_by_what_is_shown(known, shown, now, why):
    async def main():
        at = NOW + timedelta(seconds=known)
        network = Network(w1=new_witness(W1, clock=lambda: at), w2=broken)
        shop = await filled(10, cosign=group(network).cosign)
        other = NOW + timedelta(seconds=shown)
        network.hosts["w1"] = new_witness(W1, clock=lambda: other)
        await ask(network.hosts["w1"], 0, 5)
        report = await watch(shop, network, now=NOW + timedelta(seconds=now))
        assert report.witnessed == {"w1": 5}
        if why is None:
            assert report.problems == ()
        else:
            with pytest.raises(AssertionError, match=why):
                assert not report.problems, report.problems

    asyncio.run(main())


def test_a_monitor_sees_it_by_what_was_seen_before(tmp_path):
    async def main():
        from credstore.proofs.log.monitor import monitor_log
        from tests.proofs.log.test_client import reader

        network = Network(w1=new_witness(W1), w2=new_witness(W2))
        shop = await started(network)

        async def problems(**options):
            clients = group(network, **options).clients
            return (await monitor_log(reader(shop, WITNESSED), clients, now=NOW, patience=0)).problems

        memory = LogMemory(tmp_path)
        assert await problems(memory=memory) == ()
        network.hosts["w1"] = broken
        await append(shop, network, 10, 11)
        network.hosts["w1"] = new_witness(W1)
        # Whoever remembers nothing, and reads a checkpoint without it, cannot know.
        assert await problems() == ()
        (problem,) = await problems(memory=memory)
        assert problem == "the witness 'w1' has cosigned size 10, and now knows nothing"
        assert len(list((tmp_path / "forks").iterdir())) == 1
        # A writer that remembers has found it, too, and keeps it beside the log for others.
        await append(shop, network, 11, 12, memory=memory)
        (problem,) = await problems(objects=LogObjects(shop.provider(), PREFIX))
        assert "has cosigned size 10" in problem

    asyncio.run(main())
