"""The blocking store: every verb waits, on a loop of its own, and ends with its process or before."""

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import credstore
import credstore.sync
from credstore import StorageInvalidRequestError, StorageObjectNotFoundError, StorageProvider
from credstore.sync import BlockingStore
from docs import make_sync

DATA = b'{"claim": "original"}' * 100


@pytest.fixture
def store(tmp_path):
    with credstore.sync.connect(Path(tmp_path / "store")) as store:
        yield store


def refusal(function, *arguments, **options):
    with pytest.raises(StorageInvalidRequestError) as caught:
        function(*arguments, **options)
    return caught.value


def test_its_file_of_signatures_is_the_one_that_the_providers_source_makes():
    assert make_sync.TARGET.read_text() == make_sync.module(), "run `python docs/make_sync.py`"


def test_it_has_every_verb_with_the_same_arguments():
    verbs = {name for name in dir(StorageProvider) if not name.startswith("_")} - {"aclose"}
    assert verbs <= set(dir(BlockingStore))
    for name in verbs:
        theirs = inspect.getattr_static(StorageProvider, name)
        if inspect.isfunction(theirs):
            ours = inspect.signature(inspect.getattr_static(BlockingStore, name))
            assert str(ours.parameters) == str(inspect.signature(theirs).parameters), name
            assert not inspect.iscoroutinefunction(getattr(BlockingStore, name)), name


def test_what_is_stored_is_read_again(store):
    assert store.store("a/k", DATA, compress="gzip").plain_size == len(DATA)
    assert store.retrieve("a/k") == DATA
    assert store.retrieve("nothing") is None
    with store.open("a/k") as reader:
        assert b"".join(reader) == DATA
        assert reader.info.key == "a/k"
    assert store.open("a/k", start=1, end=3).read() == DATA[1:3]
    assert store.list(delimiter="/").prefixes == ("a/",)
    assert [item.key for item in store.scan()] == ["a/k"]
    assert store.get_signed_url("a/k").method == "GET"
    assert store.capabilities.writable
    assert store.metrics().verbs["store"].calls == 1
    with pytest.raises(StorageObjectNotFoundError), store.open("nothing"):
        pass


def test_the_original_words_for_files(store, tmp_path):
    (tmp_path / "photo").write_bytes(DATA)
    store.upload(tmp_path / "photo", "photo.jpg", compress="zstd")
    assert store.list_files() == ["photo.jpg"]
    assert store.get_file_size("photo.jpg") == len(DATA)
    assert store.get_metadata("photo.jpg").compression == "zstd"
    assert store.download("photo.jpg", tmp_path / "again").key == "photo.jpg"
    assert (tmp_path / "again").read_bytes() == DATA
    assert store.exists("photo.jpg")
    assert store.delete("photo.jpg")
    with pytest.raises(StorageObjectNotFoundError) as caught:
        store.get_file_size("photo.jpg")
    assert (caught.value.operation, caught.value.key) == ("get_file_size", "photo.jpg")


def test_it_can_be_opened_again(store):
    store.store("k", DATA)
    store.disconnect()
    store.disconnect()
    assert refusal(store.exists, "k").code == "CLOSED"
    assert "closed" in repr(store)
    assert store.connect() is store
    assert store.connect().exists("k")


def test_it_works_where_a_loop_is_running_as_in_a_notebook(store):
    async def cell():
        store.store("k", DATA)
        return store.retrieve("k")

    assert asyncio.run(cell()) == DATA


def test_many_threads_use_one_store(store):
    threads = [threading.Thread(target=store.store, args=(f"k{number}", DATA)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(store.list_files()) == 8


def test_a_callback_that_calls_its_store_is_refused(store):
    error = refusal(store.store, "k", DATA, progress=lambda *_: store.exists("k"))
    assert error.code == "WRONG_LOOP"


def test_leaving_a_scan_early_closes_it(store):
    for number in range(3):
        store.store(f"k{number}", DATA)
    for item in store.scan():
        assert item.key == "k0"
        break
    gc.collect()
    assert store.list_files() == ["k0", "k1", "k2"]


def test_its_thread_ends_with_it(tmp_path):
    before = set(threading.enumerate())
    store = credstore.sync.connect("memory:")
    (thread,) = {each for each in threading.enumerate() if each.name == "credstore"} - before
    store.close()
    assert not thread.is_alive()
    store = credstore.sync.connect("memory:")
    (thread,) = {each for each in threading.enumerate() if each.name == "credstore"} - before
    del store
    gc.collect()
    thread.join()  # Of a store that was collected, too.


def test_who_calls_while_another_thread_closes_is_refused_or_served_and_never_waits_for_ever():
    for _ in range(20):
        store = credstore.sync.connect("memory:")
        outcomes = []

        def calls(store=store, outcomes=outcomes):
            try:
                while True:
                    store.exists("k")
            except StorageInvalidRequestError as error:
                outcomes.append(error.code)

        threads = [threading.Thread(target=calls) for _ in range(3)]
        for each in threads:
            each.start()
        store.close()
        for each in threads:
            each.join(30)
            assert not each.is_alive()
        assert outcomes == ["CLOSED"] * 3


def test_wrong_settings_leave_no_thread():
    before = threading.active_count()
    with pytest.raises(credstore.StorageConfigurationError):
        credstore.sync.connect("s4://bucket")
    assert threading.active_count() == before


def run(code, place, **options):
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code],
        cwd=place, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, **options,
    )  # fmt: skip


FORKING = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import credstore.sync
store = credstore.sync.connect("memory:")
store.store("k", b"1")
child = os.fork()
if not child:
    try:
        store.exists("k")
    except credstore.StorageError as error:
        print(error.code, flush=True)
    with credstore.sync.connect("memory:") as own:
        own.store("k", b"1")
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert store.exists("k")
"""


def test_a_forked_child_is_refused_and_neither_it_nor_its_parent_hangs(tmp_path):
    done = run(FORKING, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "FORKED\n", "")


def test_a_program_that_does_not_close_ends_quietly(tmp_path, s3_server):
    code = (
        "import credstore.sync\n"
        "from pathlib import Path\n"
        "kept = [credstore.sync.connect(Path('store')), credstore.sync.connect("
        f"'custom://{s3_server.url.removeprefix('http://')}/{s3_server.bucket}?http=true')]\n"
        "for each in kept: each.store('k', b'1')\n"
    )
    keys = {"CREDSTORE_ACCESS_KEY_ID": "a", "CREDSTORE_SECRET_ACCESS_KEY": "b"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, **keys, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "store" / "k").read_bytes() == b"1"


INTERRUPTED = """
import os, signal, threading
from pathlib import Path
import credstore.sync
store = credstore.sync.connect(Path("store"))
def slow():
    yield b"1" * 100_000
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(0.2)
    yield b"1" * 100_000
try:
    store.store("k", slow())
except KeyboardInterrupt:
    print(store.list_files(), [each.name for each in Path("store").iterdir() if each.is_file()])
store.close()
"""


def test_an_interrupt_cancels_what_is_waited_for_and_leaves_nothing(tmp_path):
    done = run(
        INTERRUPTED, tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[] []\n", "")
