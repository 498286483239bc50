"""What readers refuse is not stored; and what they refuse later stands in the way of nothing else."""

import os
from dataclasses import replace
from datetime import timedelta

import pytest

from credstore import (
    StorageConfigurationError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
)
from credstore.artifacts import archiving, models
from credstore.artifacts.metrics import LONGEST_METRIC, MOST_METRICS, checked_metrics
from credstore.artifacts.statements import LARGEST_STATEMENT, ArtifactVersion, Seals
from credstore.proofs import ProofError, ProofKeyExpiredError, ProofUntrustedKeyError
from credstore.proofs.format.signing import LocalSigner
from credstore.proofs.format.trust import TrustStore, trust_key
from tests.artifacts.stores import HookedDriver, Store, read, run, write
from tests.proofs.material import ISSUER, START

DAY = timedelta(days=1)
OLD = LocalSigner.generate("ecdsa-p256-sha256")
NEW = LocalSigner.generate("ecdsa-p256-sha256")
NEW_KEY = trust_key(NEW.public_key, issuers=[ISSUER], valid_from=START)


def trusting(**changes):
    """A trust store with both keys, OLD's as it is said."""
    old = trust_key(OLD.public_key, **{"issuers": [ISSUER], "valid_from": START, **changes})
    return TrustStore(1, (old, NEW_KEY))


ONLY_NEW = TrustStore(1, (NEW_KEY,))


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "home", {"a": b"1" * 1000})


def managers(store):
    """Of before a key was refused, and of after."""
    clock = {"clock": lambda: START + DAY}
    return (
        store.manager(trust=trusting(), signer=OLD, **clock),
        store.manager(trust=ONLY_NEW, signer=NEW, **clock),
    )


def verbs(manager, folder):
    """Everything that signs."""
    return {
        "dataset": lambda: manager.save_dataset("set", folder),
        "model": lambda: manager.register_model("m", folder),
        "checkpoint": lambda: manager.save_checkpoint("run", 2, folder),
        "backup": lambda: manager.backup(folder),
        "archive": lambda: manager.archive_logs(folder, older_than="1d", name="logs"),
        "tag": lambda: manager.tag("set", "prod"),
        "stage": lambda: manager.set_stage("m", "production"),
    }


VERBS = ["dataset", "model", "checkpoint", "backup", "archive", "tag", "stage"]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("window", "at", "error"),
    [
        ({"valid_until": START + DAY}, START + 2 * DAY, ProofKeyExpiredError),
        ({"valid_from": START + DAY}, START + DAY - timedelta(minutes=1), ProofKeyExpiredError),
        ({"usages": ["revoke"]}, START + DAY, ProofUntrustedKeyError),
    ],
)
def test_a_key_that_readers_refuse_signs_nothing(folder, verb, window, at, error):
    store = Store()
    os.utime(folder / "a", (0, 0))

    async def main():
        good, _ = managers(store)
        await good.save_dataset("set", folder)
        await good.register_model("m", folder)
        there, bytes_here = store.names(), read(folder)
        bad = store.manager(trust=trusting(**window), signer=OLD, clock=lambda: at)
        with pytest.raises(error) as caught:
            await verbs(bad, folder)[verb]()
        assert caught.value.applied == "no"
        assert store.names() == there
        assert read(folder) == bytes_here

    run(main())


@pytest.mark.parametrize("verb", VERBS)
def test_a_key_that_expires_while_something_is_saved_signs_nothing(folder, verb):
    """The first look at the key is before anything is read; what counts is the time that is signed."""
    store = Store()
    os.utime(folder / "a", (0, 0))

    async def main():
        good, _ = managers(store)
        await good.save_dataset("set", folder)
        await good.register_model("m", folder)
        there, bytes_here, now = store.names(), read(folder), [START]

        async def later(_):
            now[0] = START + 2 * DAY

        trust = trusting(valid_until=START + DAY)
        late = store.manager(later, trust=trust, signer=OLD, clock=lambda: now[0])
        with pytest.raises(ProofKeyExpiredError) as caught:
            await verbs(late, folder)[verb]()
        assert caught.value.applied == "no"
        assert store.names() == there
        assert read(folder) == bytes_here

    run(main())


