"""Dataset versions: what comes back, what is stored twice, what is refused."""

import hashlib
import os
import random
import re
import resource
import stat
import tracemalloc
from functools import partial

import pytest

from credstore import (
    LocalConfig,
    LocalStorageProvider,
    MemoryConfig,
    MemoryStorageProvider,
    S3Config,
    S3StorageProvider,
    Secret,
    StorageConfigurationError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnsupportedError,
)
from credstore.artifacts import saving
from credstore.artifacts.packs import Packer, unpack
from credstore.artifacts.sources import CutFile, find_files
from credstore.proofs import ProofError, ProofUntrustedKeyError, TrustStore, trust_key
from tests.artifacts.stores import Store, manager_on, noise, read, run, write
from tests.proofs.material import ISSUER, START, STRANGER

MIB = 1024 * 1024
KEYID = re.compile(rb'"keyid":"sha256:[0-9a-f]{64}"')
STRANGERS = TrustStore(1, (trust_key(STRANGER.public_key, issuers=[ISSUER], valid_from=START),))
FILES = {
    "a/b/c.bin": noise(700_000),
    "a/zeros": bytes(2 * MIB),
    "empty": b"",
    "text.csv": b"id,name\n" * 50_000,
    "Ärger/ü.txt": b"x",
}


@pytest.fixture
def data(tmp_path):
    return write(tmp_path / "data", FILES)


def providers(tmp_path, s3_server):
    yield MemoryStorageProvider()
    yield LocalStorageProvider(LocalConfig(path=tmp_path / "store"))
    yield S3StorageProvider(
        S3Config(
            bucket=s3_server.bucket, endpoint=s3_server.url, addressing="path",
            access_key_id="AKIDEXAMPLE", secret_access_key=Secret("canary-secret"),
        )
    )  # fmt: skip


def test_a_version_comes_back_with_bytes_modes_and_times(data, tmp_path, s3_server):
    (data / "text.csv").chmod(0o750)
    os.utime(data / "empty", ns=(10**18, 10**18 + 7))

    async def main():
        for number, provider in enumerate(providers(tmp_path, s3_server)):
            async with provider:
                manager = manager_on(provider)
                told = []
                saved = await manager.save_dataset(
                    "set", data, progress=lambda *at, told=told: told.append(at)
                )
                assert told[-1] == (saved.size, saved.size)
                into = tmp_path / f"out{number}"
                told.clear()
                loaded = await manager.load_dataset(
                    "set", into=into, progress=lambda *at, told=told: told.append(at)
                )
                assert loaded == saved
                assert told[-1] == (saved.size, saved.size)
                assert read(into) == FILES
                assert stat.S_IMODE((into / "text.csv").stat().st_mode) == 0o750
                assert (into / "empty").stat().st_mtime_ns == 10**18 + 7
                assert (saved.version, saved.files, saved.parent) == (1, 5, None)

    run(main())


def stored_bytes(store, before):
    return sum(store.objects.by_key[key].info.size for key in store.names() - before)


@pytest.mark.parametrize(
    ("edit", "most"),
    [
        # The ratios of 100 runs of 100 KB, and of 16 insertions of 1 KB, in 1 GB.
        (lambda data, draw: [replaced(data, draw, 100_000) for _ in range(6)], 0.03),
        (lambda data, draw: [inserted(data, draw, 1000)], 0.01),
    ],
)
def test_the_next_version_stores_what_changed(tmp_path, edit, most):
    draw = random.Random(7)
    data = bytearray(draw.randbytes(64 * 1024 * 1024))
    store = Store()
    folder = write(tmp_path / "data", {"part": data})

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", folder)
        before = store.names()
        edit(data, draw)
        write(folder, {"part": data})
        second = await manager.save_dataset("set", folder)
        assert stored_bytes(store, before) <= most * len(data)
        assert second.stored <= stored_bytes(store, before)
        assert (await manager.verify("set")).size == len(data)

    run(main())
    packed = [len(store.objects.by_key[key].data) for key in store.names() if "/packs/" in key]
    assert len(packed) <= 7
    assert max(packed) <= 64 * 1024 * 1024


