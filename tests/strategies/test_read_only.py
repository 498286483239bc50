"""`read_only=True`: nothing in a store is changed, whatever is called, and nothing is sent to find that out."""

import asyncio
import inspect
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credstore import (
    ClientSide,
    KeyRing,
    LocalConfig,
    LocalKey,
    MemoryConfig,
    StorageFactory,
    StorageProvider,
    StorageReadOnlyError,
    collect,
)
from credstore import driver as contract
from credstore.artifacts import StorageManager
from credstore.driver import (
    BytesBody,
    CopyRequest,
    Driver,
    KeepsConnections,
    MakesUploadForms,
    ObjectInfo,
    ReadOptions,
    SignRequest,
)
from credstore.driver.upload_forms import FormRequest
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageUnavailableError
from credstore.pipeline.training import train_dictionary
from credstore.proofs import ProofStore
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.prefixed import prefixed
from credstore.strategies.read_only import ABILITIES, ReadOnlyDriver, only_read
from credstore.testing.harness import fetched, keys, put, request
from credstore.transfer import compare, migrate, sync
from tests.proofs import material
from tests.strategies.faulty import Faulty

NO_ABILITIES = {contract.Body, contract.Driver, contract.Journal}
READS = {
    "part_size",
    "aclose", "capabilities", "circuits", "requests", "get", "get_retention", "get_tags", "head", "keeps_versions", "list",
    "list_versions", "name", "ping", "reaches", "stored_digest", "verify_link", "wants_checksums", "warm",
}  # fmt: skip
"""Members of the contract without an effect. `sign` has one or not, as its method says."""
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
ARGUMENTS = {
    "length": 1,
    "bypass_governance": False, "cursor": None, "deadline": None, "delimiter": None, "exact": False, "held": True,
    "if_match": None, "key": "k", "keys": ["k"], "limit": 10, "mode": "governance", "options": ReadOptions(),
    "prefix": "", "retain_until": SOON, "start_after": None, "tags": {"a": "1"}, "version_id": None,
    "versions": [("k", "1")], "grace": timedelta(days=1), "connections": 1, "method": "GET", "path": "/", "query": {}, "now": 0.0,
    "info": ObjectInfo(key="k", size=4), "other": MemoryDriver(MemoryConfig()),
}  # fmt: skip
REQUESTS = {
    "put": request("k"),
    "copy": CopyRequest(source=ObjectInfo(key="k", size=4), destination="l", write_id="0" * 32),
    "copy_across": CopyRequest(source=ObjectInfo(key="k", size=4), destination="l", write_id="0" * 32),
    "sign": SignRequest(key="k", method="PUT"),
    "upload_form": FormRequest(key="k", below=False, max_size=1, expires_in=60.0),
}


def protocols():
    return {
        each
        for _, each in inspect.getmembers(contract, inspect.isclass)
        if getattr(each, "_is_protocol", False) and each.__module__.startswith(contract.__name__)
    } - NO_ABILITIES | {Driver}


def members():
    """Every member of the contract, with the signature of those that are called."""
    return {
        name: member
        for each in protocols()
        for name, member in inspect.getmembers(each)
        if not name.startswith("_")
    }


class Recording(MemoryDriver):
    """Has every optional protocol, and records what arrives."""

    def __init__(self) -> None:
        super().__init__(MemoryConfig())
        self.calls: list[str] = []


for _name, _member in members().items():
    if callable(_member):

        def _record(self, *_given, _name=_name, **_named):
            self.calls.append(_name)

        async def _answer(self, *_given, _name=_name, **_named):
            self.calls.append(_name)

        setattr(Recording, _name, _answer if inspect.iscoroutinefunction(_member) else _record)
    elif _name not in {"name", "capabilities"}:
        setattr(Recording, _name, {})


def called(driver, name):
    """Call a member with arguments that are right."""
    member = getattr(driver, name)
    if not callable(member):
        return None
    given = {
        each: REQUESTS[name] if each == "request" else ARGUMENTS[each]
        for each in inspect.signature(member).parameters
    }
    result = member(**given)
    return asyncio.run(result) if inspect.isawaitable(result) else result


@pytest.mark.parametrize("name", sorted(members()))
def test_every_member_of_the_contract_is_a_read_or_refused(name):
    """A verb that is added to the contract is refused here, or fails this test."""
    inner = Recording()
    driver = only_read(inner)
    if name in READS:
        called(driver, name)
        assert inner.calls in ([name], [])
        return
    with pytest.raises(StorageReadOnlyError) as caught:
        called(driver, name)
    assert inner.calls == []
    error = caught.value
    assert (error.code, error.applied, error.retryable) == ("READ_ONLY", "no", False)
    assert isinstance(error, PermissionError)


