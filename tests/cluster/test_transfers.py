"""Transfers by workers: what they do, what they must not know, and what it takes to stop them."""

import asyncio
import json
import os
import signal

import pytest

from credstore import StorageConfigurationError, StorageConnectionError, StorageInvalidRequestError
from credstore.cluster import Cluster, StoreAt
from credstore.cluster.messages import VERSION
from credstore.factory import StorageFactory
from tests.cluster import plants
from tests.cluster.conftest import SECRET, Trap, Workers
from tests.proofs.material import ISSUER, SIGNER
from tests.transfer.ends import content, make_tree, tree_of

TREE = {f"d{number % 3}/f{number:02}": bytes([number]) * (number * 90) for number in range(60)}


async def there(url: str) -> dict[str, bytes]:
    async with StorageFactory() as factory:
        return await content(factory.create(url))


async def together(*work):
    """The results of several coroutines, of which one that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
    return [task.result() for task in tasks]


def test_a_folder_goes_to_a_cloud_and_is_compared(workers: Workers, bucket, tmp_path):
    source = make_tree(tmp_path / "source", TREE)
    shown = []

    async def run():
        async with Cluster(workers.address) as cluster:
            moved = await cluster.migrate(
                source, bucket("moved"), journal=tmp_path / "journal", progress=shown.append
            )
            same = await cluster.compare(source, bucket("moved"), journal=tmp_path / "journal")
            (source / "d0/f03").write_bytes(b"changed")
            async with StorageFactory() as factory:
                await factory.create(bucket("moved")).delete("d1/f01")
            other = await cluster.compare(source, bucket("moved"))
            return moved, same, other

    moved, same, other = asyncio.run(run())
    assert moved.complete
    assert moved.counts["copied"] == len(TREE)
    assert moved.bytes == sum(map(len, TREE.values()))
    assert max(each.bytes for each in shown) >= moved.bytes
    assert max(each.objects for each in shown) == len(TREE)
    assert same.equal
    assert other.counts == {"same": len(TREE) - 2, "differing": 1, "missing": 1}
    assert other.compared_by == {"digest": len(TREE) - 1}
    found = asyncio.run(there(bucket("moved")))
    assert found == {name: data for name, data in TREE.items() if name != "d1/f01"}


def test_a_worker_that_is_killed_loses_nothing_and_no_graph_has_a_secret(
    workers, trap: Trap, bucket, tmp_path
):
    """SIGKILL in the middle of a range; before that, all that the scheduler has of the tasks is looked at."""
    source = make_tree(tmp_path / "source", TREE)
    trap.set("d2/f29")

    async def look_and_kill() -> bytes:
        pid = int(await trap.said("reached"))
        graph = await asyncio.to_thread(workers.client.run_on_scheduler, plants.graph)
        os.kill(pid, signal.SIGKILL)
        return graph

    async def run():
        async with Cluster(workers.address) as cluster:
            moving = cluster.migrate(source, bucket("moved"), journal=tmp_path / "journal")
            return await together(moving, look_and_kill())

    report, graph = asyncio.run(run())
    assert report.complete, report.events
    assert report.counts["copied"] == len(TREE)
    assert asyncio.run(there(bucket("moved"))) == TREE
    assert b"d2/f29" in graph
    assert bucket("moved").encode() in graph
    assert SECRET.encode() not in graph


def test_a_worker_that_is_killed_while_it_moves_loses_nothing(workers: Workers, trap: Trap, tmp_path):
    """The source of what was copied by then is deleted by another one."""
    source, target = make_tree(tmp_path / "source", TREE), (tmp_path / "target").as_uri()
    trap.set("d2/f29", "delete_source")

    async def run():
        async with Cluster(workers.address) as cluster:
            return await together(
                cluster.migrate(source, target, delete_source=True, journal=tmp_path / "journal"), trap.kill()
            )

    report, _ = asyncio.run(run())
    assert report.complete, report.events
    assert report.counts["moved"] == len(TREE)
    assert asyncio.run(there(target)) == TREE
    assert tree_of(source) == {}


def test_what_is_at_both_ends_already_is_dropped_even_if_a_worker_dies(workers, trap: Trap, tmp_path):
    source, target = make_tree(tmp_path / "source", TREE), (tmp_path / "target").as_uri()
    trap.set("d1/f40", "delete_source")

    async def run():
        async with Cluster(workers.address) as cluster:
            await cluster.migrate(source, target, journal=tmp_path / "journal")
            return await together(
                cluster.migrate(source, target, delete_source=True, journal=tmp_path / "journal"), trap.kill()
            )

    report, _ = asyncio.run(run())
    assert report.counts["moved"] == len(TREE)
    assert tree_of(source) == {}
    assert asyncio.run(there(target)) == TREE


def test_nothing_is_replaced_though_a_dead_worker_was_there_before(workers, trap: Trap, tmp_path):
    """The range is done again, and what the dead worker has copied is no other's object."""
    source, target = make_tree(tmp_path / "source", TREE), (tmp_path / "target").as_uri()
    trap.set("d2/f59")

    async def run():
        async with Cluster(workers.address) as cluster:
            return await together(cluster.migrate(source, target, overwrite="never"), trap.kill())

    report, _ = asyncio.run(run())
    assert report.complete, report.events
    assert asyncio.run(there(target)) == TREE