def test_a_key_that_may_not_sign_models_signs_none(folder):
    store = Store()
    trust = TrustStore(
        1, (trust_key(OLD.public_key, issuers=[ISSUER], usages=["revoke"], valid_from=START), NEW_KEY)
    )
    manager = store.manager(trust=trust, signer=NEW, model_signer=OLD)
    with pytest.raises(ProofUntrustedKeyError):
        run(manager.register_model("m", folder))
    assert store.names() == set()


def test_logs_stay_where_the_statement_of_their_archive_is_not_in_the_store(folder):
    store, before = Store(), read(folder)
    os.utime(folder / "a", (0, 0))

    async def main():
        await store.manager().save_dataset("set", folder)
        place = "artifacts/archive/logs/versions/0000000001"

        async def swap(_):
            """The store acknowledges a statement, and has another."""
            if place in store.names():
                await store.manager()._provider.copy("artifacts/dataset/set/versions/0000000001", place)

        manager = store.manager(swap)
        with pytest.raises(StorageIntegrityError, match="version 1 of the archive 'logs'"):
            await manager.archive_logs(folder, older_than="1d", name="logs")

    run(main())
    assert read(folder) == before


def test_logs_stay_where_their_archive_reads_differently(folder, monkeypatch):
    os.utime(folder / "a", (0, 0))

    async def other(catalog, number):
        return ArtifactVersion("archive", "logs", number, START, 0, 0, 0, None, "0" * 32, bytes(32))

    monkeypatch.setattr(archiving.Catalog, "version", other)
    with pytest.raises(StorageIntegrityError, match="differently"):
        run(Store().manager().archive_logs(folder, older_than="1d", name="logs"))
    assert (folder / "a").exists()


@pytest.mark.parametrize("step", [2.5, True, "1", None, -1, 2**53, b"1"])
def test_a_step_that_readers_refuse_is_not_stored(folder, step):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_checkpoint("run", 1, folder)
        there = store.names()
        with pytest.raises(StorageInvalidRequestError, match="step"):
            await manager.save_checkpoint("run", step, folder)
        assert store.names() == there
        assert [each.step for each in await manager.checkpoints("run")] == [1]

    run(main())


def test_what_readers_of_checkpoints_refuse_is_refused_before_it_is_stored(folder, monkeypatch):
    """Even if no check of arguments thought of it."""
    from credstore.artifacts import checkpoints

    store = Store()
    monkeypatch.setattr(checkpoints, "checked_metrics", lambda _: {"loss": "low"})
    with pytest.raises(ProofError, match=r"details.metrics"):
        run(store.manager().save_checkpoint("run", 1, folder))
    monkeypatch.setattr(models, "checked_metrics", lambda _: {"loss": True})
    with pytest.raises(ProofError, match=r"details.metrics"):
        run(managers(store)[0].register_model("m", folder))
    assert store.names() == set()


def test_a_folder_where_the_signature_of_a_model_goes_is_refused_before_it_is_stored(folder):
    store = Store()
    write(folder, {"model.sig/inner": b"1"})
    with pytest.raises(StorageInvalidRequestError, match="below"):
        run(managers(store)[0].register_model("m", folder))
    assert store.names() == set()


@pytest.mark.parametrize("letter", ["a", "指", "😀", "\\", '"', "é"])
def test_the_most_metrics_with_the_longest_names_can_be_read(folder, letter):
    metrics = {
        f"{letter * (LONGEST_METRIC - 4)}{number:04}": -1.2345678901234567e-300
        for number in range(MOST_METRICS)
    }

    async def main():
        manager, _ = managers(Store())
        await manager.save_checkpoint("run", 1, folder, metrics)
        (found,) = await manager.checkpoints("run")
        assert found.metrics == metrics
        await manager.register_model("m", folder, metrics=metrics)
        assert (await manager.get_model("m")).metrics == metrics

    run(main())


def test_a_statement_that_is_too_large_to_be_read_is_not_made():
    clock = lambda: START + DAY  # noqa: E731 - what Seals takes
    seals = Seals(trusting(), (OLD,), ISSUER, clock)
    details = {"text": "x" * LARGEST_STATEMENT}
    version = ArtifactVersion("dataset", "set", 1, START, 1, 1, 1, None, "0" * 32, bytes(32), ISSUER, details)
    with pytest.raises(StorageInvalidRequestError, match="bytes"):
        run(seals.seal_version(version))


