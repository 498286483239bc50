"""What someone plants who may write in the bucket of a log: it hides little, destroys nothing, and stops no one."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from credstore.errors import StorageConfigurationError
from credstore.proofs import CheckpointError, IssueRequest, LogTileError
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.log import LogClient, LogObjects, check_index, export_log, index_runs
from credstore.proofs.log.index_runs import ROW, Run, cover, enclosing, sound, split_rows
from credstore.proofs.log.note import LocalNoteSigner
from credstore.proofs.log.policy import LogPolicy, PolicyLog
from credstore.proofs.log.sequencer import LARGEST_SUBMISSION
from credstore.proofs.log.serving import LogFiles
from credstore.proofs.log.staging import open_staging
from credstore.proofs.log.tiles import Edge, Tile, parse_path
from tests.proofs.log.logs import PREFIX, Shop
from tests.proofs.log.test_bundled import POLICY, STATEMENT, replaced_rows, run, runs_in

SIZES = {"block": 16, "largest_span": 16 * 256}


async def issued(store, count):
    return [each async for each in store.issue_many([IssueRequest(asset=b"%d" % n) for n in range(count)])]


def stored_runs(stand):
    return {key: each.data for key, each in stand.shop.objects.by_key.items() if "/index/" in key}


async def plant(store, target, data):
    await store.provider.store(f"{PREFIX}{target.path}", data, compress=False)


def test_a_planted_run_over_others_hides_nothing_and_merging_keeps_them():
    """It has as many rows as these and is not theirs."""

    async def test(stand, store):
        proofs = await issued(store, 100)
        await store.index.aclose()
        before = stored_runs(stand)
        target = Run(0, 256)
        await issued(store, 200)  # So that it ends within the log.
        await store.index.aclose()
        await store.index.merge(300)
        assert stored_runs(stand).keys() & before.keys() == set(), "what is merged is removed"
        for key, data in before.items():
            await store.provider.store(key, data, compress=False)
        good = stored_runs(stand)[PREFIX + target.path]
        await plant(store, target, replaced_rows(good))
        planted = stored_runs(stand)
        async with stand.open(writes=False) as reader:
            for each in proofs[:96]:  # The others are in a run of which no part is there any more.
                assert (await reader.get(each.proof_id)).proof_id == each.proof_id
                assert [
                    one.proof_id for one in await reader.find_by_hash(each.proof.record.asset.sha256)
                ] == [each.proof_id]
        await store.index.merge(300)
        assert stored_runs(stand) == planted, "neither removed nor written over"
        objects = LogObjects(store.provider, PREFIX)
        client = LogClient(objects.fetch, policy=POLICY)
        report = await check_index(client, objects, **SIZES, repair=True)
        assert list(report.problems) == [target.path]
        assert (await check_index(client, objects, **SIZES)).problems == {}

    run(test)


def test_planted_parts_never_replace_the_run_that_was_made_of_them():
    async def test(stand, store):
        proofs = await issued(store, 256)
        await store.index.aclose()
        await store.index.merge(256)
        good = stored_runs(stand)
        assert runs_in(stand.shop) == [Run(0, 256).path.removeprefix("index/")]
        for start in range(
            0, 256, 16
        ):  # With more rows together, so that the good one looks as if it lacked some.
            await plant(store, Run(start, start + 16), bytes(2 * 16 * ROW))
        await store.provider.store(
            f"{PREFIX}{Run(0, 256).path}", good[PREFIX + Run(0, 256).path], compress=False
        )
        await store.index.merge(256)
        assert good.items() <= stored_runs(stand).items()
        async with stand.open(writes=False) as reader:
            assert (await reader.get(proofs[200].proof_id)).proof_id == proofs[200].proof_id

    run(test)


def test_parts_that_a_crash_left_are_removed_once_they_are_seen_to_be_merged():
    async def test(stand, store):
        await issued(store, 256 + 16 * 3)
        await store.index.aclose()
        parts = {}
        for start in range(0, 256, 16):
            rows = split_rows(stored_runs(stand)[PREFIX + Run(0, 256).path])
            mine = [row for row in rows if start <= int.from_bytes(row[16:], "big") < start + 16]
            parts[Run(start, start + 16)] = b"".join(mine)
        before = stored_runs(stand)
        for part, data in [*parts.items(), (Run(16, 20), parts[Run(16, 32)][: 4 * ROW])]:
            await plant(store, part, data)
        await store.index.merge(304)
        assert stored_runs(stand) == before

    run(test)


def test_thousands_of_planted_names_are_gone_through_in_one_pass(monkeypatch):
    asked = []
    within = index_runs.is_within
    monkeypatch.setattr(index_runs, "is_within", lambda run, other: asked.append(1) or within(run, other))
    runs = [Run(start, start + end) for start in (0, 4096) for end in range(1, 4096)]
    assert cover(runs, 8192) == ([Run(0, 4095), Run(4096, 8191)], [(4095, 4096), (8191, 8192)])
    assert len(asked) <= 4 * len(runs)


def test_runs_with_more_rows_than_their_entries_can_have_do_not_count():
    inner, outer = Run(0, 16, 33 * ROW), Run(0, 256, 32 * ROW)
    assert sound([inner, outer]) == [outer]
    assert sound([replace(inner, size=32 * ROW), outer]) == [replace(inner, size=32 * ROW), outer]
    assert enclosing([inner, outer], [outer]) == {inner: outer}


@pytest.mark.parametrize("what", [LogObjects, LogFiles])
def test_a_prefix_that_would_run_into_the_names_is_refused_by_readers_as_well(what):
    provider = Shop().provider()
    with pytest.raises(StorageConfigurationError, match="ends with a slash"):
        what(provider, "other")
    assert what(provider, "other/")
    assert what(provider, "")


def test_a_path_has_no_more_groups_than_a_log_can_need():
    last = Tile(0, (2**63 - 1) // 256)
    assert parse_path(last.path) == last
    assert parse_path("tile/0/" + "x000/" * 1500 + "000") is None


@pytest.mark.parametrize(
    "head", ["tile/0/" + "x000/" * 1500 + "000 0", "tile/0/000 0\n" * 6000 + "tile/0/000 0", "tile/0/000 0"]
)
def test_planted_staging_is_refused_before_it_is_gone_through(head):
    with pytest.raises(LogTileError, match="cannot be read" if len(head) > 100 else "not staged"):
        open_staging(head.encode() + b"\n\n", Edge(), 1, bytes(32))


@pytest.mark.parametrize("name", ["²-x", "7", "-", "07-x", "9" * 900 + "-x"])
def test_planted_names_of_staging_are_left(name):
    async def test(stand, store):
        await store.provider.store(f"{PREFIX}staging/{name}", b"x", compress=False)
        await store.provider.store(f"{PREFIX}staging/0-{'0' * 64}", b"x", compress=False)
        await store.sequencer.recover()
        assert [key for key in stand.keys if "/staging/" in key] == [f"{PREFIX}staging/{name}"]

    run(test)


def test_what_cannot_be_read_in_the_inbox_stops_nothing():
    async def test(stand, store):
        await store.sequencer.submit(encode_envelope(STATEMENT))
        huge = bytes(LARGEST_SUBMISSION + 1)
        await store.provider.store(f"{PREFIX}in/0000000000/huge", huge, compress=False)
        assert await store.sequencer.drain() == (1, 1)
        assert [key for key in stand.keys if "/in/" in key] == []

    run(test)


def test_another_log_of_the_policy_is_not_read_in_the_place_of_one():
    """It continues nothing, so that everything that was in the first would be hidden."""

    async def main():
        signers = [LocalNoteSigner(f"log.example/{name}", name.encode() * 32) for name in "ab"]
        shops = [Shop(), Shop()]
        for shop, signer in zip(shops, signers, strict=True):
            shop._look = lambda key: None
            async with shop.open(signer=signer) as log:
                await log.create()
                await log.append([signer.key.name.encode()])
        policy = LogPolicy(tuple(PolicyLog(each.key) for each in signers))
        client = LogClient(LogObjects(shops[0].provider(), PREFIX).fetch, policy=policy)
        assert (await client.checkpoint()).signed.checkpoint.origin == "log.example/a"
        shops[0].objects.by_key.update(shops[1].objects.by_key)
        with pytest.raises(
            CheckpointError, match=r"'log\.example/a' was read here, and now 'log\.example/b'"
        ):
            await client.checkpoint()

    asyncio.run(main())


def test_a_file_of_another_size_in_a_copy_is_written_over_without_reading_it(tmp_path, monkeypatch):
    """Memory may not hold it."""

    async def test(_stand, store):
        await issued(store, 3)
        client = LogClient(LogObjects(store.provider, PREFIX).fetch, policy=POLICY)
        await export_log(client, tmp_path)
        tile = tmp_path / "tile/0/000.p/3"
        good = tile.read_bytes()
        tile.write_bytes(bytes(10_000))
        read = []
        whole = Path.read_bytes
        monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or whole(path))
        await export_log(client, tmp_path)
        monkeypatch.undo()
        assert read
        assert tile not in read
        assert tile.read_bytes() == good

    run(test)
