"""The model registry: versions with their metrics, stages, lineage and signatures."""

import warnings
from datetime import timedelta

import pytest

from credstore import (
    LocalConfig,
    LocalStorageProvider,
    StorageConfigurationError,
    StorageConflictError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
)
from credstore.artifacts import ModelKey, Trained
from credstore.artifacts.signing import bundle
from credstore.proofs import LocalSigner, ProofAlgorithmError, ProofUntrustedKeyError, TrustStore
from tests.artifacts.stores import Store, manager_on, noise, read, run, write
from tests.proofs.material import KEY, P256, P256_KEY, SIGNER, TRUST

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Of the packages that it is made of.
    import model_signing


@pytest.fixture
def folder(tmp_path):
    files = {"config.json": b"{}", "weights.bin": noise(300_000), ".gitattributes": b"*.bin lfs"}
    return write(tmp_path / "model", files)


def registry(store=None, **options):
    return (store or Store()).manager(model_signer=P256, **options)


def test_a_model_has_metrics_stage_lineage_and_comes_back_with_a_signature(folder, tmp_path):
    data = write(tmp_path / "data", {"train.csv": b"1,2\n" * 1000})

    async def main():
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "store")) as provider:
            manager = manager_on(provider, model_signer=P256)
            dataset = await manager.save_dataset("images", data)
            await manager.tag("images", "first")
            made = await manager.register_model(
                "resnet", folder, metrics={"accuracy": 0.93, "loss": 1}, stage="staging", dataset="images"
            )
            assert (made.name, made.version, made.stage) == ("resnet", 1, "staging")
            assert made.metrics == {"accuracy": 0.93, "loss": 1.0}
            assert made.dataset == Trained("images", 1, dataset.digest)
            found = await manager.get_model("resnet", into=tmp_path / "out")
            assert found == made
            assert await manager.lineage(found) == dataset
            for wanted in (dataset, "images@1", "images@first"):
                again = await manager.register_model("resnet", folder, dataset=wanted)
                assert again.dataset == made.dataset
            assert [each.version for each in await manager.models("resnet")] == [1, 2, 3, 4]
            assert await manager.names(kind="model") == ["resnet"]
            assert (await manager.verify("resnet", 1, kind="model")).version == 1

    run(main())
    out = read(tmp_path / "out")
    signature = out.pop("model.sig")
    assert out == read(folder)
    (tmp_path / "key.pub").write_bytes(ModelKey.of(P256.public_key).to_pem())
    judge = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "key.pub")
    judge.verify(tmp_path / "out", tmp_path / "out" / "model.sig")
    assert set(bundle.read_model(bundle.parse_bundle(signature).payload).resources) == {
        "config.json",
        "weights.bin",
    }


def test_a_model_that_is_one_file_and_one_that_has_a_signature_already(folder, tmp_path):
    async def main():
        manager = registry()
        await manager.register_model("one", folder / "config.json")
        await manager.get_model("one", into=tmp_path / "one")
        first = await manager.register_model("again", tmp_path / "one")
        second = await manager.register_model("again", tmp_path / "one")
        assert (first.artifact.files, second.artifact.files) == (2, 2)

    run(main())
    assert read(tmp_path / "one").keys() == {"config.json", "model.sig"}


def test_stages_have_a_history_and_keep_versions_from_being_pruned(folder, tmp_path):
    store = Store()

    async def main():
        manager = registry(store)
        for number in range(5):
            (folder / "config.json").write_bytes(str(number).encode())
            await manager.register_model("m", folder)
        await manager.set_stage("m", "production", 2)
        await manager.set_stage("m", "production", 3)
        await manager.set_stage("m", "archived", 2)
        assert (await manager.get_model("m", stage="production")).version == 3
        await manager.set_stage("m", "production", 1)
        assert (await manager.get_model("m", stage="production")).version == 1
        await manager.set_stage("m", None, 1)
        assert (await manager.get_model("m", stage="production")).version == 3
        assert (await manager.get_model("m", 1)).stage is None
        history = [(each.number, each.version, each.stage) for each in await manager.stages("m")]
        assert history == [
            (1, 2, "production"), (2, 3, "production"), (3, 2, "archived"), (4, 1, "production"), (5, 1, None),
        ]  # fmt: skip
        report = await manager.prune("m", 1, kind="model", abandoned_after=timedelta(0))
        assert report.kept == (2, 3, 5)
        assert [each.stage for each in await manager.models("m")] == ["archived", "production", None]
        assert len(await manager.stages("m")) == 5
        with pytest.raises(StorageNotFoundError, match="stage 'staging'"):
            await manager.get_model("m", stage="staging")
        with pytest.raises(StorageInvalidRequestError, match="not both"):
            await manager.get_model("m", 1, stage="production")
        with pytest.raises(StorageInvalidRequestError, match="stage"):
            await manager.set_stage("m", "no stage")
        with pytest.raises(StorageNotFoundError):
            await manager.set_stage("m", "staging", 1)

    run(main())


def test_changes_of_stage_by_several_at_once_are_all_kept(folder):
    import asyncio

    store = Store()

    async def main():
        await registry(store).register_model("m", folder)
        await asyncio.gather(*(registry(store).set_stage("m", f"stage-{number}") for number in range(8)))
        history = await registry(store).stages("m")
        assert [each.number for each in history] == list(range(1, 9))
        assert {each.stage for each in history} == {f"stage-{number}" for number in range(8)}

    run(main())


