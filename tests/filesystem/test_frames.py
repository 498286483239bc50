"""Tables: round trips with each library, reads by ranges, and which store the environment means."""

import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from credstore import (
    MemoryStorageProvider,
    StorageConfigurationError,
    StorageInvalidRequestError,
)
from credstore.frames import TableStorage, get_storage
from tests.filesystem.conftest import at_moto

ROWS = 200_000
COLUMNS = ["a", "b", "c", "d"]


@pytest.fixture
def memory():
    def store():
        return MemoryStorageProvider()

    with TableStorage(store) as storage:
        yield storage


def frames():
    pandas = pd.DataFrame({"year": [2025, 2026, 2026], "name": ["x", "y", "z"], "share": [0.5, 0.25, 1.0]})
    arrow = pa.table({name: list(pandas[name]) for name in pandas})
    return {"pandas": pandas, "polars": pl.from_pandas(pandas), "pyarrow": arrow}


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    else:
        assert one.equals(other)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_what_is_written_is_read(memory, library):
    frame = frames()[library]
    memory.write_parquet(frame, "tables/a.parquet", compression="zstd")
    memory.write_csv(frame, "tables/a.csv")
    same(memory.read_parquet("tables/a.parquet", into=library), frame)
    same(memory.read_csv("tables/a.csv", into=library), frame)
    assert memory.list_files() == memory.list_files("tables") == ["tables/a.csv", "tables/a.parquet"]
    assert (
        memory.list_files(pattern="**/*.csv")
        == memory.list_files("tables", pattern="*.csv")
        == ["tables/a.csv"]
    )
    assert memory.list_files("absent") == []
    assert memory.exists("tables/a.csv")
    assert memory.exists("tables")
    assert not memory.exists("absent")


def test_partitions_are_folders_and_columns(memory):
    frame = frames()["pandas"]
    memory.write_parquet(frame, "sales", partition_by=["year"])
    assert {name.rpartition("/")[0] for name in memory.list_files()} == {"sales/year=2025", "sales/year=2026"}
    found = memory.read_parquet("sales", filters=[("year", "=", 2026)])
    assert sorted(found["name"]) == ["y", "z"]
    assert list(memory.read_parquet("sales", columns=["name"]).columns) == ["name"]
    memory.write_parquet(frame, "sales", partition_by=["year"], append=True)
    assert len(memory.read_parquet("sales")) == 6
    memory.write_parquet(frame[:1], "sales", partition_by=["year"])
    assert list(memory.read_parquet("sales")["name"]) == ["x"]


def test_a_table_that_cannot_be_written_leaves_what_was_there(memory):
    frame = frames()["pandas"]
    for given in ({}, {"partition_by": ["year"]}):
        memory.write_parquet(frame, "table", **given)
        before = memory.list_files()
        with pytest.raises(Exception, match="nonsense"):
            memory.write_parquet(frame[:1], "table", **given, compression="nonsense")
        assert memory.list_files() == before
        assert len(memory.read_parquet("table")) == 3
        memory.file_system.rm("table", recursive=True)


def test_a_partition_that_failed_takes_the_new_files_with_it(memory, monkeypatch):
    frame = frames()["pandas"]
    memory.write_parquet(frame, "sales", partition_by=["year"])
    before = memory.list_files()
    write = pa.dataset.write_dataset

    def torn(*given, **options):
        write(*given, **options)
        raise OSError("the disk is full")

    monkeypatch.setattr(pa.dataset, "write_dataset", torn)
    with pytest.raises(OSError, match="full"):
        memory.write_parquet(frame, "sales", partition_by=["year"])
    assert memory.list_files() == before


class Counting:
    """Counts what is read of each object, as an observer of the store's own reads."""

    def __init__(self, fs):
        self.bytes = self.reads = 0
        read = fs.read_range

        async def counted(path, wanted):
            data, etag = await read(path, wanted)
            self.bytes += len(data)
            self.reads += 1
            return data, etag

        fs.read_range = counted


def noise(size):
    return np.random.default_rng(1).random((size, len(COLUMNS)))


