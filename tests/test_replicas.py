"""Replicas from the outside: made from URLs and mappings, scrubbed, signed for, and grown."""

import asyncio
import json

import pytest

from credstore import (
    MemoryConfig,
    StorageConfigurationError,
    StorageFactory,
    StorageProvider,
    StorageQuorumError,
    StorageUnsupportedError,
)
from credstore.cli.main import run
from credstore.drivers.memory import MemoryDriver
from credstore.proofs.format.errors import ProofError
from credstore.replicas import add_replica, catch_up, scrub, verify_scrub, write_scrub_report
from credstore.strategies.balanced.driver import BalancedDriver
from credstore.strategies.fastest.driver import FastestDriver
from credstore.strategies.priced.driver import PricedDriver
from credstore.strategies.redundant.driver import RedundantDriver
from credstore.strategies.table import STRATEGIES
from tests.proofs import material


@pytest.fixture
def urls(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    return [f"file://{tmp_path / name}" for name in ("one", "two", "three")]


def driver_of(provider):
    return provider._session.driver


def test_every_strategy_is_made_by_its_word(urls):
    async def main():
        kinds = {
            "REDUNDANT": RedundantDriver,
            "LOAD_BALANCED": BalancedDriver,
            "COST_OPTIMIZED": PricedDriver,
            "PERFORMANCE_OPTIMIZED": FastestDriver,
        }
        assert {*kinds, "PRIMARY_ONLY"} == set(STRATEGIES)
        async with StorageFactory(environ={}) as factory:
            for word, kind in kinds.items():
                made = factory.create_multi(urls, strategy=word.lower().replace("_", "-"))
                assert type(driver_of(made)) is kind
                assert factory.create_multi(urls, strategy=word) is made
                assert factory.create({"provider": "multi", "strategy": word, "stores": urls}) is made
                query = "&".join(f"store={url}" for url in urls)
                assert factory.create(f"multi://{word.lower()}?{query}") is made
                assert factory.from_env({"CREDSTORE_URL": f"multi://{word.lower()}?{query}"}) is made
                await made.store("key", b"data")
                assert await made.retrieve("key") == b"data"
                await made.delete("key")
            only = factory.create_multi(urls, strategy="PRIMARY_ONLY")
            result = await only.store("key", b"data")
            assert result.replicas == ("local",)

    asyncio.run(main())


def test_quorums_and_weights_are_passed_on(urls):
    async def main():
        query = "&".join(f"store={url}" for url in urls)
        async with StorageFactory(environ={}) as factory:
            made = factory.create(f"multi://redundant?{query}&write_quorum=3&read_quorum=1")
            assert (driver_of(made).quorums.write, driver_of(made).quorums.read) == (3, 1)
            made = factory.create(f"multi://load_balanced?{query}&weights=1,2,1")
            assert driver_of(made)._weights == (1.0, 2.0, 1.0)
            assert factory.create_multi(urls, strategy="LOAD_BALANCED", weights=[1, 2, 1])
            made = factory.create(f"multi://cost_optimized?{query}&days=90")
            assert driver_of(made)._days == 90

    asyncio.run(main())


@pytest.mark.parametrize(
    ("stores", "strategy", "options", "message"),
    [
        (["memory://a", "memory://b"], "REDUNDNT", {}, "did you mean REDUNDANT"),
        (["memory://a", "memory://b"], "REDUNDANT", {"weights": (1.0, 2.0)}, "no option 'weights'"),
        (["memory://a", "memory://b"], "REDUNDANT", {"write_quorum": "2"}, "whole number"),
        (["memory://a", "memory://b"], "REDUNDANT", {"write_quorum": 1, "read_quorum": 1}, "could miss"),
        (["memory://a", "memory://b"], "LOAD_BALANCED", {"weights": (1.0,)}, "weights"),
        (["memory://a"], "REDUNDANT", {}, "at least 2"),
        (["memory://a", "memory://b"], "COST_OPTIMIZED", {"days": 0}, "above 0"),
        (["memory://a", "memory://b"], "COST_OPTIMIZED", {"days": True}, "above 0"),
        (["memory://a", "memory://b"], "REDUNDANT", {"days": 1.0}, "no option 'days'"),
        (["file:///tmp/a", "file:///tmp/a/b"], "REDUNDANT", {}, "two of the stores"),
        ("memory://a", "REDUNDANT", {}, "list of stores"),
        (["multi://redundant?store=a", "memory://b"], "REDUNDANT", {}, "several stores"),
    ],
)
def test_what_does_not_work_together_is_refused(stores, strategy, options, message):
    with pytest.raises(StorageConfigurationError, match=message):
        StorageFactory(environ={}).create_multi(stores, strategy=strategy, **options)


@pytest.mark.parametrize(
    "store",
    [
        "multi://redundant",
        "multi:redundant?store=memory://a",
        "multi://user:secret@redundant?store=memory://a",
        "multi://redundant?store=memory://a&write_quorum=two",
        "multi://redundant?write_quorum=2&write_quorum=2&store=memory://a",
        {"provider": "multi", "stores": "memory://a"},
        {"provider": "multi", "stores": ["memory://a"], "strategy": 7},
    ],
)
def test_what_is_not_written_so_is_refused(store):
    with pytest.raises(StorageConfigurationError) as caught:
        StorageFactory(environ={}).create(store)
    assert "secret" not in str(caught.value)


def test_a_scrub_mends_and_its_report_is_signed(urls, tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            store = factory.create_multi(urls)
            await store.store("a/1", b"one")
            await store.store("b/2", b"two")
            await driver_of(store).settled()
            (tmp_path / "two" / "a" / "1").write_bytes(b"bad")
            (tmp_path / "three" / "b" / "2").unlink()
        async with StorageFactory(environ={}) as factory:
            store = factory.create_multi(urls)
            report = await scrub(store, "a/")
            assert store.metrics().verbs["scrub"].notes == {"repair": 1}
            assert [(each.kind, each.mended) for each in report.findings] == [("corrupt", True)]
            report = await scrub(store)
            assert [(each.key, each.kind) for each in report.findings] == [("b/2", "missing")]
            assert report.equal
            assert await catch_up(store) == 0
            await write_scrub_report(report, tmp_path / "report.json", material.SIGNER, material.ISSUER)
            verified = await verify_scrub(tmp_path / "report.json", material.TRUST)
            assert (verified.equal, verified.share, verified.issuer) == (True, "1/1", material.ISSUER)
            told = json.loads((tmp_path / "report.json").read_text())
            told["equal"] = False
            (tmp_path / "report.json").write_text(json.dumps(told))
            with pytest.raises(ProofError):
                await verify_scrub(tmp_path / "report.json", material.TRUST)
            assert (tmp_path / "two" / "a" / "1").read_bytes() == b"one"

    asyncio.run(main())


def test_a_replica_is_added_while_the_store_is_used(urls):
    async def main():
        async with StorageFactory(environ={}) as factory:
            store = factory.create_multi(urls)
            for number in range(10):
                await store.store(f"key/{number}", b"%d" % number)
            fourth = MemoryDriver(MemoryConfig())
            report = await add_replica(store, StorageProvider(fourth, MemoryConfig()))
            assert report.equal
            assert {key for key in fourth._objects.by_key if key.startswith("key/")} == {
                f"key/{number}" for number in range(10)
            }
            assert list(store.bill().members)[-1].provider == "memory"
            result = await store.store("new", b"new")
            assert len(result.replicas) >= 3
            assert [await store.retrieve(f"key/{number}") for number in range(10)] == [
                b"%d" % number for number in range(10)
            ]

    asyncio.run(main())


def test_a_store_without_replicas_has_nothing_to_scrub():
    async def main():
        store = StorageProvider(MemoryDriver(MemoryConfig()), MemoryConfig())
        with pytest.raises(StorageUnsupportedError, match="no replicas"):
            await scrub(store)

    asyncio.run(main())


def test_the_error_of_a_quorum_travels():
    import pickle

    from credstore.errors import ReplicaOutcome

    error = StorageQuorumError("too few", outcomes=(ReplicaOutcome(replica="r2", applied="maybe"),))
    assert pickle.loads(pickle.dumps(error)).outcomes == error.outcomes


def test_the_command_scrubs_and_says_what_is_left(urls, tmp_path, capsys):
    query = "&".join(f"store={url}" for url in urls)
    store = ["--store", f"multi://redundant?{query}"]

    async def fill():
        async with StorageFactory(environ={}) as factory:
            await factory.create_multi(urls).store("a/1", b"data")

    asyncio.run(fill())
    assert run([*store, "scrub", "--share", "1/1"]) == 0
    for name in ("two", "three"):
        (tmp_path / name / "a" / "1").write_bytes(b"bad")
    assert run([*store, "scrub", "--share", "1/1"]) == 7
    assert "a/1: corrupt at local (2)" in capsys.readouterr().err
    (tmp_path / "b").write_bytes(b"more")
    assert run([*store, "put", str(tmp_path / "b"), "b"]) == 0


def test_the_command_signs_a_report(urls, tmp_path, monkeypatch):
    query = "&".join(f"store={url}" for url in urls)
    monkeypatch.setenv("CREDSTORE_URL", f"multi://redundant?{query}")
    monkeypatch.chdir(tmp_path)
    key = tmp_path / "key.pem"
    monkeypatch.setenv("CREDSTORE_PROOF_PASSPHRASE", "a long enough passphrase")
    assert run(["proof", "keys", "generate", str(key), "--issuer", "https://issuer.example"]) == 0
    report = ["--report", str(tmp_path / "report.json")]
    assert run(["scrub", *report]) == 2
    assert run(["scrub", *report, "--key", str(key), "--issuer", "https://issuer.example"]) == 0
    assert (tmp_path / "report.json.dsse.json").exists()


def test_the_demo_loses_a_disk_and_passes(capsys):
    assert run(["demo", "--multi"]) == 0
    assert "All 11 checks passed" in capsys.readouterr().out