@pytest.mark.parametrize(
    "value",
    ["x", "1", b"1", None, True, pytest.param(10**400, id="huge"), 1e17, 2**53, float("nan"), [], object()],
)
def test_a_metric_that_is_no_number_is_an_error_of_ours(folder, value):
    store = Store()
    with pytest.raises(StorageInvalidRequestError, match="metric"):
        run(store.manager().save_checkpoint("run", 1, folder, {"a": value}))
    with pytest.raises(StorageInvalidRequestError, match="metric"):
        run(managers(store)[0].register_model("m", folder, metrics={"a": value}))
    assert store.names() == set()


def test_metrics_of_other_libraries_are_taken():
    class Scalar:
        def __float__(self):
            return 0.5

    assert checked_metrics({"a": Scalar(), "b": 2, "c": 1e22}) == {"a": 0.5, "b": 2.0, "c": 1e22}


@pytest.mark.parametrize(
    "call",
    [
        lambda m, f: m.save_dataset(None, f),
        lambda m, f: m.save_dataset("set", None),
        lambda m, f: m.save_dataset("set", 5),
        lambda m, f: m.load_dataset("set", 1.5, into=f / "out"),
        lambda m, f: m.archive_logs(f, older_than=5),
        lambda m, f: m.archive_logs(f, older_than=None),
        lambda m, f: m.archive_logs(f, older_than=timedelta.max),
        lambda m, f: m.archive_logs(f, older_than="999999w"),
        lambda m, f: m.save_checkpoint("run", 1, f, keep_last="1"),
        lambda m, f: m.save_checkpoint("run", 1, f, keep_best=1, metric="a", better="sideways"),
        lambda m, f: m.save_checkpoint("run", 1, f, [("a", 1)]),
        lambda m, f: m.save_checkpoint("run", 1, f, {1: 2}),
        lambda m, f: m.prune("set", 1, abandoned_after="7d"),
        lambda m, f: m.prune("set", None),
        lambda m, f: m.versions("set", kind="other"),
        lambda m, f: m.restore("set", f / "out", at="today"),
        lambda m, f: m.set_stage("m", 5),
        lambda m, f: m.tag("set", None),
        lambda m, f: m.remove_version("set", "1"),
        lambda m, f: m.backup(f, keep=1.5),
        lambda m, f: m.synced("set", folder=None),
        lambda m, f: m.put(None),
    ],
)
def test_wrong_arguments_are_errors_of_ours(folder, call):
    store = Store()

    async def main():
        await call(store.manager(), folder)

    with pytest.raises(StorageInvalidRequestError):
        run(main())
    assert store.names() == set()


def test_numbers_that_no_version_has_are_not_found(folder):
    async def main():
        manager, _ = managers(Store())
        await manager.save_dataset("set", folder)
        for number in (0, -1, 10**10, 10**5000):
            with pytest.raises(StorageNotFoundError):
                await manager.verify("set", number)
        for text in ("9" * 20, "9" * 5000):
            with pytest.raises(StorageError):
                await manager.register_model("m", folder, dataset=f"set@{text}")

    run(main())


def test_a_version_that_is_refused_leaves_the_others_usable(folder, tmp_path):
    store = Store()

    async def main():
        old, new = managers(store)
        await new.save_dataset("set", folder)
        await old.save_dataset("set", folder)
        await old.save_dataset("set", write(folder, {"b": b"2" * 1000}))
        for work in (
            new.verify("set"),
            new.tag("set", "prod"),
            new.load_dataset("set", into=tmp_path / "out"),
        ):
            with pytest.raises(ProofUntrustedKeyError, match="version 3 of the dataset 'set'"):
                await work
        for work in (new.versions("set"), new.prune("set", 1)):
            with pytest.raises(
                ProofUntrustedKeyError, match=r"versions 2, 3 of the dataset 'set'.*remove_version"
            ):
                await work
        await new.load_dataset("set", 1, into=tmp_path / "first")
        with pytest.raises(StorageInvalidRequestError, match="last"):
            await new.remove_version("set", 3)
        saved = await new.save_dataset("set", folder)
        assert (saved.version, saved.parent) == (4, 1)
        await new.load_dataset("set", into=tmp_path / "out")
        assert read(tmp_path / "out") == read(folder)
        await new.remove_version("set", 2)
        await new.remove_version("set", 3)
        with pytest.raises(StorageNotFoundError):
            await new.remove_version("set", 3)
        assert [each.version for each in await new.versions("set")] == [1, 4]
        report = await new.prune("set", 1)
        assert (report.kept, report.removed, report.deferred) == ((4,), (1,), False)
        await new.verify("set")
        assert not [name for name in store.names() if "/leases/" in name]
        # Of each of the three others the index; their packs where nothing is reused.
        assert len([name for name in store.names() if "/indexes/" in name]) == 1

    run(main())


