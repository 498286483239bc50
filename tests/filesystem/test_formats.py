"""Other libraries' formats over `credstore://`: zarr arrays and safetensors files, and what reads cost."""

import json

import numpy as np
import pytest
import safetensors.numpy
import zarr

from credstore import MemoryConfig, StorageObjectNotFoundError, StorageProvider
from credstore.filesystem import CredstoreFileSystem
from tests.artifacts.stores import HookedDriver, Store


@pytest.fixture
def requests():
    return []


@pytest.fixture
def system(requests):
    """A file system in memory that notes the requests that read."""
    store = Store()

    class Noting(HookedDriver):
        async def get(self, key, *args, **options):
            requests.append("GET")
            return await super().get(key, *args, **options)

        async def head(self, key, *args, **options):
            requests.append("HEAD")
            return await super().head(key, *args, **options)

    def make():
        return StorageProvider(Noting(store), MemoryConfig())

    made = CredstoreFileSystem(make, skip_instance_cache=True)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda system: system.cat_file("a.txt"), "ä1234\r\n".encode()),
        (lambda system: system.cat_file("a.txt", 2, 5), b"123"),
        (lambda system: system.cat_file("a.txt", -4), b"34\r\n"),
        (lambda system: system.cat_ranges(["a.txt"], [2], [4]), [b"12"]),
        (lambda system: system.head("a.txt", 3), "ä1".encode()),
        (lambda system: system.head("a.txt", -1), "ä1234\r\n".encode()),
        (lambda system: system.tail("a.txt", 3), b"4\r\n"),
        (lambda system: system.tail("a.txt", 300), "ä1234\r\n".encode()),
        (lambda system: system.read_block("a.txt", 2, 2), b"12"),
        (lambda system: system.read_block("a.txt", 5, None), b"4\r\n"),
        (lambda system: system.read_text("a.txt", encoding="utf-8"), "ä1234\n"),
        (lambda system: system.read_text("a.txt", encoding="utf-8", newline=""), "ä1234\r\n"),
        (lambda system: system.read_bytes("a.txt"), "ä1234\r\n".encode()),
    ],
)
def test_where_the_size_is_not_needed_a_read_is_one_request(system, requests, read, expected):
    system.pipe_file("a.txt", "ä1234\r\n".encode())
    requests.clear()
    assert read(system) == expected
    assert requests == ["GET"]


def test_blocks_that_end_at_a_delimiter_and_reads_of_nothing(system):
    system.pipe_file("a.csv", b"one\ntwo\nthree\n")
    assert system.read_block("a.csv", 1, 4, delimiter=b"\n") == b"two\n"
    assert system.tail("a.csv", 0) == b""
    assert system.head("a.csv", 0) == b""
    assert system.read_text("a.csv", block_size=5) == "one\ntwo\nthree\n"
    for read in (system.head, system.tail, system.read_text):
        with pytest.raises(StorageObjectNotFoundError):
            read("none")


def test_a_zarr_array_is_written_and_a_part_of_it_read(system, requests):
    store = zarr.storage.FsspecStore(_asynchronous(system), path="/arrays/temperature.zarr")
    values = np.arange(200 * 100, dtype="f8").reshape(200, 100)
    array = zarr.create_array(store=store, shape=values.shape, chunks=(50, 50), dtype="f8")
    array[:] = values
    array.attrs["unit"] = "K"
    again = zarr.open_array(store=store, mode="r")
    assert again.attrs["unit"] == "K"
    requests.clear()
    assert (again[60:90, 10:20] == values[60:90, 10:20]).all()
    assert requests == ["GET"]
    assert (again[:] == values).all()
    assert len([name for name in system.find("arrays") if "/c/" in name]) == 8


def _asynchronous(system):
    return CredstoreFileSystem(system._make, asynchronous=True, skip_instance_cache=True)


def test_a_safetensors_file_is_written_and_one_tensor_of_it_read_by_a_range(system, requests):
    tensors = {"weight": np.arange(12, dtype="f4").reshape(3, 4), "bias": np.ones(100_000, dtype="f4")}
    with system.open("model.safetensors", "wb") as file:
        file.write(safetensors.numpy.save(tensors, metadata={"format": "np"}))
    with system.open("model.safetensors", "rb") as file:
        loaded = safetensors.numpy.load(file.read())
    assert all((loaded[name] == tensors[name]).all() for name in tensors)
    requests.clear()
    # The format: 8 bytes with the length of a header in JSON, the header, the tensors.
    header = int.from_bytes(system.cat_file("model.safetensors", 0, 8), "little")
    entry = json.loads(system.cat_file("model.safetensors", 8, 8 + header))["weight"]
    start, end = (8 + header + each for each in entry["data_offsets"])
    weight = np.frombuffer(system.cat_file("model.safetensors", start, end), "f4").reshape(entry["shape"])
    assert (weight == tensors["weight"]).all()
    assert requests == ["GET"] * 3
