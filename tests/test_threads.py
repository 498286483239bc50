"""The pool of the library's own work, and the threads of whatever may wait for anything."""

import asyncio
import contextvars
import gc
import hashlib
import os
import re
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from credstore import threads
from credstore.concurrency import in_thread
from credstore.errors import StorageUnavailableError
from credstore.hashing import LOOP_BUDGET, sha256
from credstore.threads import OneByOne, in_daemon, in_pool

DATA = bytes(LOOP_BUDGET + 1)
ROOT = Path(__file__).parents[1]
WORD = contextvars.ContextVar("word", default="none")


def program(code, place):
    """What a new interpreter says and ends with; fails where it hangs."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=place, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_the_library_works_while_the_executor_of_the_loop_is_full_of_calls_that_wait_for_it():
    go = threading.Event()

    async def main():
        loop = asyncio.get_running_loop()
        waiting = [loop.run_in_executor(None, go.wait, 600) for _ in range(40)]
        try:
            async with asyncio.timeout(60):
                assert await sha256(DATA) == hashlib.sha256(DATA).digest()
                assert await in_thread(divmod, 7, 2) == (3, 1)
        finally:
            go.set()
            await asyncio.gather(*waiting)

    asyncio.run(main())


def test_only_what_waits_for_the_programs_own_servers_uses_the_executor_of_the_loop():
    uses = re.compile(r"to_thread\(|run_in_executor\(\s*None|set_default_executor")
    found = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "credstore").rglob("*.py")
        if uses.search(path.read_text())
    }
    assert {path for path in found if not path.startswith(("credstore/cli/demo/", "credstore/testing/"))} == {
        "credstore/wire/child_processes.py"
    }


def test_the_context_of_the_caller_is_that_of_the_work():
    async def main():
        WORD.set("said")
        thread = OneByOne()
        found = [await in_pool(WORD.get), await in_daemon(WORD.get), await thread.call(WORD.get)]
        WORD.set("again")
        found.append(await thread.call(WORD.get))
        await thread.call(lambda: WORD.set("by the thread"))
        assert [*found, await thread.call(WORD.get)] == ["said", "said", "said", "again", "again"]

    asyncio.run(main())


def raising(error):
    raise error


@pytest.mark.parametrize("error", [KeyError("theirs"), KeyboardInterrupt("theirs"), SystemExit("theirs")])
def test_an_error_is_the_callers(error):
    async def main():
        thread = OneByOne()
        for calls in (in_daemon, thread.call):
            with pytest.raises(type(error), match="theirs"):
                await calls(lambda: raising(error))
        assert await thread.call(lambda: 1) == 1  # The thread goes on.

    with asyncio.Runner() as runner:
        task = runner.get_loop().create_task(main())
        while not task.done():
            try:
                runner.get_loop().run_until_complete(task)
            except (KeyboardInterrupt, SystemExit):
                continue
        task.result()


def test_a_call_that_ends_by_stop_iteration_is_an_error_and_no_wait_for_ever():
    async def main():
        for calls in (in_daemon, OneByOne().call):
            async with asyncio.timeout(60):
                with pytest.raises(RuntimeError, match="StopIteration"):
                    await calls(lambda: next(iter(())))

    asyncio.run(main())


def test_what_was_called_is_not_kept():
    class Thing:
        def give(self):
            return self

        def fail(self):
            raise KeyError

    async def main():
        thread = OneByOne()
        for calls in (in_daemon, thread.call):
            thing = Thing()
            seen = weakref.ref(thing)
            await calls(thing.give)
            with pytest.raises(KeyError):
                await calls(thing.fail)
            del thing
            await thread.call(int)  # The thread has left the call before.
            await in_daemon(int)
            gc.collect()
            assert seen() is None

    asyncio.run(main())


def test_calls_of_one_thing_come_one_after_another_and_threads_serve_many():
    async def main():
        own = OneByOne()
        assert own.end(int) is None  # Nothing was called.
        under_way, most = 0, 0

        def call(number):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            under_way -= 1
            return number, threading.current_thread()

        told = await asyncio.gather(*(own.call(lambda number=number: call(number)) for number in range(100)))
        assert [number for number, _ in told] == list(range(100))
        assert most == 1
        assert threading.main_thread() not in {thread for _, thread in told}
        assert await own.end(lambda: 7) == 7
        many = [OneByOne() for _ in range(2000)]
        seen = await asyncio.gather(*(each.call(threading.current_thread) for each in many))
        assert len(set(seen)) <= threads.MOST

    asyncio.run(main())


def test_calls_that_wait_for_each_other_all_get_a_thread():
    barrier = threading.Barrier(3 * threads.USUAL)

    async def main():
        async with asyncio.timeout(120):
            await asyncio.gather(*(OneByOne().call(barrier.wait) for _ in range(3 * threads.USUAL)))

    asyncio.run(main())


def test_where_the_system_starts_no_more_threads_calls_wait_for_those_there_are(monkeypatch):
    class Thread(threading.Thread):
        def start(self):
            if allowed:
                allowed.pop()
                super().start()
            else:
                raise RuntimeError("can't start new thread")

    allowed = []
    monkeypatch.setattr(threads, "Thread", Thread)
    monkeypatch.setattr(threads, "_of_process", {})

    async def main():
        own = OneByOne()
        for call in (in_daemon, own.call):
            with pytest.raises(StorageUnavailableError, match="no more threads"):
                await call(int)
        allowed.extend([True] * 2)
        calls = [own.call(lambda: 1), *(OneByOne().call(lambda: 1) for _ in range(200))]
        async with asyncio.timeout(120):
            assert await asyncio.gather(*calls) == [1] * 201

    asyncio.run(main())


def test_threads_without_work_end(monkeypatch):
    monkeypatch.setattr(threads, "KEPT", 0.0)
    monkeypatch.setattr(threads, "_of_process", {})
    found = asyncio.run(asyncio.wait_for(_threads(), 60))
    for each in found:
        each.join(60)
        assert not each.is_alive()


async def _threads():
    return {await in_daemon(threading.current_thread) for _ in range(5)}


def test_the_end_of_a_call_that_no_one_waits_for_is_not_waited_for():
    begun, go, order = threading.Event(), threading.Event(), []

    def work():
        begun.set()
        assert go.wait(600)
        order.append("call")

    async def main():
        own, ended = OneByOne(), threading.Event()
        task = asyncio.ensure_future(own.call(work))
        await in_daemon(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        def last():
            order.append("last")
            ended.set()

        assert own.end(last) is None
        go.set()
        await in_daemon(ended.wait)
        assert order == ["call", "last"]

    asyncio.run(main())


FORKED = """
import asyncio, os, warnings
from credstore.threads import in_pool
async def main():
    return await asyncio.gather(*(in_pool(os.getpid) for _ in range(40)))