def test_a_save_needs_no_index_of_the_version_before_it(folder, tmp_path):
    store = Store()

    async def main():
        manager = store.manager()
        first = await manager.save_dataset("set", folder)
        store.objects.remove(f"artifacts/dataset/set/indexes/{first.index}")
        second = await manager.save_dataset("set", folder)
        assert second.parent is None
        await manager.load_dataset("set", into=tmp_path / "out")

    run(main())


def test_a_statement_of_any_size_is_named(folder):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", folder)
        await manager.save_dataset("set", folder)
        key = "artifacts/dataset/set/versions/0000000002"
        await manager._provider.store(key, b"0" * (LARGEST_STATEMENT + 1), compress=False)
        with pytest.raises(StorageIntegrityError, match="version 2 of the dataset"):
            await manager.versions("set")
        assert (await manager.save_dataset("set", folder)).parent == 1
        await manager.remove_version("set", 2)
        assert len(await manager.versions("set")) == 2

    run(main())


def test_what_has_a_tag_or_is_in_a_stage_is_not_removed(folder):
    async def main():
        manager, _ = managers(Store())
        for _ in range(3):
            await manager.register_model("m", folder)
        await manager.tag("m", "prod", 1, kind="model")
        await manager.set_stage("m", "production", 2)
        for number in (1, 2):
            with pytest.raises(StorageInvalidRequestError, match="tag"):
                await manager.remove_version("m", number, kind="model")
        assert await manager.remove_stages("m") == 1
        assert await manager.remove_stages("m") == 0
        await manager.remove_version("m", 2, kind="model")
        assert [each.version for each in await manager.models("m")] == [1, 3]

    run(main())


def test_a_tag_that_is_refused_is_named_and_can_be_removed(folder):
    async def main():
        old, new = managers(Store())
        await new.save_dataset("set", folder)
        await old.tag("set", "prod")
        for work in (new.tags("set"), new.prune("set", 1), new.verify("set", "prod")):
            with pytest.raises(ProofUntrustedKeyError, match=r"the tag 'prod' of the dataset 'set'.*untag"):
                await work
        await new.untag("set", "prod")
        await new.prune("set", 1)

    run(main())


def test_a_history_of_stages_that_is_refused_is_named_and_can_be_removed(folder):
    async def main():
        old, new = managers(Store())
        await new.register_model("m", folder)
        await new.set_stage("m", "staging")
        await old.set_stage("m", "production")
        for work in (
            new.get_model("m"), new.models("m"), new.set_stage("m", "staging"), new.prune("m", 1, kind="model"),
        ):  # fmt: skip
            with pytest.raises(ProofUntrustedKeyError, match=r"stages of the model 'm'.*remove_stages"):
                await work
        assert await new.remove_stages("m") == 2
        assert (await new.get_model("m")).stage is None
        assert (await new.set_stage("m", "staging")).number == 1

    run(main())


def test_checkpoints_that_older_releases_stored_are_named(folder, monkeypatch):
    from credstore.artifacts import checkpoints

    async def main():
        manager = Store().manager()
        await manager.save_checkpoint("run", 1, folder)
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "checked_metrics", lambda _: {"loss": "low"})
            patch.setattr(checkpoints, "_read", lambda version: None)
            await manager.save_checkpoint("run", 2, folder)
        for work in (manager.checkpoints("run"), manager.save_checkpoint("run", 3, folder, keep_last=1)):
            with pytest.raises(ProofError, match="version 2 of the checkpoint 'run'"):
                await work
        await manager.remove_version("run", 2, kind="checkpoint")
        assert [each.step for each in await manager.checkpoints("run")] == [1, 3]
        await manager.save_checkpoint("run", 4, folder, keep_last=1)

    run(main())