def test_every_optional_protocol_is_there_and_no_other():
    assert protocols() - {Driver} == set(ABILITIES)
    assert all(isinstance(only_read(Recording()), each) for each in ABILITIES)
    assert not isinstance(only_read(MemoryDriver(MemoryConfig())), KeepsConnections | MakesUploadForms)


def test_links_to_read_are_made_and_no_others():
    async def main():
        driver = only_read(MemoryDriver(MemoryConfig()))
        assert driver.capabilities.presign == {"GET", "HEAD"}
        assert not driver.capabilities.writable
        assert driver.capabilities is driver.capabilities
        for method in ("GET", "HEAD"):
            assert (await driver.sign(SignRequest(key="k", method=method))).url
        for method in ("PUT", "DELETE"):
            with pytest.raises(StorageReadOnlyError):
                await driver.sign(SignRequest(key="k", method=method))
        await driver.aclose()

    asyncio.run(main())


def test_a_link_that_writes_is_not_honoured_whoever_made_it():
    inner = Recording()
    assert only_read(inner).verify_link("GET", "/k", {}, 0.0) is None
    with pytest.raises(StorageReadOnlyError):
        only_read(inner).verify_link("PUT", "/k", {}, 0.0)


def verbs(provider):
    """Everything a user can call that has an effect."""
    dictionary = train_dictionary([b"sample %d of many" % each for each in range(2000)])
    return {
        "store": lambda: provider.store("k", b"1"),
        "delete": lambda: provider.delete("k"),
        "delete all": lambda: provider.batch_delete(["k"], all_versions=True),
        "batch_delete": lambda: provider.batch_delete(["k"]),
        "delete_versions": lambda: provider.delete_versions("k"),
        "copy": lambda: provider.copy("k", "l"),
        "move": lambda: provider.move("k", "l"),
        "rotate_keys": provider.rotate_keys,
        "forget_key": lambda: provider.forget_key("k"),
        "add_dictionary": lambda: provider.add_dictionary(dictionary),
        "restore": lambda: provider.restore("k", "1"),
        "retain": lambda: provider.retain("k", until=SOON),
        "hold": lambda: provider.hold("k"),
        "release": lambda: provider.release("k"),
        "put link": lambda: provider.get_signed_url("k", 60, "PUT"),
        "delete link": lambda: provider.get_signed_url("k", 60, "DELETE"),
        "collect": lambda: collect(provider),
        "form": lambda: provider.get_upload_form("k", max_size=1),
    }


VERBS = sorted(verbs(StorageProvider(MemoryDriver(MemoryConfig()), MemoryConfig())))


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_refused_before_any_request(verb, wrapped):
    async def main():
        inner = Recording()
        config = MemoryConfig(read_only=True)
        policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s")
        driver = only_read(inner) if wrapped else inner
        async with StorageProvider(driver, config, encryption=policy) as provider:
            with pytest.raises(StorageReadOnlyError) as caught:
                await verbs(provider)[verb]()
            assert inner.calls == []
            assert caught.value.provider == "memory"
            assert caught.value.operation is not None
            assert "read_only=True" in str(caught.value)

    asyncio.run(main())


def test_the_verbs_above_are_all_that_a_call_marks_as_changing():
    """A verb with an effect says so to its call (`mutation=True`), and is tried above."""
    found = set()
    for path in (Path(inspect.getfile(StorageProvider)).parent).glob("*.py"):
        for line in path.read_text().splitlines():
            if "mutation=True" in line and ".call(" in line:
                found.add(line.split('call("')[1].split('"')[0])
    tried = {each.split()[0] for each in VERBS} | {"delete"}
    assert found <= tried


@pytest.fixture
def filled(tmp_path):
    """The root of a local store with an object, and a link secret."""

    async def main():
        async with StorageFactory() as factory:
            provider = factory.create(LocalConfig(path=tmp_path / "store", fsync=False))
            await provider.store("a/k", b"content", metadata={"x": "1"}, tags={"t": "1"})
            await provider.get_signed_url("a/k", 60)

    asyncio.run(main())
    return tmp_path / "store"


