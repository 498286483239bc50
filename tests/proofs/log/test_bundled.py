"""Proofs as entries of a log: the same verbs, no object for a proof, few requests to find one among many."""

import asyncio
import hashlib
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest

from credstore import MemoryConfig
from credstore.drivers.memory import MemoryDriver
from credstore.errors import (
    StorageAccessDeniedError,
    StorageConfigurationError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.proofs import (
    InLog,
    IssueRequest,
    LogEntryError,
    LogTileError,
    ProofConflictError,
    ProofNotFoundError,
    ProofRevokedError,
    ProofStore,
    ProofUntrustedKeyError,
    verify_bundle,
)
from credstore.proofs.format.dsse import encode_envelope, seal_payload
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.log import (
    BundledLog,
    LogCheck,
    LogClient,
    LogIndex,
    LogObjects,
    WholeAdmission,
    check_index,
    check_log,
    sole_policy,
)
from credstore.proofs.log.entry import LogEntry, is_whole
from credstore.proofs.log.index_runs import (
    BLOCK,
    LARGEST_SPAN,
    ROW,
    Run,
    cover,
    guess,
    key_of_asset,
    key_of_proof,
    parse_run,
    rows_of,
    split_rows,
)
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.store import bundled
from credstore.provider.provider import StorageProvider
from tests.proofs import material
from tests.proofs.log.logs import NOW, PREFIX, SIGNER, Plain, Shop, Unsteady, made, quietly

STATEMENT = material.issue()
POLICY = sole_policy(SIGNER.key.encode())


class Counted(MemoryDriver):
    """A memory driver that counts requests by what they are for."""

    def __init__(self, objects):
        super().__init__(MemoryConfig(), objects=objects)
        self.counts = Counter()

    async def get(self, key, options=None):
        self.counts["GET"] += 1
        return await (super().get(key) if options is None else super().get(key, options))

    async def list(self, *args, **options):
        self.counts["LIST"] += 1
        return await super().list(*args, **options)


class Stand:
    """A bucket with a log of whole statements."""

    def __init__(self, block=16):
        self.shop = Shop()
        self.block = block

    def index(self, objects):
        return LogIndex(objects, block=self.block, largest_span=self.block * 256)

    @asynccontextmanager
    async def open(self, *, create=False, writes=True, trust=material.TRUST, **options):
        driver = Counted(self.shop.objects)
        provider = StorageProvider(driver, MemoryConfig())
        objects = LogObjects(provider, PREFIX)
        index = self.index(objects)
        admission = WholeAdmission(trust, clock=lambda: NOW)
        sequencer = self.shop.open(driver=Unsteady(self.shop.objects), admission=admission, index=index)
        if create:
            await sequencer.create()
        log = BundledLog(POLICY, objects=objects, index=index, sequencer=sequencer if writes else None)
        async with (
            sequencer,
            ProofStore(
                provider,
                trust=trust,
                signer=material.SIGNER,
                log=log,
                erasable=False,
                clock=lambda: NOW,
                **options,
            ) as store,
        ):
            store.driver, store.index, store.log, store.sequencer = driver, index, log, sequencer
            yield store

    @property
    def keys(self):
        return sorted(self.shop.objects.by_key)


def run(test, **options):
    async def main():
        stand = Stand(**options)
        async with stand.open(create=True) as store:
            await test(stand, store)

    asyncio.run(main())


def test_the_same_verbs_without_an_object_for_a_proof():
    async def test(stand, store):
        one = await store.issue(b"one", claims={"by": "Ada"}, expires_in=3600, manifest=b"m")
        two = await store.issue(b"two")
        again = await store.issue(b"two")
        assert [key for key in stand.keys if key.startswith("proofs/")] == [
            f"proofs/v1/m/{one.proof_id[-2:]}/{one.proof_id}.c2pa"
        ]
        found = await store.get(one.proof_id, asset=b"one")
        assert (found.record, found.claims) == (one.record, {"by": "Ada"})
        assert await store.get_manifest(one.proof_id) == b"m"
        names = {each.proof_id for each in await store.find_by_hash(two.record.asset.sha256)}
        assert names == {two.proof_id, again.proof_id}
        assert {each.proof_id async for each in store.scan_by_hash(two.record.asset.sha256)} == names
        assert await store.find_by_hash(bytes(32)) == []
        with pytest.raises(ProofNotFoundError):
            await store.get(material.ID)
        assert await store.exists(two.proof_id)
        assert [each.proof.proof_id for each in await store.list()] == [
            one.proof_id, two.proof_id, again.proof_id,
        ]  # fmt: skip
        newer = await store.supersede(two.proof_id, b"newer")
        assert (await store.history(two.proof_id)).superseded_by == newer.proof_id
        await store.revoke(two.proof_id)
        with pytest.raises(ProofRevokedError):
            await store.get(two.proof_id)
        assert [each.proof_id for each in await store.find_by_hash(two.record.asset.sha256)] == [
            again.proof_id
        ]
        bundle = await store.export(one.proof_id)
        report = verify_bundle(bundle, material.TRUST, now=NOW, check_log=LogCheck(POLICY), policy=InLog())
        assert report.logged.index == 0
        assert (await store.get(one.proof_id, policy=InLog())).logged.index == 0
        assert (await store.reconcile()).logged == 0

    run(test)


def test_entries_cannot_be_erased_and_that_is_accepted_beforehand():
    async def test(stand, store):
        proof = await store.issue(b"one")
        for refused in (
            store.delete(proof.proof_id),
            store.stats(),
            store.fsck(),
            store.link(proof.proof_id),
        ):
            with pytest.raises(StorageUnsupportedError, match="stay for ever"):
                await refused
        assert (await store.sweep_expired()).swept == 0
        with pytest.raises(StorageUnsupportedError, match="erasable=False"):
            ProofStore(stand.shop.provider(), trust=material.TRUST, log=store.log)
        objects = LogObjects(stand.shop.provider())
        for options in ({}, {"index": LogIndex(objects)}, {"admission": store.sequencer._admit}):
            with pytest.raises(StorageConfigurationError, match="LogIndex"):
                BundledLog(POLICY, objects=objects, sequencer=stand.shop.open(**options))

    run(test)


def test_an_issue_is_repeated_and_the_first_one_counts():
    async def test(stand, store):
        first = await store.issue(b"one", idempotency_key="once")
        assert (await store.issue(b"one", idempotency_key="once")).envelope == first.envelope
        async with stand.open() as another:
            assert (await another.issue(b"one", idempotency_key="once")).envelope == first.envelope
            with pytest.raises(ProofConflictError):
                await another.issue(b"one", idempotency_key="once", claims={"other": 1})
        # One that raced past the look-up.
        other = replace(
            STATEMENT, payload=STATEMENT.payload.replace(material.ID.encode(), first.proof_id.encode())
        )
        other = await seal_payload(other.payload, [material.SIGNER])
        await store.log.add(encode_envelope(other))
        assert (await store.get(first.proof_id)).envelope == first.envelope
        with pytest.raises(ProofConflictError, match="faster"):
            await store._logger.issued(
                replace(first, verified=replace(first.verified, envelope=other)), repeated=True
            )

    run(test)


def test_a_large_statement_is_an_object_of_which_the_log_has_digests():
    async def test(stand, store):
        claims = {"text": "x" * 20_000}
        large = await store.issue(b"large", claims=claims)
        small = await store.issue(b"small")
        (key,) = [key for key in stand.keys if key.startswith("proofs/v1/r/")]
        assert [is_whole(each) for each in await stand.shop.entries()] == [False, True]
        assert (await store.get(large.proof_id)).claims == claims
        assert [each.proof_id for each in await store.find_by_hash(large.record.asset.sha256)] == [
            large.proof_id
        ]
        bundle = await store.export(large.proof_id)
        verify_bundle(bundle, material.TRUST, now=NOW, check_log=LogCheck(POLICY), policy=InLog())
        await store.provider.store(key, encode_envelope(small.envelope), compress=False)
        with pytest.raises(LogEntryError, match="digests"):
            await store.get(large.proof_id)
        await store.provider.delete(key)
        with pytest.raises(LogEntryError, match="digests"):
            await store.get(large.proof_id)

    run(test)


def test_a_large_statement_that_was_stored_and_not_logged_is_logged_by_a_repeat():
    async def test(stand, store):
        claims = {"text": "x" * 20_000}
        failure = StorageAccessDeniedError("not today", applied="no")
        with patch.object(BundledLog, "add", side_effect=failure), pytest.raises(StorageAccessDeniedError):
            await store.issue(b"large", claims=claims, idempotency_key="once")
        assert stand.shop.checkpoint.size == 0
        proof = await store.issue(b"large", claims=claims, idempotency_key="once")
        assert (await store.get(proof.proof_id)).claims == claims
        assert stand.shop.checkpoint.size == 1

    run(test)


def test_what_does_not_verify_is_not_logged():
    async def main():
        stand = Stand()
        async with stand.open(create=True, trust=replace(material.TRUST, keys=(material.P256_KEY,))) as store:
            with pytest.raises(ProofUntrustedKeyError):
                await store.log.add(encode_envelope(STATEMENT))
            assert stand.shop.checkpoint.size == 0

    asyncio.run(main())


# The index.


def entry(number, proof_id=None):
    name = proof_id or f"01920000-0000-7000-8000-{number:012x}"
    return LogEntry("issue", bytes(32), "key", b"sig", name, digest(number)).data


def digest(number):
    return hashlib.sha256(b"%d" % number).digest()


async def filled(shop, sizes, block=16, driver=None):
    """A log that is written in batches of these sizes, and its index."""
    objects = LogObjects(StorageProvider(driver or Counted(shop.objects), MemoryConfig()), PREFIX)
    index = LogIndex(objects, block=block, largest_span=block * 256)
    at = 0
    async with await made(shop, admission=Plain(), index=index) as log:
        for size in sizes:
            await log.append([entry(number) for number in range(at, at + size)])
            at += size
    await index.merge(at)
    return index, tiles_of(shop, objects)


def tiles_of(shop, objects):
    state = shop.checkpoint
    return LogTiles(objects.fetch, state.size, state.root)


def runs_in(shop):
    return sorted(key.removeprefix(f"{PREFIX}index/") for key in shop.objects.by_key if "/index/" in key)


@pytest.mark.parametrize(
    "sizes", [[1], [16], [15, 1, 1], [40], [100, 100, 100], [16] * 20, [7] * 50, [300, 1]]
)
def test_every_entry_is_found_by_asset_and_id(sizes):
    async def main():
        shop = Shop()
        index, tiles = await filled(shop, sizes)
        for number in range(0, sum(sizes), 7):
            name = f"01920000-0000-7000-8000-{number:012x}"
            assert await index.find(key_of_asset(digest(number)), tiles) == [number]
            assert await index.find(key_of_proof(name), tiles) == [number]
        assert await index.find(key_of_asset(b"absent"), tiles) == []
        chosen, gaps = cover(await index.runs(), sum(sizes))
        assert not gaps
        assert len(runs_in(shop)) == len(chosen), "what was merged is removed"
        assert len(chosen) <= 15 * 2 + 1

    asyncio.run(main())


def test_sixteen_runs_become_one_up_to_the_largest():
    async def main():
        shop = Shop()
        index, tiles = await filled(shop, [1000, 1000, 1000, 1000, 120], block=16)
        assert runs_in(shop) == [
            "000000000000000-000000000004096", "000000000004096-000000000004112",
            "000000000004112-000000000004120",
        ]  # fmt: skip
        assert shop.objects.by_key[f"{PREFIX}index/{runs_in(shop)[0]}"].info.size == 2 * 4096 * ROW
        assert await index.find(key_of_asset(digest(4119)), tiles) == [4119]
        assert index.merges == 17

    asyncio.run(main())


def test_an_index_that_is_behind_or_gone_is_made_up_for_from_the_log():
    async def main():
        shop = Shop()
        index, tiles = await filled(shop, [40, 30])
        whole = {key: shop.objects.by_key[key] for key in shop.objects.by_key if "/index/" in key}
        for key in whole:
            shop.objects.remove(key)
        assert await index.find(key_of_asset(digest(50)), tiles) == [50]
        other = LogIndex(index._objects, block=16, largest_span=4096)
        await other.extend(tiles)
        assert {key for key in shop.objects.by_key if "/index/" in key} == set(whole)
        for key, stored in whole.items():
            assert shop.objects.by_key[key].data == stored.data, "determined by the entries"
        await other.extend(tiles)

    asyncio.run(main())


def test_a_crash_between_publication_and_index_loses_nothing():
    async def main():
        stand = Stand()
        async with stand.open(create=True) as store:
            await store.issue(b"one")

            async def fail(tiles):
                raise StorageAccessDeniedError("not today", applied="no")

            store.index.extend = fail
            # It is in the log, and found there: that is what was promised.
            await store.issue(b"two")
        async with stand.open(writes=False) as reader:
            assert len(await reader.find_by_hash(AssetDigest.of(b"two").sha256)) == 1
        async with stand.open() as another:
            await another.issue(b"three")
            chosen, gaps = cover(await another.index.runs(), 3)
            assert not gaps
            assert chosen == [Run(0, 3, 6 * ROW)]

    asyncio.run(main())


@pytest.mark.parametrize("plan", ["unsent", "lost", "killed-before", "killed-after"])
def test_any_write_with_an_index_may_fail(plan):
    """The one who takes over finds every acknowledged entry, and leaves the index whole."""

    def indexed(shop):
        log = shop.open(admission=Plain())
        objects = LogObjects(StorageProvider(log.driver, MemoryConfig()), PREFIX)
        log._steps.index = LogIndex(objects, block=16, largest_span=256)
        return log

    async def one(nth):
        shop = Shop()
        log = indexed(shop)
        await log.create()
        await log.append([entry(number) for number in range(250)])
        log.driver.writes.clear()
        log.driver.nth, log.driver.plan = nth, plan
        await quietly(log.append([entry(number) for number in range(250, 280)]))
        made = len(log.driver.writes)
        async with indexed(shop) as another:
            await another.append([entry(number) for number in range(250, 290)])
            index = another._steps.index
        await index.merge(290)
        found = await shop.entries()
        assert sorted(found) == sorted(entry(number) for number in range(290))
        tiles = tiles_of(shop, LogObjects(shop.provider(), PREFIX))
        for number in (0, 249, 250, 279, 289):
            assert await index.find(key_of_asset(digest(number)), tiles) == [found.index(entry(number))]
        assert not cover(await index.runs(), 290)[1]
        return made

    async def main():
        nth = 0
        while nth <= await one(nth):
            nth += 1
        assert nth > 9

    asyncio.run(main())


def test_a_gap_too_large_to_read_is_an_error(monkeypatch):
    async def main():
        shop = Shop()
        index, tiles = await filled(shop, [64])
        for key in [key for key in shop.objects.by_key if "/index/" in key]:
            shop.objects.remove(key)
        monkeypatch.setattr("credstore.proofs.log.indexing.LARGEST_GAP", 32)
        with pytest.raises(LogTileError, match="lacks 64 entries"):
            await index.find(bytes(16), tiles)

    asyncio.run(main())


@pytest.mark.parametrize("repeated", [0, 3000, 25_000])
def test_a_large_run_is_searched_with_about_one_request(repeated):
    """Also where one asset has so many proofs that no part of a run has them all."""

    async def main():
        objects = Shop().objects
        driver = Counted(objects)
        provider = StorageProvider(driver, MemoryConfig())
        log = LogObjects(provider, PREFIX)
        index = LogIndex(log)
        hot = key_of_asset(b"hot")
        keys = [key_of_asset(digest(number)) for number in range(20_000)]
        rows = sorted(
            [key + number.to_bytes(8, "big") for number, key in enumerate(keys)]
            + [hot + number.to_bytes(8, "big") for number in range(repeated)]
        )
        run = Run(0, LARGEST_SPAN, len(rows) * ROW)
        await log.put(run.path, b"".join(rows))
        asked = list(range(0, 20_000, 401))
        for number in asked:
            assert await index._search(run, keys[number]) == [number]
        parts = driver.counts["GET"]
        assert parts <= len(asked) * (1.1 if repeated < 100 else 5)
        assert await index._search(run, key_of_asset(b"absent")) == []
        found = await index._search(run, hot)
        assert found[:1000] == list(range(repeated))[:1000]
        for first in (rows[0], rows[-1]):
            assert int.from_bytes(first[16:], "big") in await index._search(run, first[:16])

    asyncio.run(main())


def test_a_run_that_is_not_sorted_or_cut_short_ends_the_search():
    async def main():
        log = LogObjects(Shop().provider(), PREFIX)
        index = LogIndex(log)
        rows = [key_of_asset(digest(number)) + bytes(8) for number in range(20_000)]
        run = Run(0, LARGEST_SPAN, len(rows) * ROW)
        await log.put(run.path, b"".join(rows))
        searches = [index._search(run, key_of_asset(digest(number))) for number in range(40)]
        ends = await asyncio.gather(*searches, return_exceptions=True)
        assert all(isinstance(each, list | LogTileError) for each in ends)
        await log.put(run.path, b"".join(rows[:5]))
        with pytest.raises(LogTileError, match="shorter"):
            await index._search(run, rows[0][:16])

    asyncio.run(main())


def test_names_that_are_not_runs():
    good = Run(4096, 8192)
    assert parse_run(good.path, 48) == Run(4096, 8192, 48)
    assert parse_run(Run(8192, 8200).path, 0) is not None
    for run, size in (
        (good, 47), (Run(4096, 4096), 0), (Run(8192, 4096), 0), (Run(100, 200), 0), (Run(4096, 12288), 0),
        (Run(4096, 4096 + 65536), 0), (Run(0, 5000), 0), (Run(4096, 4096 + 8193), 0),
    ):  # fmt: skip
        assert parse_run(run.path, size) is None
    for path in ("index/1-2", "index/", f"{good.path}x", "tile/0/000"):
        assert parse_run(path, 0) is None
    with pytest.raises(StorageConfigurationError):
        LogIndex(LogObjects(Shop().provider()), block=16, largest_span=100)


def test_the_costs_among_ten_million():
    """By count: the runs of 10 million entries in batches of 256, and what a million writes cost."""
    size, batch = 10_000_000, 256
    runs = []
    at, span = 0, LARGEST_SPAN
    while span >= BLOCK:
        while at + span <= size:
            runs.append(Run(at, at + span, 2 * span * ROW))
            at += span
        span //= 16
    runs.append(Run(at, size, 2 * (size - at) * ROW))
    chosen, gaps = cover(runs, size)
    assert (len(chosen), gaps) == (27, [])
    # A listing of the runs and one of the status, the checkpoint, at most 8 tiles and a bundle.
    assert 1 + len(chosen) + 1 + 1 + 8 + 1 <= 40
    for run in chosen:
        first, last = guess(key_of_asset(b"any"), run.rows)
        assert (last - first) * ROW <= 512 * 1024
    batches = 1_000_000 // batch
    writes = batches + 1_000_000 // BLOCK * 2 + 1_000_000 // (16 * BLOCK)
    assert writes * 0.000005 <= 0.03  # Dollars on S3, besides those of the log.


def test_the_requests_of_a_search_are_counted():
    async def test(stand, store):
        requests = [b"%d" % number for number in range(300)]
        proofs = [await store.issue(each) for each in requests[:40]]
        async with stand.open(writes=False) as reader:
            reader.driver.counts.clear()
            assert len(await reader.find_by_hash(proofs[17].record.asset.sha256)) == 1
            chosen, _ = cover(await reader.index.runs(), 40)
            assert reader.driver.counts["LIST"] <= 3
            # The checkpoint, runs, and at most 8 tiles and a bundle.
            assert reader.driver.counts["GET"] <= 1 + len(chosen) + 9

    run(test)


def test_rows_are_made_of_issues_only():
    other = LogEntry("revoke", bytes(32), "key", b"sig", material.ID).data
    assert rows_of([(0, b"rubbish"), (1, other)]) == []
    assert len(rows_of([(0, entry(1)), (1, LogEntry("issue", bytes(32), "k", b"s", material.ID).data)])) == 3


def test_a_planted_run_with_fewer_rows_hides_nothing():
    async def test(stand, store):
        proofs = [await store.issue(b"%d" % number) for number in range(40)]
        path = Run(0, stand.block * 256).path
        await store.provider.store(f"{PREFIX}{path}", b"", compress=False)
        async with stand.open() as again:
            for each in proofs:
                assert (await again.get(each.proof_id)).record == each.record
            late = await again.issue(b"late")
            assert (await again.get(late.proof_id)).record == late.record
            await again.index.merge(41)
            assert (await again.get(proofs[0].proof_id)).record == proofs[0].record

    run(test)


def test_a_planted_run_that_ends_beyond_the_log_hides_nothing():
    async def test(stand, store):
        proofs = [await store.issue(b"%d" % number) for number in range(40)]
        for span in (stand.block, stand.block * 16, stand.block * 256):
            start = 40 - 40 % span
            await store.provider.store(f"{PREFIX}{Run(start, start + span).path}", bytes(ROW * 2 * span), compress=False)  # fmt: skip
        planted = {name for name in runs_in(stand.shop) if int(name.partition("-")[2]) > 40}
        async with stand.open() as again:
            for each in proofs:
                assert (await again.get(each.proof_id)).record == each.record
                assert len(await again.find_by_hash(each.record.asset.sha256)) == 1
            # Nor does it stop the index: what is written and merged later is found in it alone.
            late = [await again.issue(b"late %d" % number) for number in range(7)]
            await again.index.aclose()
            await again.index.merge(47)
            assert planted < set(runs_in(stand.shop)), "what covers nothing replaces nothing"
            assert cover(await again.index.runs(), 47)[1] == []
            for each in (*proofs, *late):
                assert (await again.get(each.proof_id)).record == each.record

    run(test)


def test_a_run_of_a_later_state_is_used_once_that_is_read(monkeypatch):
    async def main():
        shop = Shop()
        index, old = await filled(shop, [40])
        async with shop.open(admission=Plain(), index=index) as log:
            await log.append([entry(number) for number in range(40, 300)])
        await index.aclose()
        await index.merge(300)
        monkeypatch.setattr("credstore.proofs.log.indexing.LARGEST_GAP", 0)
        with pytest.raises(LogTileError, match=r"lacks 40 entries; .* --repair-index"):
            await index.find(key_of_asset(digest(5)), old)
        asked = []

        async def newer():
            asked.append(True)
            return tiles_of(shop, index._objects)

        assert await index.find(key_of_asset(digest(5)), old, newer) == [5]
        assert await index.find(key_of_asset(digest(299)), await newer(), newer) == [299]
        assert len(asked) == 2, "asked where a run ends beyond, and not otherwise"

    asyncio.run(main())


def test_a_reader_that_was_overtaken_by_the_index_reads_the_log_again():
    async def test(stand, store):
        await store.issue(b"one")
        async with stand.open(writes=False) as reader:
            listed = reader.index.runs

            async def later():
                reader.index.runs = listed
                await store.issue(b"two")
                return await listed()

            reader.index.runs = later
            assert len(await reader.find_by_hash(AssetDigest.of(b"two").sha256)) == 1

    run(test)


def test_all_proofs_are_listed_without_the_index():
    async def test(stand, store):
        proofs = [await store.issue(b"%d" % number) for number in range(40)]
        large = await store.issue(b"large", claims={"text": "x" * 20_000})
        failure = LogTileError("not today")
        with patch.object(LogIndex, "find", side_effect=failure):
            outcomes = [each async for each in store.scan()]
        assert [each.proof.envelope for each in outcomes] == [each.envelope for each in (*proofs, large)]
        # Of two with one id the first is the proof, which then has to be looked up.
        payload = STATEMENT.payload.replace(material.ID.encode(), proofs[7].proof_id.encode())
        await store.log.add(encode_envelope(await seal_payload(payload, [material.SIGNER])))
        outcomes = [each async for each in store.scan()]
        assert outcomes[-1].proof.envelope == proofs[7].envelope
        with patch.object(LogIndex, "find", side_effect=failure):
            outcomes = [each async for each in store.scan()]
        assert [each.error for each in outcomes] == [None] * 41 + [failure]

    run(test)


def replaced_rows(data):
    """As many rows, which lead elsewhere."""
    return b"".join(sorted(bytes(reversed(row[:16])) + row[16:] for row in split_rows(data)))


DAMAGES = {
    "others": (replaced_rows, "not those of the entries"),
    "unsorted": (lambda data: b"".join(reversed(split_rows(data))), "not sorted"),
    "fewer": (lambda data: data[:-ROW], "rows instead of"),
    "more": (lambda data: data + b"\xff" * ROW, "rows instead of"),
    "twice": (lambda data: data[:ROW] * (len(data) // ROW), "not those of the entries"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("entries", [5, 40, 16 * 16 + 3])
def test_a_run_that_was_overwritten_is_found_and_written_again(damage, entries):
    """However many rows it has: one with as many as it should have is what no reader of single rows can see."""
    change, why = DAMAGES[damage]

    async def test(stand, store):
        outcomes = [
            each async for each in store.issue_many([IssueRequest(asset=b"%d" % n) for n in range(entries)])
        ]
        await store.index.aclose()
        await store.index.merge(entries)
        objects = LogObjects(store.provider, PREFIX)
        sizes = {"block": stand.block, "largest_span": stand.block * 256}

        async def check(**options):
            client = LogClient(objects.fetch, policy=POLICY)
            return await check_index(client, objects, **sizes, **options)

        sound = await check()
        assert (sound.problems, sound.rows, sound.repaired) == ({}, 2 * entries, False)
        for name, stored in dict(stand.shop.objects.by_key).items():
            if "/index/" in name:
                await store.provider.store(name, change(stored.data), compress=False)
        broken = await check()
        assert len(broken.problems) == broken.runs == sound.runs
        assert all(why in each for each in broken.problems.values())
        async with stand.open() as other:
            if damage == "others":
                with pytest.raises(ProofNotFoundError):
                    await other.get(outcomes[0].proof_id)
            assert (await check(repair=True)).repaired
            assert (await check()) == replace(sound, runs=(await check()).runs)
            for each in outcomes:
                assert (await other.get(each.proof_id)).proof_id == each.proof_id

    run(test)


def test_extending_by_nothing_leaves_the_runs_as_they_are():
    async def main():
        shop = Shop()
        _, tiles = await filled(shop, [64, 7])

        def runs():
            return {key: each.data for key, each in shop.objects.by_key.items() if "/index/" in key}

        before = runs()
        assert any(key.endswith("000064-000000000000071") for key in before)
        await LogIndex(LogObjects(shop.provider(), PREFIX), block=16, largest_span=16 * 256).extend(tiles)
        assert runs() == before

    asyncio.run(main())


def test_a_run_of_what_the_log_does_not_have_is_found():
    async def test(stand, store):
        proof = await store.issue(b"one")
        path = Run(0, stand.block).path
        await store.provider.store(f"{PREFIX}{path}", bytes(2 * ROW), compress=False)
        objects = LogObjects(store.provider, PREFIX)
        client = LogClient(objects.fetch, policy=POLICY)
        sizes = {"block": stand.block, "largest_span": stand.block * 256}
        report = await check_index(client, objects, **sizes)
        assert report.problems == {path: "it covers entries up to 16, and the log has 1"}
        await check_index(client, objects, **sizes, repair=True)
        async with stand.open() as other:
            assert (await other.get(proof.proof_id)).record == proof.record

    run(test)


def test_an_index_that_lacks_more_than_readers_make_up_for_is_found(monkeypatch):
    async def main():
        shop = Shop()
        await filled(shop, [64, 16])
        for key in [key for key in shop.objects.by_key if "/index/000000000000000-" in key]:
            shop.objects.remove(key)
        monkeypatch.setattr("credstore.proofs.log.index_check.LARGEST_GAP", 8)
        objects = LogObjects(shop.provider(), PREFIX)
        client = LogClient(objects.fetch, policy=POLICY)
        sizes = {"block": 16, "largest_span": 256 * 16}
        report = await check_index(client, objects, **sizes, repair=True)
        assert list(report.problems) == ["index/"]
        assert (await check_index(client, objects, **sizes)).problems == {}

    asyncio.run(main())


@pytest.mark.parametrize("whole", [None, True])
def test_an_index_that_is_gone_altogether_is_found_and_written_again(whole):
    async def test(stand, store):
        proofs = [await store.issue(b"%d" % number) for number in range(20)]
        runs = runs_in(stand.shop)
        for name in runs:
            stand.shop.objects.remove(f"{PREFIX}index/{name}")
        objects = LogObjects(store.provider, PREFIX)
        client = LogClient(objects.fetch, policy=POLICY)
        sizes = {"block": stand.block, "largest_span": stand.block * 256}
        assert (await check_log(client)).whole == 20
        report = await check_index(client, objects, **sizes, whole=whole)
        assert report.problems == {"index/": "no run covers 20 of its entries"}
        assert (await check_index(client, objects, **sizes, whole=whole, repair=True)).repaired
        assert runs_in(stand.shop) == runs
        assert (await check_index(client, objects, **sizes, whole=whole)).problems == {}
        assert (await store.get(proofs[3].proof_id)).record == proofs[3].record

    run(test)


@pytest.mark.parametrize("whole", [None, False])
def test_a_log_of_digests_needs_no_index(whole):
    async def main():
        shop = Shop()
        objects = LogObjects(shop.provider(), PREFIX)
        async with await made(shop, admission=Plain()) as log:
            await log.append([entry(number) for number in range(300)])
        client = LogClient(objects.fetch, policy=POLICY)
        assert (await check_log(client)).whole == 0
        assert (await check_index(client, objects, whole=whole)).problems == {}

    asyncio.run(main())


def test_more_proofs_of_one_asset_than_the_index_returns_are_said(monkeypatch):
    async def test(_stand, store):
        monkeypatch.setattr(bundled, "PAGE", 3)
        for _ in range(3):
            proof = await store.issue(b"one")
        with pytest.raises(StorageInvalidRequestError) as caught:
            await store.find_by_hash(proof.record.asset.sha256)
        assert caught.value.code == "TOO_MANY_PROOFS"
        with pytest.raises(StorageInvalidRequestError):
            [each async for each in store.scan_by_hash(proof.record.asset.sha256)]

    run(test)