def test_objects_that_kill_every_worker_are_named_and_the_others_go_on(workers: Workers, tmp_path):
    source, target = make_tree(tmp_path / "source", TREE), (tmp_path / "target").as_uri()
    workers.client.run(plants.die_at, "copy", "d0/f06")
    before = workers.client.run_on_scheduler(plants.most_failures, 0)

    async def run():
        async with Cluster(workers.address) as cluster:
            return await cluster.migrate(source, target)

    try:
        report = asyncio.run(run())
    finally:
        workers.client.run_on_scheduler(plants.most_failures, before)
    failed = {event.name: event.error for event in report.events}
    assert "d0/f06" in failed
    assert {error.code for error in failed.values()} == {"WORKER_LOST"}
    assert all(error.applied == "maybe" for error in failed.values())
    assert report.counts["copied"] == len(TREE) - len(failed) > 0
    found = asyncio.run(there(target))
    assert found.items() <= TREE.items()
    assert len(found) >= report.counts["copied"]


@pytest.mark.parametrize(
    "url", ["s3://canary-key:canary-secret@bucket/x", "s3://bucket?secret_access_key=canary"]
)
def test_a_url_with_a_key_is_refused_before_anything_is_submitted(url, tmp_path):
    """Without so much as a connection, since none was opened."""

    async def run():
        await Cluster("tcp://127.0.0.1:1").migrate(url, tmp_path)

    with pytest.raises(StorageConfigurationError, match="must not have"):
        asyncio.run(run())


def test_an_open_store_is_refused_since_it_has_credentials(tmp_path):
    async def run():
        async with StorageFactory() as factory:
            await Cluster().migrate(factory.create((tmp_path / "x").as_uri()), tmp_path)

    with pytest.raises(StorageInvalidRequestError):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MINIO_SECRET_KEY", None, "MINIO_SECRET_KEY"),
        ("CREDSTORE_URL", "file:///elsewhere", "the source is another one"),
    ],
)
def test_a_worker_that_lacks_a_setting_is_named_with_it(
    workers: Workers, bucket, tmp_path, *, name, value, said
):
    target = bucket("moved")

    async def run():
        async with Cluster(workers.address) as cluster:
            await cluster.migrate("store:", target)

    with (
        workers.with_variables({"CREDSTORE_URL": make_store(tmp_path / "ours")}),
        workers.with_variable(name, value) as worker,
        pytest.raises(StorageConfigurationError) as refused,
    ):
        asyncio.run(run())
    assert worker in refused.value.message
    assert said in refused.value.message
    assert refused.value.code == "WORKER_UNFIT"
    assert asyncio.run(there(target)) == {}


def make_store(folder) -> str:
    make_tree(folder, {"a": b"1"})
    return folder.as_uri()


def test_a_worker_with_another_version_is_refused(workers: Workers, tmp_path):
    worker = workers.all_there()[-1]
    workers.client.run(plants.set_version, "9.9.9", workers=[worker])

    async def run():
        async with Cluster(workers.address) as cluster:
            await cluster.migrate(make_tree(tmp_path / "source", {"a": b"1"}), (tmp_path / "b").as_uri())

    try:
        with pytest.raises(StorageConfigurationError, match=r"9\.9\.9") as refused:
            asyncio.run(run())
    finally:
        workers.client.run(plants.set_version, VERSION, workers=[worker])
    assert worker in refused.value.message
    assert not (tmp_path / "b").exists()


def test_no_scheduler_is_one_clear_line(monkeypatch):
    monkeypatch.setattr("credstore.cluster.connecting.PATIENCE", 0.1)

    async def run():
        async with Cluster("tcp://127.0.0.1:1"):
            pass

    with pytest.raises(StorageConnectionError, match="no scheduler responds at tcp://127") as refused:
        asyncio.run(run())
    assert refused.value.code == "CLUSTER_UNREACHABLE"


def test_a_directory_of_another_machine_is_refused_unless_they_share_it(workers: Workers, tmp_path):
    """One worker says that it is on another machine; both ends are directories, which it would have of its own."""
    source, target = make_tree(tmp_path / "source", TREE), (tmp_path / "target").as_uri()
    worker = workers.all_there()[0]
    workers.client.run(plants.move_elsewhere, workers=[worker])

    async def run(*, shared: bool):
        async with Cluster(workers.address, shared_paths=shared) as cluster:
            return await cluster.migrate(source, target)

    with pytest.raises(StorageConfigurationError, match="share their paths") as refused:
        asyncio.run(run(shared=False))
    assert worker in refused.value.message
    assert not asyncio.run(there(target))
    assert asyncio.run(run(shared=True)).complete


def test_evidence_is_written_by_the_coordinator(workers: Workers, tmp_path):
    source, target = make_tree(tmp_path / "source", TREE), (tmp_path / "target").as_uri()

    async def run():
        async with Cluster(workers.address) as cluster:
            return await cluster.migrate(
                source, target, evidence=tmp_path / "list.jsonl", signer=SIGNER, issuer=ISSUER
            )

    assert asyncio.run(run()).complete
    lines = [json.loads(line) for line in (tmp_path / "list.jsonl").read_text().splitlines()]
    assert [line["name"] for line in lines] == sorted(TREE)


def test_two_runs_of_one_place_after_another_use_the_same_journal(workers: Workers, tmp_path):
    source, target = make_tree(tmp_path / "source", TREE), StoreAt((tmp_path / "t").as_uri(), prefix="in/")

    async def run():
        async with Cluster(workers.address) as cluster:
            await cluster.migrate(source, target, journal=tmp_path / "journal")
            return await cluster.migrate(source, target, journal=tmp_path / "journal")

    again = asyncio.run(run())
    assert again.counts == {"same": len(TREE)}
    assert again.compared_by == {"journal": len(TREE)}