assert set(asyncio.run(main())) == {os.getpid()}
warnings.simplefilter("ignore")  # Newer versions warn of forks of a process with threads.
child = os.fork()
if not child:
    async def soon():
        async with asyncio.timeout(60):
            return await main()
    os._exit(set(asyncio.run(soon())) != {os.getpid()})
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_has_a_pool_of_its_own(tmp_path):
    done = program(FORKED, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")


ABANDONED = """
import asyncio, atexit, threading
from pathlib import Path
import credstore, credstore.threads
credstore.threads.PATIENCE = PATIENCE_OF_TEST
begun, go = threading.Event(), threading.Event()
def source():
    try:
        yield b"1"
        begun.set()
        go.wait()
        yield b"2"
    finally:
        print("closed", flush=True)
async def main():
    async with credstore.connect("memory:") as store:
        task = asyncio.ensure_future(store.store("k", source()))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            print("cancelled", await store.exists("k"), flush=True)
asyncio.run(main())
AT_EXIT
"""


def test_a_source_that_never_ends_keeps_no_program_from_ending(tmp_path):
    code = ABANDONED.replace("PATIENCE_OF_TEST", "0.0").replace("AT_EXIT", "")
    done = program(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cancelled False\n", "")


def test_a_generator_that_was_left_while_it_ran_is_closed_before_the_program_ends(tmp_path):
    code = ABANDONED.replace("PATIENCE_OF_TEST", "60.0").replace("AT_EXIT", "atexit.register(go.set)")
    done = program(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cancelled False\nclosed\n", "")