def replaced(data, draw, size):
    at = draw.randrange(len(data) - size)
    data[at : at + size] = draw.randbytes(size)


def inserted(data, draw, size):
    at = draw.randrange(len(data))
    data[at:at] = draw.randbytes(size)


def test_nothing_is_stored_twice(data, tmp_path):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", data)
        before = {key for key in store.names() if "/packs/" in key}
        again = await manager.save_dataset("set", data)
        assert again.stored == 0
        assert {key for key in store.names() if "/packs/" in key} == before
        write(data, {"copy.bin": FILES["a/b/c.bin"]})
        assert (await manager.save_dataset("set", data)).stored == 0

    run(main())


def test_chunks_of_a_pack_that_was_lost_are_stored_again(data):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", data)
        for key in [key for key in store.names() if "/packs/" in key]:
            store.objects.remove(key)
        with pytest.raises(StorageIntegrityError, match="missing"):
            await manager.verify("set")
        await manager.save_dataset("set", data)
        await manager.verify("set")

    run(main())


def test_differences_between_versions(data):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", data)
        write(data, {"new": b"1", "text.csv": b"other"})
        (data / "empty").unlink()
        await manager.save_dataset("set", data)
        await manager.tag("set", "first", 1)
        found = await manager.diff("set", "first")
        assert (found.added, found.removed, found.changed) == (("new",), ("empty",), ("text.csv",))
        assert await manager.diff("set", 2, 2) == type(found)((), (), ())

    run(main())


def test_single_files_and_named_files(data, tmp_path):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", [data / "text.csv", str(data / "empty")])
        await manager.load_dataset("set", into=tmp_path / "one")
        assert set(read(tmp_path / "one")) == {"text.csv", "empty"}
        await manager.save_dataset("set", {"deep/name": data / "empty"})
        await manager.load_dataset("set", into=tmp_path / "two")
        assert read(tmp_path / "two") == {"deep/name": b""}

    run(main())


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path / "missing", StorageNotFoundError),
        (lambda path: [path / "missing"], StorageNotFoundError),
        (lambda path: path / "file", StorageInvalidRequestError),
        (lambda path: [path / "sub"], StorageInvalidRequestError),
        (lambda path: {"../a": path / "file"}, StorageInvalidRequestError),
        (lambda path: [path / "file", path / "sub" / "file"], StorageInvalidRequestError),
        (lambda path: {"a/b/c": path / "file", "a": path / "file"}, StorageInvalidRequestError),
        (lambda path: [path / "link"], StorageInvalidRequestError),
        (lambda path: path / "loop", StorageInvalidRequestError),
        (lambda path: [path / "pipe"], StorageInvalidRequestError),
    ],
)
def test_what_cannot_be_saved_is_refused_before_anything_is_stored(tmp_path, make, kind):
    write(tmp_path, {"file": b"1", "sub/file": b"2"})
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    store = Store()
    with pytest.raises(kind):
        run(store.manager().save_dataset("set", make(tmp_path)))
    assert store.names() == set()


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path):
    (source,) = find_files([write(tmp_path, {"log": noise(MIB)}) / "log"], MemoryStorageProvider())
    file = CutFile(source, lambda _: False)
    file.next(1)
    with source.path.open("ab") as more:
        more.write(b"another line")
    with pytest.raises(StorageInvalidRequestError) as caught:
        file.next(10 * MIB)
    assert (caught.value.code, caught.value.retryable) == ("SOURCE_CHANGED", True)