def test_a_column_is_read_without_the_file(s3_server):
    fs = at_moto(s3_server)
    table = pa.Table.from_pandas(pd.DataFrame(noise(ROWS), columns=COLUMNS))
    with TableStorage(fs._make) as storage:
        storage.write_parquet(table, "table", row_group_size=ROWS // 4, use_dictionary=False)
        size = storage.file_system.size("table")
        column = size / len(COLUMNS)
        counted = Counting(storage.file_system)
        assert storage.read_parquet("table", columns=["b"], into="pyarrow").equals(table.select(["b"]))
        assert column <= counted.bytes < 1.15 * column
        assert counted.reads <= 2 + 4

        counted.bytes = counted.reads = 0
        found = storage.read_parquet("table", columns=["c"], row_groups=[2], into="pyarrow")
        assert found.equals(table.select(["c"]).slice(ROWS // 2, ROWS // 4))
        assert column / 4 <= counted.bytes < 1.5 * column / 4
        assert counted.reads <= 2 + 1


def test_filters_leave_out_row_groups(memory):
    table = pa.table({"key": list(range(4000)), "noise": noise(1000).reshape(-1)})
    memory.write_parquet(table, "table", row_group_size=1000)
    size = memory.file_system.size("table")
    with memory.file_system.open("table") as file:
        assert pq.ParquetFile(file).num_row_groups == 4
    counted = Counting(memory.file_system)
    found = memory.read_parquet("table", columns=["noise"], filters=[("key", ">=", 3500)], into="pyarrow")
    assert found.equals(table.select(["noise"]).slice(3500))
    assert counted.bytes > 0
    assert counted.reads <= 4
    assert size > 0


def test_wrong_arguments_are_refused(memory):
    memory.write_parquet(frames()["pandas"], "table")
    with pytest.raises(StorageInvalidRequestError, match="not by both"):
        memory.read_parquet("table", filters=[("year", "=", 1)], row_groups=[0])
    with pytest.raises(StorageInvalidRequestError, match="not of 'spark'"):
        memory.read_parquet("table", into="spark")
    with pytest.raises(StorageInvalidRequestError, match="not of 'os'"):
        memory.read_csv("table", into="os")
    for wrong in ([1], {"a": [1]}, pd.Series([1])):
        with pytest.raises(StorageInvalidRequestError, match="is expected"):
            memory.write_parquet(wrong, "other")
        with pytest.raises(StorageInvalidRequestError, match="is expected"):
            memory.write_csv(wrong, "other")
    with pytest.raises(StorageInvalidRequestError, match="as a whole"):
        memory.write_parquet(frames()["pandas"], "table", append=True)
    for read in (memory.read_parquet, memory.read_csv):
        with pytest.raises(FileNotFoundError):
            read("absent")
    assert memory.list_files() == ["table"]


def test_a_library_that_is_not_installed_is_named(memory, monkeypatch):
    memory.write_parquet(frames()["pyarrow"], "table")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(StorageConfigurationError, match="pip install polars") as caught:
        memory.read_parquet("table", into="polars")
    assert caught.value.code == "EXTRA_MISSING"


def test_where_nothing_is_set_it_is_a_local_folder(tmp_path):
    with get_storage({"PATH": "/bin", "AWS_REGION": "eu-west-1"}, local=tmp_path / "data") as storage:
        storage.write_csv(frames()["pandas"], "a.csv")
    assert (tmp_path / "data" / "a.csv").read_text().startswith("year,name,share\n")


def test_one_variable_switches_and_rolls_back(tmp_path, s3_server):
    both = {
        "STORAGE_PATH": str(tmp_path / "disk"),
        "CREDSTORE_BUCKET": s3_server.bucket,
        "CREDSTORE_ENDPOINT": s3_server.url,
        "CREDSTORE_ALLOW_HTTP": "true",
        "CREDSTORE_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "CREDSTORE_SECRET_ACCESS_KEY": "canary-secret-access-key",
    }
    for provider in ("minio", "local", "minio"):
        with get_storage({**both, "CREDSTORE_PROVIDER": provider}) as storage:
            assert storage.exists(f"{provider}.csv") == (
                provider == "minio" and storage.exists("written.csv")
            )
            storage.write_csv(frames()["pandas"], f"{provider}.csv")
            storage.write_csv(frames()["pandas"], "written.csv")
    assert (tmp_path / "disk" / "local.csv").is_file()


@pytest.mark.parametrize(
    "environ",
    [
        {"CREDSTORE_PROVIDER": "r2"},
        {"STORAGE_PROVIDER": "s3"},
        {"CREDSTORE_URL": "s3:"},
        {"R2_BUCKET": "tables"},
        {"AWS_BUCKET_NAME": "tables"},
        {"STORAGE_BUCKET": "tables"},
        {"CREDSTORE_PREFIX": "tables"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_a_cloud_that_is_named_and_not_configured_is_an_error(environ, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageConfigurationError):
        get_storage(environ)
    assert not list(tmp_path.iterdir())


def test_pandas_reads_and_writes_urls(tmp_path):
    options = {"store": f"file://{tmp_path}/store"}
    frame = frames()["pandas"]
    frame.to_parquet("credstore://a/b.parquet", storage_options=options)
    frame.to_csv("credstore://a/b.csv", index=False, storage_options=options)
    same(pd.read_parquet("credstore://a/b.parquet", storage_options=options), frame)
    same(pd.read_csv("credstore://a/b.csv", storage_options=options), frame)


def test_a_frame_that_pandas_cannot_write_is_not_published(memory):
    class OddError(Exception):
        pass

    class Odd:
        def __str__(self):
            raise OddError

    frame = pd.DataFrame({"a": [*["x" * 1000] * 20_000, Odd()]})
    with pytest.raises(OddError), memory.file_system.open("a.csv", "w") as file:
        frame.to_csv(file)
    with pytest.raises(OddError):
        memory.write_csv(frame, "a.csv")
    assert memory.list_files() == []


@pytest.mark.parametrize(
    ("module", "extra", "absent"),
    [("filesystem", "fsspec", "fsspec"), ("frames", "fsspec", "fsspec"), ("frames", "frames", "pyarrow")],
)
def test_a_missing_extra_is_named(module, extra, absent):
    code = f"import sys\nsys.modules['{absent}'] = None\nimport credstore.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.count("Traceback") == 1
    assert f"pip install 'credstore[{extra}]'" in done.stderr


def test_tables_load_no_library_that_is_not_used():
    code = "import sys, credstore.frames\nprint(*{'polars', 'botocore'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