def test_a_save_whose_lease_cannot_be_removed_has_saved(folder, monkeypatch):
    store = Store()
    real = HookedDriver.delete

    async def delete(driver, key, **options):
        if "/leases/" in key:
            raise StorageError("no")
        return await real(driver, key, **options)

    async def main():
        monkeypatch.setattr(HookedDriver, "delete", delete)
        assert (await store.manager().save_dataset("set", folder)).version == 1
        assert (await store.manager().save_checkpoint("run", 1, folder)).artifact.version == 1
        with pytest.raises(StorageError) as caught:
            await store.manager().prune("set", 1)
        assert caught.value.applied == "yes"
        monkeypatch.undo()
        await store.manager().prune("set", 1, abandoned_after=timedelta(0))
        assert not [name for name in store.names() if "dataset/set/leases/" in name]

    run(main())


def failing_at(step):
    async def fail(number):
        if number == step:
            raise StorageError("no")

    return fail


async def failure_of(work):
    try:
        await work
    except StorageError as error:
        return error
    return None


def test_an_error_after_the_commit_never_says_that_there_is_no_version(folder):
    async def main():
        seen = []
        for step in range(1, 20):
            store = Store()
            error = await failure_of(store.manager(failing_at(step)).save_dataset("set", folder))
            there = await store.manager().versions("set")
            assert there or error is not None
            if error is not None and there:
                seen.append(error.applied)
        assert set(seen) == {"maybe"}

    run(main())


@pytest.mark.parametrize("verb", ["tag", "stage"])
def test_an_error_after_a_pin_never_says_that_it_is_not_set(folder, verb):
    async def main():
        seen = []
        for step in range(1, 20):
            store = Store()
            old, _ = managers(store)
            await old.save_dataset("set", folder)
            await old.register_model("m", folder)
            before = store.names()
            manager = store.manager(failing_at(step), trust=trusting(), signer=OLD, clock=lambda: START + DAY)
            error = await failure_of(verbs(manager, folder)[verb]())
            if error is not None and store.names() != before:
                seen.append(error.applied)
        assert set(seen) == {"maybe"}

    run(main())


@pytest.fixture
def aged(monkeypatch):
    """Makes the lease of a prune that was killed look older than it is."""
    age = [timedelta(0)]
    real = HookedDriver.head

    async def head(driver, key, *args, **options):
        found = await real(driver, key, *args, **options)
        if found is not None and key.endswith("leases/prune"):
            return replace(found, last_modified=found.last_modified - age[0])
        return found

    monkeypatch.setattr(HookedDriver, "head", head)
    return age


@pytest.mark.parametrize("verb", ["tag", "stage"])
def test_the_lease_of_a_prune_that_was_killed_ends(folder, aged, verb):
    store = Store()

    async def main():
        manager, _ = managers(store)
        await manager.save_dataset("set", folder)
        await manager.register_model("m", folder)
        for place in ("dataset/set", "model/m"):
            await manager._provider.store(f"artifacts/{place}/leases/prune", b"", compress=False)
        aged[0] = timedelta(days=6)
        with pytest.raises(StorageConflictError, match=r"at the latest at 20.*abandoned_after") as caught:
            await verbs(manager, folder)[verb]()
        assert (caught.value.applied, caught.value.retryable) == ("no", True)
        aged[0] = timedelta(days=7)
        await verbs(manager, folder)[verb]()
        aged[0] = timedelta(0)
        with pytest.raises(StorageConflictError, match="at the latest"):
            await manager.prune("set", 1)
        with pytest.raises(StorageConflictError, match="is running"):
            await manager.prune("set", 1, abandoned_after=timedelta.max)
        aged[0] = timedelta(days=7)
        await manager.prune("set", 1)
        assert not [name for name in store.names() if "dataset/set/leases/" in name]

    run(main())


def test_a_prune_that_cannot_look_at_its_lease_leaves_none(folder):
    store = Store()

    async def fail(number):
        if number == 2:
            raise StorageError("no")

    async def main():
        await store.manager().save_dataset("set", folder)
        with pytest.raises(StorageError, match="no"):
            await store.manager(fail).prune("set", 1)
        assert not [name for name in store.names() if "/leases/" in name]
        await store.manager().prune("set", 1)

    run(main())


def test_whoever_only_reads_signs_nothing(folder):
    with pytest.raises(StorageConfigurationError, match="only reads"):
        run(Store().manager(signer=()).tag("set", "prod"))