def test_a_folder_that_is_there_is_left_as_it_is(data, tmp_path):
    store = Store()
    into = write(tmp_path / "mine", {"kept": b"1"})

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", data)
        with pytest.raises(StorageError, match="mine") as caught:
            await manager.load_dataset("set", into=into)
        assert caught.value.code == "IO_ERROR"
        (tmp_path / "link").symlink_to(into)
        with pytest.raises(StorageError):
            await manager.load_dataset("set", into=tmp_path / "link")

    run(main())
    assert read(into) == {"kept": b"1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "link", "mine"]


def test_any_changed_byte_is_found_and_nothing_of_it_appears(data, tmp_path):
    draw = random.Random(3)

    async def main():
        store = Store()
        await store.manager().save_dataset("set", data)
        for key in sorted(store.names()):
            stored = store.objects.by_key[key]
            plain = await store.manager()._provider.retrieve(key)
            hint = KEYID.search(plain).span() if "/versions/" in key else (0, 0)
            places = range(len(plain)) if "/versions/" in key else draw.sample(range(len(plain)), 9)
            for place in list(places)[:: max(1, len(places) // 60)]:
                if hint[0] <= place < hint[1]:
                    continue
                await replace(store, key, flipped(plain, place, draw.randrange(8)))
                with pytest.raises(StorageError) as caught:
                    await store.manager().load_dataset("set", into=tmp_path / "out")
                assert isinstance(caught.value, StorageIntegrityError | ProofError)
                assert not (tmp_path / "out").exists()
            store.objects.put(stored)

    run(main())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_changed_key_id_leads_to_the_key_that_signed_or_is_refused(data, tmp_path):
    """DSSE signs the statement; the id of the key next to it is a hint, which helps only to find the key."""

    async def main():
        store = Store()
        await store.manager().save_dataset("set", data)
        key = next(key for key in store.names() if "/versions/" in key)
        plain = await store.manager()._provider.retrieve(key)
        start, end = KEYID.search(plain).span()
        refused = 0
        for number, place in enumerate(range(start, end, 4)):
            await replace(store, key, flipped(plain, place, number % 8))
            into = tmp_path / f"out{number}"
            try:
                await store.manager().load_dataset("set", into=into)
            except ProofError:
                refused += 1
                assert not into.exists()
            else:
                assert read(into) == FILES
            with pytest.raises(ProofError):
                await store.manager(trust=STRANGERS, signer=()).load_dataset("set", into=tmp_path / "theirs")
        assert 0 < refused < number

    run(main())


def flipped(data, place, bit):
    """The bytes with one changed bit, as if whoever holds the store had written it: its digest fits."""
    damaged = bytearray(data)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


async def replace(store, key, data):
    codec = "zstd" if "/indexes/" in key else False
    await store.manager()._provider.store(key, data, compress=codec)


def test_only_trusted_keys_count(data):
    store = Store()

    async def main():
        await store.manager().save_dataset("set", data)
        nobody = store.manager(trust=TrustStore(1, ()), signer=())
        for verb in (nobody.verify("set"), nobody.versions("set"), nobody.prune("set", 1)):
            with pytest.raises(ProofUntrustedKeyError):
                await verb
        with pytest.raises(StorageConfigurationError, match="only reads"):
            await store.manager(signer=()).save_dataset("set", data)
        with pytest.raises(StorageConfigurationError, match="trust store"):
            store.manager(signer=STRANGER)
        assert await store.manager(signer=()).verify("set")

    run(main())


def test_a_statement_that_was_moved_is_refused(data):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", data)
        write(data, {"new": b"1"})
        await manager.save_dataset("set", data)
        await manager.save_dataset("other", data)
        await manager.tag("set", "prod", 1)
        root = "artifacts/dataset"
        moves = [
            (f"{root}/set/versions/0000000001", f"{root}/set/versions/0000000002"),
            (f"{root}/other/versions/0000000001", f"{root}/set/versions/0000000001"),
            (f"{root}/set/tags/prod", f"{root}/set/versions/0000000001"),
            (f"{root}/set/tags/prod", f"{root}/set/tags/test"),
        ]
        for source, target in moves:
            stored = store.objects.by_key.get(target)
            await manager._provider.copy(source, target)
            wanted = "test" if target.endswith("test") else int(target[-1])
            with pytest.raises(StorageIntegrityError):
                await manager.verify("set", wanted)
            if stored is not None:
                store.objects.put(stored)

    run(main())


def test_an_index_of_another_version_is_refused(data):
    store = Store()

    async def main():
        manager = store.manager()
        first = await manager.save_dataset("set", data)
        write(data, {"new": b"1"})
        second = await manager.save_dataset("set", data)
        root = "artifacts/dataset/set/indexes"
        await manager._provider.copy(f"{root}/{first.index}", f"{root}/{second.index}")
        with pytest.raises(StorageIntegrityError, match="signed"):
            await manager.diff("set", 1, 2)

    run(main())


def test_a_tag_is_of_one_statement_and_not_of_its_number(data):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", data)
        await manager.tag("set", "prod")
        store.objects.remove("artifacts/dataset/set/versions/0000000001")
        write(data, {"new": b"1"})
        assert (await manager.save_dataset("set", data)).version == 1
        with pytest.raises(StorageIntegrityError, match="another version"):
            await manager.verify("set", "prod")

    run(main())


@pytest.mark.parametrize("compressed", [True, False])
def test_a_chunk_is_verified(compressed):
    data = b"a" * 9000 if compressed else noise(9000)
    chunk, _ = Packer("ab" * 16).add(hashlib.sha256(data).digest(), data)
    packer = Packer("ab" * 16)
    packer.add(chunk.digest, data)
    packed = packer.take().data
    assert (len(packed) < len(data)) == compressed
    assert unpack(chunk, packed) == data
    for damaged in (packed[:-1] + bytes([packed[-1] ^ 1]), packed[:-1], bytes(len(packed)), b""):
        with pytest.raises(StorageIntegrityError) as caught:
            unpack(chunk, damaged)
        assert caught.value.code == "DIGEST_MISMATCH"


def test_a_file_is_verified_as_a_whole(data, monkeypatch):
    monkeypatch.setattr(CutFile, "digest", property(lambda _: bytes(32)))

    async def main():
        manager = Store().manager()
        await manager.save_dataset("set", data)
        with pytest.raises(StorageIntegrityError, match="not what was saved"):
            await manager.verify("set")

    run(main())


def test_tags_can_be_moved_and_removed(data):
    store = Store()

    async def main():
        manager = store.manager()
        await manager.save_dataset("set", data)
        await manager.save_dataset("set", data)
        await manager.tag("set", "prod", 1)
        await manager.tag("set", "prod")
        await manager.tag("set", "test", 1)
        assert await manager.tags("set") == {"prod": 2, "test": 1}
        assert await manager.untag("set", "test")

        async def remove(number):
            store.objects.remove("artifacts/dataset/set/tags/prod") if number == 2 else None

        looking = store.manager(remove)
        assert await looking.tags("set") == {}
        assert not await manager.untag("set", "test")

    run(main())


def test_a_store_without_conditional_creation_is_refused_before_anything_is_stored(data):
    async def main():
        async with MemoryStorageProvider(MemoryConfig(capabilities="-conditional_create")) as provider:
            with pytest.raises(StorageUnsupportedError):
                await manager_on(provider).save_dataset("set", data)
            assert await provider.list() == []

    run(main())


def test_missing_versions_and_tags(data):
    async def main():
        manager = Store().manager()
        for wanted in (None, 1, "prod"):
            with pytest.raises(StorageNotFoundError) as caught:
                await manager.verify("set", wanted)
            assert caught.value.code == "VERSION_NOT_FOUND"
        assert await manager.versions("set") == []
        with pytest.raises(StorageInvalidRequestError):
            await manager.versions("../set")

    run(main())


def test_memory_is_bounded_by_packs_and_not_by_files(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "Packer", partial(Packer, largest=MIB))
    folder = write(tmp_path / "data", {"big": noise(64 * MIB)})

    async def main():
        async with LocalStorageProvider(LocalConfig(path=tmp_path / "store")) as provider:
            manager = manager_on(provider)
            tracemalloc.start()
            try:
                await manager.save_dataset("set", folder)
                await manager.load_dataset("set", into=tmp_path / "out")
                return tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    # A batch of 4 MiB, the packs it fills, and two more on their way.
    assert run(main()) < 24 * MIB
    assert read(tmp_path / "out") == read(folder)


def test_a_file_that_the_disk_does_not_take_is_named(tmp_path):
    write(tmp_path / "data", {"small": b"1", "sub/large": noise(2_000_000)})
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def main():
        manager = Store().manager()
        await manager.save_dataset("set", tmp_path / "data")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, kept[1]))
        try:
            with pytest.raises(StorageError, match="sub/large: File too large"):
                await manager.load_dataset("set", into=tmp_path / "new")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        assert {each.name for each in tmp_path.iterdir()} == {"data"}

    run(main())