def looks(root):
    """Everything below a directory, with times and sizes."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size, path.lstat().st_ino)
        for path in sorted(root.rglob("*"))
    }


def test_a_local_store_is_read_and_nothing_on_the_disk_changes(filled):
    before = looks(filled)

    async def main():
        async with StorageFactory(environ={}) as factory:
            provider = factory.create(f"file://{filled}?read_only=true")
            assert await provider.retrieve("a/k") == b"content"
            assert (await provider.get_metadata("a/k")).metadata == {"x": "1"}
            assert [each.key for each in await provider.list()] == ["a/k"]
            assert (await provider.get_stats()).total_objects == 1
            assert (await provider.health_check()).healthy
            assert await provider.get_signed_url("a/k", 60)
            with pytest.raises(StorageReadOnlyError):
                await provider.store("a/l", b"1")

    asyncio.run(main())
    assert looks(filled) == before


def test_a_directory_that_may_only_be_read_is_healthy(filled, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_given, **_named: False)

    async def main():
        async with StorageFactory(environ={}) as factory:
            assert (await factory.create(f"file://{filled}?read_only=true").health_check()).healthy
            assert not (await factory.create(f"file://{filled}").health_check()).healthy

    asyncio.run(main())


def test_nothing_is_made_where_nothing_is(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            provider = factory.create(f"file://{tmp_path}/absent?read_only=true")
            assert not (await provider.health_check()).healthy
            (tmp_path / "empty").mkdir()
            empty = factory.create(f"file://{tmp_path}/empty?read_only=true")
            assert await empty.list() == []
            with pytest.raises(StorageReadOnlyError, match="secret"):
                await empty.get_signed_url("k", 60, check=False)

    asyncio.run(main())
    assert [each.name for each in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize(
    "make",
    [
        lambda factory: factory.create("memory://m?read_only=true"),
        lambda factory: factory.create({"provider": "memory", "read_only": "true"}),
        lambda factory: factory.create(MemoryConfig(read_only=True)),
        lambda factory: factory.create("memory://m/team", read_only=True),
        lambda factory: factory.from_env({"CREDSTORE_URL": "memory://m"}, read_only=True),
        lambda factory: factory.from_env({"CREDSTORE_URL": "memory://m", "CREDSTORE_READ_ONLY": "true"}),
        lambda factory: factory.create_with_fallback("memory://a", "memory://b", read_only=True),
        lambda factory: factory.create_with_fallback("memory://a?read_only=true", "memory://b"),
    ],
)
def test_every_way_to_open_a_store_can_say_so(make):
    async def main():
        async with StorageFactory(environ={}) as factory:
            provider = make(factory)
            assert not provider.capabilities.writable
            with pytest.raises(StorageReadOnlyError):
                await provider.store("k", b"1")
            assert await provider.retrieve("k") is None

    asyncio.run(main())


def test_a_variable_counts_for_every_store():
    async def main():
        async with StorageFactory(environ={"CREDSTORE_READ_ONLY": "1"}) as factory:
            assert not factory.create("memory://m").capabilities.writable

    asyncio.run(main())


def test_a_prefix_of_it_is_read_only_too():
    part = prefixed(only_read(MemoryDriver(MemoryConfig())), "p/")
    assert not part.capabilities.writable
    assert isinstance(only_read(prefixed(MemoryDriver(MemoryConfig()), "p/")), ReadOnlyDriver)


def test_proofs_are_verified_and_nothing_else():
    async def main():
        objects = MemoryObjects()

        def store(config):
            driver = MemoryDriver(config, objects=objects)
            return ProofStore(
                StorageProvider(only_read(driver) if config.read_only else driver, config),
                trust=material.TRUST,
                signer=material.SIGNER,
                issuer=material.ISSUER,
                close_provider=True,
            )

        async with store(MemoryConfig()) as proofs:
            proof = await proofs.issue(b"asset")
        before = dict(objects.by_key)
        async with store(MemoryConfig(read_only=True)) as proofs:
            assert (await proofs.get(proof.proof_id, asset=b"asset")).proof_id == proof.proof_id
            for change in (
                lambda: proofs.issue(b"other"),
                lambda: proofs.revoke(proof.proof_id),
                lambda: proofs.delete(proof.proof_id),
                proofs.sweep_expired,
                lambda: proofs.fsck(repair=True),
            ):
                with pytest.raises(StorageReadOnlyError) as caught:
                    await change()
                assert caught.value.operation.startswith("proof.")
            # An index name that leads nowhere is left where it is.
            record = next(key for key in objects.by_key if proof.proof_id in key and "index" not in key)
            objects.remove(record)
            before.pop(record)
            await proofs.find_by_hash(proof.record.asset.sha256)
        assert objects.by_key == before

    asyncio.run(main())


def test_artifacts_and_transfers_are_refused_before_they_look(tmp_path):
    (tmp_path / "f").write_bytes(b"1")

    async def main():
        inner = Recording()
        config = MemoryConfig(read_only=True)
        async with (
            StorageProvider(only_read(inner), config) as provider,
            StorageProvider(MemoryDriver(MemoryConfig()), MemoryConfig()) as other,
        ):
            manager = StorageManager(
                provider, trust=material.TRUST, signer=material.SIGNER, issuer=material.ISSUER
            )
            for change in (
                lambda: manager.save_dataset("d", tmp_path),
                lambda: manager.backup(tmp_path, name="d"),
                lambda: manager.tag("d", "t"),
                lambda: manager.untag("d", "t"),
                lambda: manager.prune("d", 1),
                lambda: manager.save_checkpoint("r", 1, tmp_path),
                lambda: manager.archive_logs(tmp_path, older_than="7d", name="d"),
                lambda: sync(tmp_path, provider),
                lambda: migrate(provider, other, delete_source=True),
            ):
                with pytest.raises(StorageReadOnlyError):
                    await change()
            assert inner.calls == []

    asyncio.run(main())


def test_a_read_only_store_can_be_copied_from_and_compared(tmp_path):
    async def main():
        objects = MemoryObjects()
        await put(MemoryDriver(MemoryConfig(), objects=objects), "k", b"1")
        source = StorageProvider(
            only_read(MemoryDriver(MemoryConfig(), objects=objects)), MemoryConfig(read_only=True)
        )
        async with source, StorageProvider(MemoryDriver(MemoryConfig()), MemoryConfig()) as other:
            assert (await migrate(source, other)).complete
            assert await other.retrieve("k") == b"1"
            assert (await compare(other, source)).equal

    asyncio.run(main())


def fallback_over(primary, secondary, *frozen):
    return FallbackDriver(
        only_read(primary) if "primary" in frozen else primary,
        only_read(secondary) if "fallback" in frozen else secondary,
    )


def test_a_fallback_that_may_only_be_read_takes_no_write_and_no_note():
    async def main():
        first, second = Faulty("first"), Faulty("second")
        both = fallback_over(first, second, "fallback")
        assert both.capabilities.writable
        first.mode = "down"
        with pytest.raises(StorageUnavailableError, match="second is read-only") as caught:
            await put(both, "k")
        assert caught.value.applied == "no"
        assert not {"put", "delete"} & set(second.calls)
        first.mode = "well"
        await put(both, "k", b"new")
        assert await fetched(both, "k") == b"new"
        assert not {"put", "delete"} & set(second.calls)

    asyncio.run(main())


def test_what_a_read_only_fallback_has_cannot_be_deleted_and_all_else_can():
    async def main():
        first, second = Faulty("first"), Faulty("second")
        await put(second, "old")
        both = fallback_over(first, second, "fallback")
        await put(both, "new")
        await put(both, "old", b"newer")
        first.calls.clear()
        with pytest.raises(StorageReadOnlyError, match="second"):
            await both.delete("old")
        assert first.calls == []
        assert (await both.delete("new")).existed
        await put(both, "new")
        outcomes = await both.delete_many(["old", "new"])
        assert isinstance(outcomes["old"], StorageReadOnlyError)
        assert outcomes["new"].existed
        assert await keys(both) == ["old"]
        assert await fetched(both, "old") == b"newer"
        with pytest.raises(StorageReadOnlyError, match="second"):
            await both.set_legal_hold(
                "old", held=True
            ) if both.capabilities.legal_holds else await both._versions.lock(
                "old", None, lambda *_: pytest.fail("the other member was changed"), None
            )

    asyncio.run(main())


def test_a_primary_that_may_only_be_read_makes_the_whole_so():
    async def main():
        first, second = Faulty("first"), Faulty("second")
        await put(first, "k", b"1")
        both = fallback_over(first, second, "primary")
        assert not both.capabilities.writable
        for change in (
            lambda: put(both, "k"),
            lambda: both.delete("k"),
            lambda: both.delete_many(["k"]),
            lambda: both.put_tags("k", {"a": "1"}),
        ):
            with pytest.raises(StorageReadOnlyError):
                await change()
        source = await both.head("k")
        with pytest.raises(StorageReadOnlyError):
            await both.copy(CopyRequest(source=source, destination="l", write_id="0" * 32))
        first.mode = "down"
        with pytest.raises(StorageReadOnlyError):
            await both.put(request("k", body=BytesBody(b"1"), digest=None))
        assert not {"put", "delete"} & set(second.calls)
        first.mode = "well"
        assert await fetched(both, "k") == b"1"

    asyncio.run(main())
