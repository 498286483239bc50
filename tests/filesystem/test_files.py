"""Files: read by ranges of one version, written as a stream, and published whole or not at all."""

import asyncio
import gc
import logging
import pickle
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.fs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore import (
    ClientSide,
    KeyRing,
    LocalKey,
    MemoryStorageProvider,
    StorageConfigurationError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.filesystem import CredstoreFileSystem
from tests.filesystem.conftest import at_moto

MIB = 1024 * 1024
LONG = bytes(range(256)) * 4096 * 13  # More than two blocks, so that an upload is under way.


def test_a_path_is_a_key(any_fs):
    any_fs.pipe("folder/a.txt", b"plain")
    assert any_fs.ls("", detail=False) == any_fs.ls("/", detail=False) == ["/folder"]
    for path in ("folder/a.txt", "/folder/a.txt", "credstore://folder/a.txt", "credstore:///folder/a.txt"):
        assert any_fs.cat(path) == b"plain"
    info = any_fs.info("folder/a.txt")
    assert (info["name"], info["size"], info["type"]) == ("/folder/a.txt", 5, "file")
    assert any_fs.info("folder") == {"name": "/folder", "size": 0, "type": "directory"}


def test_what_is_absent_is_a_file_not_found_error(any_fs):
    any_fs.pipe("folder/a", b"")
    for call in (
        any_fs.info,
        any_fs.cat,
        any_fs.ls,
        any_fs.open,
        lambda path: any_fs.rm(path, recursive=True),
    ):
        with pytest.raises(FileNotFoundError):
            call("fold")
    assert not any_fs.exists("fold")
    assert not any_fs.isdir("fold")
    assert not any_fs.isfile("folder")


def test_a_store_that_fails_is_not_an_empty_one(s3_server):
    s3_server = type(s3_server)(s3_server.url, "no-such-bucket")
    fs = at_moto(s3_server)
    try:
        for call in (fs.exists, fs.isdir, fs.isfile, fs.ls, fs.find, lambda path: list(fs.walk(path))):
            with pytest.raises(Exception, match="bucket"):
                call("folder")
    finally:
        fs.close()


@given(
    start=st.none() | st.integers(-12, 12),
    end=st.none() | st.integers(-12, 12),
    size=st.integers(0, 10),
)
def test_a_range_is_a_slice(ranged, start, end, size):
    data = bytes(range(size))
    ranged.pipe("data", data)
    assert ranged.cat_file("data", start, end) == data[start:end]


@pytest.fixture(scope="module")
def ranged():
    def store():
        return MemoryStorageProvider()

    fs = CredstoreFileSystem(store, skip_instance_cache=True)
    yield fs
    fs.close()


def test_a_listing_is_never_cached(any_fs):
    any_fs.pipe("a/b", b"")
    assert any_fs.find("a", withdirs=True, detail=False) == ["/a", "/a/b"]
    any_fs.pipe("a/c/d", b"")
    assert any_fs.find("a", withdirs=True, detail=False) == ["/a", "/a/b", "/a/c", "/a/c/d"]
    assert any_fs.find("a", withdirs=True, maxdepth=1, detail=False) == ["/a", "/a/b", "/a/c"]
    assert any_fs.du("a") == 0


def test_removing_a_folder_removes_all_below_it(any_fs):
    any_fs.pipe({"a/b": b"", "a/c/d": b"", "ab": b""})
    any_fs.rm("a", recursive=True)
    assert any_fs.find("") == ["/ab"]
    any_fs.rm("", recursive=True)
    assert any_fs.find("") == []


@pytest.mark.parametrize("data", [b"", b"short", LONG], ids=["empty", "short", "long"])
def test_what_is_written_is_read(any_fs, data):
    with any_fs.open("file", "wb") as file:
        for start in range(0, len(data), MIB):
            file.write(data[start : start + MIB])
            assert not any_fs.exists("file")
    assert any_fs.cat("file") == data
    with any_fs.open("file") as file:
        file.seek(len(data) // 2)
        assert file.read(1000) == data[len(data) // 2 :][:1000]
        file.seek(-3 if len(data) > 3 else 0, 2)
        assert file.read() == data[-3:]


class OddError(Exception):
    pass


def in_with(fs, data):
    with fs.open("file", "wb") as file:
        file.write(data)
        raise OddError


def in_text(fs, data):
    with fs.open("file", "w", encoding="latin-1") as file:
        file.write(data.decode("latin-1"))
        raise OddError


def compressed(fs, data):
    with fs.open("file.gz", "wb", compression="gzip") as file:
        file.write(data)
        raise OddError


def compressed_text(fs, data):
    with fs.open("file.gz", "w", compression="infer", encoding="latin-1") as file:
        file.write(data.decode("latin-1"))
        raise OddError


def in_finally(fs, data):
    file = fs.open("file", "wb")
    try:
        file.write(data)
        raise OddError
    finally:
        file.close()


def through_fsspec(fs, data):
    with fsspec.core.OpenFile(fs, "file", "wb", compression="gzip") as file:
        file.write(data)
        raise OddError


def text_through_fsspec(fs, data):
    with fsspec.core.OpenFile(fs, "file", "w", encoding="latin-1") as file:
        file.write(data.decode("latin-1"))
        raise OddError


def through_pyarrow(fs, data):
    arrow = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(fs))
    with arrow.open_output_stream("file") as file:
        file.write(data)
        raise OddError


def while_another_is_handled(fs, data):
    try:
        raise KeyError
    except KeyError:
        in_with(fs, data)


def in_transaction(fs, data):
    with fs.transaction:
        with fs.open("file", "wb") as file:
            file.write(data)
        raise OddError


RAISING = [
    in_with,
    in_text,
    compressed,
    compressed_text,
    in_finally,
    through_fsspec,
    text_through_fsspec,
    through_pyarrow,
    while_another_is_handled,
    in_transaction,
]


@pytest.mark.parametrize("write", RAISING)
@pytest.mark.parametrize("data", [b"cut", LONG], ids=["short", "long"])
def test_a_writer_that_raised_publishes_nothing(memory_fs, write, data):
    with pytest.raises(OddError):
        write(memory_fs, data)
    gc.collect()
    assert memory_fs.find("") == []


@pytest.mark.parametrize("write", [in_with, through_pyarrow, in_transaction])
def test_an_upload_that_was_discarded_leaves_nothing_at_a_cloud(moto_fs, write):
    moto_fs.pipe("file", b"before")
    with pytest.raises(OddError):
        write(moto_fs, LONG)
    assert moto_fs.cat("file") == b"before"


@pytest.mark.parametrize(
    "options", [{}, {"mode": "w"}, {"compression": "gzip"}, {"mode": "w", "compression": "gzip"}]
)
@pytest.mark.parametrize("size", [1, 12 * MIB])
def test_a_file_that_nobody_closed_is_not_published(memory_fs, options, size):
    options = {"mode": "wb", **options}
    file = memory_fs.open("file", **options)
    file.write("x" * size if options["mode"] == "w" else b"x" * size)
    del file
    gc.collect()
    memory_fs.pipe("other", b"")  # By now the loop has ended what was under way.
    assert memory_fs.find("") == ["/other"]


def test_a_discarded_file_is_told(memory_fs, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(OddError):
        in_with(memory_fs, b"cut")
    assert [record.getMessage() for record in caplog.records if record.name == "credstore.filesystem"] == [
        "/file was not published, since its writer raised OddError"
    ]


def test_a_writer_that_recovered_publishes(memory_fs):
    with memory_fs.open("file", "wb") as file:
        try:
            raise OddError
        except OddError:
            file.write(b"recovered")
    assert memory_fs.cat("file") == b"recovered"


def test_a_report_of_an_error_is_published(memory_fs):
    try:
        raise OddError
    except OddError:
        with memory_fs.open("report", "w") as file:
            file.write("it failed")
    assert memory_fs.cat("report") == b"it failed"


def test_discard_is_for_whoever_does_not_raise(memory_fs):
    for data in (b"short", LONG):
        file = memory_fs.open("file", "wb")
        file.write(data)
        file.discard()
        file.close()
    assert memory_fs.find("") == []


def test_a_transaction_publishes_at_its_end(any_fs):
    with any_fs.transaction:
        for name, data in (("short", b"short"), ("long", LONG)):
            with any_fs.open(name, "wb") as file:
                file.write(data)
        assert any_fs.find("") == []
    assert any_fs.cat(["short", "long"]) == {"/short": b"short", "/long": LONG}


def test_a_file_that_raised_within_a_transaction_is_left_out(memory_fs):
    with memory_fs.transaction:
        with pytest.raises(OddError):
            in_with(memory_fs, LONG)
        with memory_fs.open("other", "wb") as file:
            file.write(b"other")
    assert memory_fs.find("") == ["/other"]


def test_a_failed_upload_reaches_the_writer(s3_server):
    fs = at_moto(type(s3_server)(s3_server.url, "no-such-bucket"))
    try:
        for data in (b"short", LONG):
            with pytest.raises(Exception, match="bucket"), fs.open("file", "wb") as file:
                file.write(data)
    finally:
        fs.close()


def test_exclusive_files_never_replace(any_fs):
    file = any_fs.open("file", "xb")
    file.write(b"late")
    any_fs.pipe("file", b"first")
    with pytest.raises(FileExistsError):
        file.close()
    assert any_fs.cat("file") == b"first"


def test_nothing_is_appended(memory_fs):
    with pytest.raises(StorageUnsupportedError, match="as a whole"):
        memory_fs.open("file", "ab")


def test_a_reader_sees_one_version(any_fs):
    any_fs.pipe("file", b"1" * 100)
    with any_fs.open("file", cache_type="none") as file:
        assert file.read(10) == b"1" * 10
        any_fs.pipe("file", b"2" * 100)
        with pytest.raises(StoragePreconditionFailedError, match="replaced"):
            file.read(10)


@pytest.mark.parametrize("options", [{"compress": True}, {"compress": "zstd"}])
def test_sizes_of_compressed_files_are_those_that_are_read(any_fs, options):
    data = b"plain " * 10_000
    any_fs.pipe_file("file", data, **options)
    assert any_fs.size("file") == len(data)
    assert any_fs.info("file")["stored_size"] < len(data)
    with any_fs.open("file") as file:
        file.seek(-6, 2)
        assert file.read() == b"plain "


@pytest.mark.parametrize("compress", [False, "zstd"])
def test_encrypted_files_are_read_and_written(compress):
    ring = KeyRing(LocalKey(bytes(range(32))))

    def store():
        return MemoryStorageProvider(encryption=ClientSide(ring, store_id="files"))

    fs = CredstoreFileSystem(store, skip_instance_cache=True)
    try:
        for data in (b"plain", LONG):
            with fs.open("file", "wb", compress=compress) as file:
                file.write(data)
            with fs.open("file") as file:
                assert file.size == len(data)
                file.seek(-4, 2)
                assert file.read() == data[-4:]
            assert fs.cat("file") == data
    finally:
        fs.close()


def test_types_are_those_of_the_names(any_fs):
    any_fs.pipe("page.html", b"")
    any_fs.pipe_file("other", b"", content_type="text/x-odd", metadata={"by": "me"})

    async def item(key):
        return await any_fs._provider().get_metadata(key)

    found = [fsspec.asyn.sync(any_fs.loop, item, key) for key in ("page.html", "other")]
    assert [(each.content_type, each.cache_control) for each in found] == [
        ("text/html", "no-cache"),
        ("text/x-odd", "no-cache"),
    ]


def test_a_file_is_fetched_whole_or_not_at_all(any_fs, tmp_path):
    any_fs.pipe("file", b"new")
    there = tmp_path / "there"
    there.write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        any_fs.get_file("absent", str(there))
    assert there.read_bytes() == b"old"
    any_fs.get("file", str(there))
    assert there.read_bytes() == b"new"
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["there"]
    (tmp_path / "folder").mkdir()
    any_fs.get("file", str(tmp_path / "folder"))
    assert (tmp_path / "folder" / "file").read_bytes() == b"new"


def test_a_missing_local_file_is_not_found(memory_fs, tmp_path):
    with pytest.raises(FileNotFoundError):
        memory_fs.put_file(str(tmp_path / "absent"), "file")
    assert memory_fs.find("") == []


def test_a_link_is_temporary(disk_fs):
    disk_fs.pipe("file", b"")
    link = disk_fs.sign("file", 60)
    assert "file" in str(link)
    assert disk_fs.modified("file").tzinfo is not None


def test_urls_name_the_store_by_an_option(local_fs_url):
    with fsspec.open("credstore://a/b.txt", "w", store=local_fs_url) as file:
        file.write("plain")
    fs, path = fsspec.url_to_fs("credstore://a/b.txt", store=local_fs_url)
    assert fs.cat(path) == b"plain"
    assert pickle.loads(pickle.dumps(fs)) == fs
    with pickle.loads(pickle.dumps(fs.open(path))) as file:
        assert file.read() == b"plain"
    fs.close()


def test_without_an_option_the_environment_names_the_store(local_fs_url, monkeypatch):
    monkeypatch.setenv("CREDSTORE_URL", local_fs_url)
    fs = CredstoreFileSystem(skip_instance_cache=True)
    fs.pipe("a", b"1")
    fs.close()
    assert CredstoreFileSystem(local_fs_url, skip_instance_cache=True).cat("a") == b"1"


def test_a_store_is_a_url_or_a_function():
    for wrong in (MemoryStorageProvider, {"provider": "memory"}, "nothing"):
        with pytest.raises(StorageConfigurationError):
            CredstoreFileSystem(wrong, skip_instance_cache=True)


def test_asynchronous_use_has_a_provider_of_the_callers_loop(local_fs_url):
    async def use():
        fs = CredstoreFileSystem(local_fs_url, asynchronous=True, skip_instance_cache=True)
        await fs._pipe_file("a/b", b"1")
        found = await fs._cat_file("a/b"), await fs._ls("a", detail=False)
        await fs.aclose()
        return found

    assert asyncio.run(use()) == (b"1", ["/a/b"])


def test_fsspec_finds_it_where_it_is_installed():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (entry,) = project["entry-points"]["fsspec.specs"].items()
    found = EntryPoint(*entry, group="fsspec.specs")
    assert (found.name, found.load()) == (CredstoreFileSystem.protocol, CredstoreFileSystem)


NAMED = "report[1].pdf"
"""As a pattern, it matches the other."""
OTHER = "report1.pdf"


@pytest.fixture
def named(any_fs):
    for folder in ("", "folder[1]/", "folder1/"):
        any_fs.pipe_file(folder + NAMED, b"own")
        any_fs.pipe_file(folder + OTHER, b"other")
    return any_fs


@pytest.mark.parametrize("recursive", [False, True])
def test_removing_a_name_like_a_pattern_removes_what_has_it(named, recursive):
    named.rm(NAMED, recursive=recursive)
    assert not named.exists(NAMED)
    assert named.cat(OTHER) == b"other"
    named.rm("folder[1]", recursive=True)
    assert not named.exists("folder[1]")
    assert named.exists("folder1/" + OTHER)


def test_removing_by_a_pattern_removes_what_matches(named):
    named.rm("report[0-9].pdf")
    assert named.exists(NAMED)
    assert not named.exists(OTHER)
    with pytest.raises(FileNotFoundError):
        named.rm("nothing[1]")


@pytest.mark.parametrize("destination", ["moved.pdf", "into/", "there"])
def test_moving_a_name_like_a_pattern_moves_what_has_it(named, destination):
    named.pipe_file("there/x", b"")
    goes = {"into/": "into/" + NAMED, "there": "there/" + NAMED}.get(destination, destination)
    named.mv(NAMED, destination)
    assert named.cat_file(goes) == b"own"
    assert named.cat_file(OTHER) == b"other"
    assert not named.exists(NAMED)


def test_reading_and_fetching_a_name_like_a_pattern_gives_what_has_it(named, tmp_path):
    assert named.cat(NAMED) == b"own"
    assert named.cat([NAMED, "report[2].pdf", OTHER]) == {f"/{NAMED}": b"own", f"/{OTHER}": b"other"}
    assert sorted(named.cat("*.pdf")) == [f"/{OTHER}", f"/{NAMED}"]
    named.get(NAMED, tmp_path / "as")
    named.get(NAMED, f"{tmp_path}/in/")
    named.get("folder[1]/" + NAMED, str(tmp_path))
    assert [(tmp_path / each).read_bytes() for each in ("as", f"in/{NAMED}", NAMED)] == [b"own"] * 3
