"""What a blocking store is given to store may itself use a store: generators, files and readers."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import credstore.sync
from credstore import StorageError, StorageIntegrityError, StorageInvalidRequestError

LARGE = os.urandom(2_000_000) * 2
"""More than is decoded, decrypted or hashed on the loop, and than is spooled."""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path):
    with credstore.sync.connect(Path(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def other(tmp_path):
    with credstore.sync.connect(Path(tmp_path / "other")) as store:
        yield store


def program(code, place):
    """What a new interpreter says; fails, with all its stacks, where it hangs."""
    guard = "import faulthandler; faulthandler.dump_traceback_later(90, exit=True)\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", guard + code],
        cwd=place, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


NESTED = """
import os, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import credstore.sync
from credstore import *
MANY = 40  # More than any pool of the library's has threads.
data = os.urandom(600_000) * 2
key = KeyRing(LocalKey(os.urandom(32)))
def generated(s):
    with s.open("a") as r:
        yield from r
class File:
    def __init__(self, s):
        self.chunks = generated(s)
    def read(self, size=-1):
        return next(self.chunks, b"") if size else b""
def nested(s):
    s.store(f"inner-{threading.get_ident()}", generated(s))
    yield from generated(s)
def piped(s):
    name = f"pipe-{threading.get_ident()}"
    os.mkfifo(name)
    def write():
        with open(name, "wb") as file:
            for chunk in generated(s):
                file.write(chunk)
    threading.Thread(target=write).start()
    return Path(name)
def main(make, compress, config=Path("store"), **options):
    with credstore.sync.connect(config, **options) as s:
        s.store("a", data, compress=compress)
        def one(number):
            return s.store(f"b{number}", make(s), compress=compress).plain_size
        with ThreadPoolExecutor(MANY) as pool:
            sizes = set(pool.map(one, range(MANY)))
        print(sizes == {len(data)}, s.retrieve("b0") == data)
"""
ENCRYPTED = "encryption=ClientSide(key, store_id='s')"


@pytest.mark.parametrize(
    "call",
    [
        "main(generated, 'zstd')",
        f"main(generated, False, {ENCRYPTED})",
        f"main(generated, 'zstd', {ENCRYPTED})",
        "main(nested, 'zstd')",
        "main(File, 'zstd')",
        "main(piped, 'zstd')",
        "main(generated, 'zstd', LocalConfig(path='store', dedup=True))",
        "main(generated, 'zstd', LocalConfig(path='store', cache='cache'))",
        "main(generated, 'zstd', LocalConfig(path='store', group_commit=True))",
    ],
)
def test_many_sources_that_read_the_same_store_at_a_time_are_stored(tmp_path, call):
    assert program(f"{NESTED}\n{call}", tmp_path) == ["True", "True"]


GROUPED = """
import threading
from concurrent.futures import ThreadPoolExecutor
import credstore.sync
from credstore import LocalConfig
with credstore.sync.connect(LocalConfig(path="store", group_commit=True)) as s:
    s.store("a", bytes(50_000))
    def source():
        with s.open("a") as r:
            yield from r
        s.store(f"inner-{threading.get_ident()}", b"1")
    with ThreadPoolExecutor(40) as pool:
        print({each.size for each in pool.map(lambda number: s.store(f"b{number}", source()), range(40))})
"""


def test_sources_that_use_a_store_with_shared_flushes(tmp_path):
    assert program(GROUPED, tmp_path) == ["{50000}"]


def test_a_generator_that_is_left_early_may_still_use_the_store(store):
    seen = []

    def source():
        try:
            yield LARGE
            yield None  # It is refused, and the generator with it.
        finally:
            seen.append(store.exists("k"))

    with pytest.raises(StorageInvalidRequestError, match="NoneType"):
        store.store("k", source())
    assert seen == [False]


def test_a_generator_runs_and_is_closed_where_it_may_wait_for_a_store(store):
    """Not on the loop, where `with store.open()` would be refused."""
    seen = set()

    def source():
        seen.add(threading.current_thread())
        try:
            for _ in range(5):
                yield LARGE
                seen.add(threading.current_thread())
            yield None
        finally:
            seen.add(threading.current_thread())

    with pytest.raises(StorageInvalidRequestError):
        store.store("k", source())
    assert {thread.name for thread in seen} == {"credstore-waiting"}


RAISED = """
import credstore.sync
with credstore.sync.connect("memory:") as s:
    for kind in (KeyboardInterrupt, SystemExit):
        def source():
            yield b"1"
            raise kind
        try:
            s.store("k", source())
        except BaseException as error:
            print(type(error).__name__)
        def progress(done, total):
            raise kind
        try:
            s.store("k", b"1", progress=progress)
        except BaseException as error:
            print(type(error).__name__)
    print(s.store("k", b"1").size)
"""


def test_an_exit_that_a_source_or_a_callback_raises_is_the_callers_alone(tmp_path):
    assert program(RAISED, tmp_path) == 2 * ["KeyboardInterrupt"] + 2 * ["SystemExit"] + ["1"]


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("compress", [False, "zstd"])
def test_a_reader_is_stored_in_the_same_store_and_in_another(store, other, data, compress):
    store.store("a", data, compress=compress)
    for target, key in ((store, "b"), (other, "a"), (store, "a")):
        with store.open("a") as reader:
            assert target.store(key, reader, compress=compress).plain_size == len(data)
        assert target.retrieve(key) == data


def test_a_range_is_stored(store, other):
    store.store("a", LARGE)
    with store.open("a", start=10, end=1_500_000) as reader:
        other.store("part", reader)
    assert other.retrieve("part") == LARGE[10:1_500_000]


def test_what_is_left_of_a_reader_is_stored(store, other):
    store.store("a", LARGE)
    with store.open("a") as reader:
        chunks = iter(reader)
        begin = next(chunks)
        other.store("rest", reader)
        assert begin + other.retrieve("rest") == LARGE


def test_a_reader_at_its_end_is_refused_and_what_is_there_stays(store, other):
    store.store("a", LARGE)
    other.store("k", b"precious")
    with store.open("a") as reader:
        reader.read()
        with pytest.raises(StorageInvalidRequestError, match="at its end") as caught:
            other.store("k", reader)
    assert (caught.value.operation, caught.value.applied) == ("store", "no")
    with store.open("a") as unread:
        pass
    with pytest.raises(StorageInvalidRequestError, match="closed"):
        other.store("k", unread)
    assert other.retrieve("k") == b"precious"


def test_an_empty_object_is_stored_from_its_reader(store, other):
    store.store("a", b"")
    with store.open("a") as reader:
        other.store("k", reader)
    assert other.retrieve("k") == b""


def test_a_reader_of_a_closed_store_is_refused(store, other):
    store.store("a", LARGE)
    reader = store.open("a").__enter__()
    store.close()
    with pytest.raises(StorageError) as caught:
        other.store("k", reader)
    assert (caught.value.code, other.exists("k")) == ("CLOSED", False)


def test_an_error_of_a_reader_is_the_callers(store, other, tmp_path):
    store.store("a", LARGE)
    with store.open("a") as reader:
        (tmp_path / "store" / "a").write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
        with pytest.raises(StorageIntegrityError):
            other.store("k", reader)
        with pytest.raises(StorageIntegrityError):
            other.store("k", reader)  # And again, since it has failed.
    assert not other.exists("k")
