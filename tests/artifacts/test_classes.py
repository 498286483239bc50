"""Classes of files: what each name is, and how it is therefore stored."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import MemoryStorageProvider, StorageInvalidRequestError, StorageNotFoundError
from credstore.artifacts import ClassOptions, FileClass
from credstore.artifacts.classes import DEFAULTS, KINDS, Classes
from tests.artifacts.stores import Store, manager_on, run, write
from tests.proofs.material import NOW

S3 = frozenset({"STANDARD", "STANDARD_IA", "GLACIER"})
USUAL = Classes()


@pytest.mark.parametrize(
    ("path", "file_class", "compress", "content_type", "storage_class"),
    [
        ("model.safetensors", "AI_MODEL", False, "application/octet-stream", None),
        ("a/b/model.ONNX", "AI_MODEL", False, "application/octet-stream", None),
        ("train.csv", "DATASET", "zstd", "text/csv", None),
        ("train.csv.gz", "DATASET", False, "application/octet-stream", None),
        ("part-0.parquet", "DATASET", False, "application/octet-stream", None),
        ("config.json", "CONFIG", "gzip", "application/json", None),
        (".env", "CONFIG", "gzip", "application/octet-stream", None),
        ("app.log", "LOG", "zstd", "text/plain; charset=utf-8", "STANDARD_IA"),
        ("app.log.3", "LOG", "zstd", "text/plain; charset=utf-8", "STANDARD_IA"),
        ("app.log.2026-01-31.gz", "LOG", False, "text/plain; charset=utf-8", "STANDARD_IA"),
        ("db.sql", "BACKUP", "zstd", None, "STANDARD_IA"),
        ("home.tar.gz", "BACKUP", False, "application/octet-stream", "STANDARD_IA"),
        ("paper.pdf", "DOCUMENT", False, "application/pdf", None),
        ("notes.txt", "DOCUMENT", "gzip", "text/plain", None),
        ("cat.JPG", "IMAGE", False, "image/jpeg", None),
        ("song.flac", "AUDIO", False, None, None),
        ("clip.mp4", "VIDEO", False, "video/mp4", None),
        ("LICENSE", None, False, "application/octet-stream", None),
        ("blob.xyzzy", None, False, "application/octet-stream", None),
    ],
)
def test_what_each_name_is(path, file_class, compress, content_type, storage_class):
    found = USUAL.explain(path, S3)
    assert (found.file_class, found.compress, found.storage_class) == (file_class, compress, storage_class)
    if content_type is not None:
        assert found.content_type == content_type
    assert len(found.reasons) == 5
    assert found.retain_for is None


@given(st.text(max_size=40))
def test_any_name_is_explained(path):
    found = USUAL.explain(path, ())
    assert found.storage_class is None
    assert USUAL.squeezes(path) in {True, False}


def test_every_class_has_defaults_and_every_kind_of_artifact_a_class():
    assert set(DEFAULTS) == set(FileClass)
    assert set(KINDS.values()) <= set(FileClass)


def test_a_manager_has_rules_and_options_of_its_own():
    manager = manager_on(
        MemoryStorageProvider(),
        class_rules={"*/weights.bin": FileClass.AI_MODEL, "logs/*": FileClass.LOG},
        class_options={FileClass.LOG: ClassOptions("gzip", "usual", "text/plain", timedelta(days=30))},
    )
    weights = manager.explain("resnet/weights.bin")
    assert weights.file_class == "AI_MODEL"
    assert weights.rule == "the glob '*/weights.bin' of this manager"
    log = manager.explain("logs/today.json")
    assert (log.file_class, log.compress, log.retain_for) == ("LOG", "gzip", timedelta(days=30))
    assert "this manager says so for LOG" in log.reasons[1]


def test_where_a_store_has_no_cool_class_that_is_said():
    found = manager_on(MemoryStorageProvider()).explain("app.log")
    assert found.storage_class is None
    assert any("the store has no such class" in reason for reason in found.reasons)


def test_put_stores_a_file_as_its_class_says(tmp_path):
    folder = write(tmp_path, {"app.log": b"a line\n" * 50_000, "cat.jpg": b"\xff\xd8" * 10_000})

    async def main():
        async with MemoryStorageProvider() as provider:
            manager = manager_on(
                provider,
                clock=lambda: NOW,
                class_options={FileClass.IMAGE: ClassOptions(retain_for=timedelta(days=36500))},
            )
            result = await manager.put(folder / "app.log", "logs/app.log")
            assert result.size < result.plain_size / 10
            found = await provider.get_metadata("logs/app.log")
            assert (found.compression, found.content_type) == ("zstd", "text/plain; charset=utf-8")
            await manager.put(folder / "cat.jpg")
            found = await provider.get_metadata("cat.jpg")
            assert (found.compression, found.content_type) == (None, "image/jpeg")
            assert (await provider.get_retention("cat.jpg")).retain_until > NOW
            with pytest.raises(StorageNotFoundError):
                await manager.put(folder / "nothing")
            with pytest.raises(StorageInvalidRequestError):
                await manager.put(folder)

    run(main())


def test_chunks_of_what_is_compressed_already_are_not_compressed_again(tmp_path):
    folder = write(tmp_path / "data", {"a.parquet": b"a" * 500_000, "b.csv": b"b" * 500_000})

    async def main():
        manager = Store().manager()
        saved = await manager.save_dataset("set", folder)
        assert 500_000 <= saved.stored < 501_000
        await manager.verify("set")

    run(main())


def test_packs_of_a_backup_are_stored_where_what_is_seldom_read_is(tmp_path, monkeypatch):
    folder = write(tmp_path / "data", {"a": bytes(range(256)) * 2000, "b": b"1"})
    seen = []

    async def main():
        async with MemoryStorageProvider() as provider:
            manager = manager_on(provider)
            monkeypatch.setattr(Classes, "storage_class", lambda *_: "STANDARD_IA")

            async def store(key, data, **options):
                seen.append((key.split("/")[3], options.get("storage_class")))
                options.pop("storage_class", None)
                return await type(provider).store(provider, key, data, **options)

            monkeypatch.setattr(provider, "store", store)
            await manager.backup(folder)
            folder.joinpath("a").write_bytes(b"2")
            await manager.backup(folder)

    run(main())
    assert {place for place, chosen in seen if chosen is None} >= {"versions", "indexes", "leases"}