def test_a_change_of_stage_that_was_removed_moved_or_forged_is_refused(folder):
    store = Store()

    async def main():
        manager = registry(store)
        for name in ("m", "other"):
            await manager.register_model(name, folder)
            for stage in ("a", "b", "c"):
                await manager.set_stage(name, stage)
        provider = manager._provider
        key = "artifacts/model/m/stages/{:010}".format
        kept = {number: await provider.retrieve(key(number)) for number in (1, 2, 3)}
        for number in (1, 2):
            await provider.delete(key(number))
            with pytest.raises(StorageIntegrityError, match="missing"):
                await manager.stages("m")
            await provider.store(key(number), kept[number])
        other = await provider.retrieve("artifacts/model/other/stages/0000000002")
        for planted in (kept[1], other):
            await provider.store(key(2), planted)
            with pytest.raises(StorageIntegrityError, match="moved"):
                await manager.stages("m")
            await provider.store(key(2), kept[2])
        with pytest.raises(ProofUntrustedKeyError):
            await store.manager(trust=TrustStore(1, (P256_KEY,)), signer=()).stages("m")

    run(main())


def test_a_stage_waits_for_no_prune(folder):
    store = Store()

    async def main():
        manager = registry(store)
        await manager.register_model("m", folder)
        await manager._provider.store("artifacts/model/m/leases/prune", b"")
        with pytest.raises(StorageConflictError, match="prune"):
            await manager.set_stage("m", "production")
        with pytest.raises(StorageConflictError) as caught:
            await manager.register_model("m", folder, stage="production")
        assert caught.value.applied == "yes"
        assert [each.version for each in await manager.models("m")] == [1, 2]

    run(main())


def test_a_key_that_others_cannot_verify_is_refused_before_anything_is_stored(folder):
    store = Store()
    with pytest.raises(StorageConfigurationError, match="model_signer"):
        run(store.manager().register_model("m", folder))
    assert store.names() == set()
    with pytest.raises(ProofAlgorithmError, match="ed25519"):
        store.manager(model_signer=SIGNER)
    stranger = LocalSigner.generate("ecdsa-p256-sha256")
    with pytest.raises(StorageConfigurationError, match="trust"):
        store.manager(model_signer=stranger)
    made = run(store.manager(signer=P256).register_model("m", folder))
    assert made.version == 1


@pytest.mark.parametrize("metrics", [{"loss": float("nan")}, {"loss": float("inf")}, {"": 1}, {"a\n": 1},
                                     {str(number): 1 for number in range(201)}])  # fmt: skip
def test_metrics_that_are_none_are_refused_before_anything_is_stored(folder, metrics):
    store = Store()
    with pytest.raises(StorageInvalidRequestError, match="metric"):
        run(registry(store).register_model("m", folder, metrics=metrics))
    assert store.names() == set()


def test_lineage_that_leads_to_nothing_or_elsewhere(folder, tmp_path):
    data = write(tmp_path / "data", {"a": b"1"})
    store = Store()

    async def main():
        manager = registry(store)
        with pytest.raises(StorageNotFoundError):
            await manager.register_model("m", folder, dataset="images")
        with pytest.raises(StorageInvalidRequestError, match="'@'"):
            await manager.register_model("m", folder, dataset="images@")
        backup = await manager.backup(data)
        with pytest.raises(StorageError):
            await manager.register_model("m", folder, dataset=backup)
        assert await manager.models("m") == []
        await manager.save_dataset("images", data)
        made = await manager.register_model("m", folder, dataset="images")
        write(data, {"a": b"2"})
        await manager.save_dataset("images", data)
        await manager.prune("images", 1)
        with pytest.raises(StorageNotFoundError):
            await manager.lineage(made)
        without = await manager.register_model("m", folder)
        assert await manager.lineage(without) is None

    run(main())


def test_a_model_whose_signature_is_not_of_its_files_is_refused(folder, tmp_path, monkeypatch):
    """What a key that may sign versions, but no models, could do."""
    from credstore.artifacts import models

    store = Store()
    stranger = LocalSigner.generate("ecdsa-p256-sha256")

    async def main():
        manager = registry(store)
        real = models.signature_by

        def sign_others(signer, name):
            async def sign(files):
                return await real(signer, name)([file for file in files if file.name != "weights.bin"])

            return sign

        for version, (make, error) in enumerate(
            [
                (sign_others, StorageIntegrityError),
                (lambda _, name: real(stranger, name), ProofUntrustedKeyError),
                (lambda _, name: None, StorageIntegrityError),
            ],
            1,
        ):
            monkeypatch.setattr(models, "signature_by", make)
            with pytest.raises(StorageError) as caught:
                await manager.register_model("m", folder)
            assert isinstance(caught.value, StorageIntegrityError | ProofUntrustedKeyError)
            assert len(await manager.versions("m", kind="model")) == version - 1
            with monkeypatch.context() as patch:
                patch.setattr(models.Models, "_read", lambda *_: None)
                await manager.register_model("m", folder)
            for work in (
                manager.get_model("m", version, into=tmp_path / "out"),
                manager.verify("m", version, kind="model"),
            ):
                with pytest.raises(error):
                    await work
        assert not (tmp_path / "out").exists()

    run(main())


def test_a_reader_needs_the_key_of_the_models_too(folder, tmp_path):
    store = Store()

    async def main():
        await registry(store).register_model("m", folder)
        reader = store.manager(signer=(), trust=TRUST)
        await reader.get_model("m", into=tmp_path / "out")
        with pytest.raises(ProofUntrustedKeyError):
            await store.manager(signer=(), trust=TrustStore(1, (KEY,))).get_model("m", into=tmp_path / "b")

    run(main())
