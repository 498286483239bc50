"""Every system call of every verb fails in turn: a "no" is only said where nothing was done, and only we say it."""

import asyncio
import errno
import fcntl
import itertools
import os
import threading

import pytest

from credstore.driver import CREATE, OVERWRITE, CopyRequest, Precondition, SignRequest
from credstore.errors import StorageError, StorageNotFoundError

from .support import StreamBody, make_driver, put_request

CALLS = [
    "open",
    "close",
    "read",
    "write",
    "pread",
    "pwrite",
    "lseek",
    "fsync",
    "utime",
    "rename",
    "link",
    "mkdir",
    "rmdir",
    "ftruncate",
    "unlink",
    "stat",
    "fstat",
    "scandir",
    "listdir",
    "dup",
    "fchmod",
    "copy_file_range",
    "statvfs",
    "access",
]
OLD, NEW = b"old" * 9, b"new" * 9


class Failing:
    """The call number `number` of the driver's threads fails with `code`; a close that fails has closed."""

    def __init__(self, patch, number, code):
        self.hit = None
        self._left = number
        self._code = code
        for name in CALLS:
            patch.setattr(os, name, self._wrap(name, getattr(os, name)))
        patch.setattr(fcntl, "flock", self._wrap("flock", fcntl.flock))

    def _wrap(self, name, real):
        def call(*args, **kwargs):
            if threading.current_thread().name.startswith("credstore-local"):
                self._left -= 1
                if self._left == 0:
                    self.hit = name
                    if name == "close":
                        real(*args, **kwargs)
                    raise OSError(self._code, os.strerror(self._code))
            return real(*args, **kwargs)

        return call


async def put(driver, mode=OVERWRITE, **fields):
    await driver.put(put_request("d/k", NEW, mode, metadata={}, **fields))


async def replaced(driver):
    await put(driver, Precondition("replace", (await driver.head("d/k")).etag))


async def copy(driver):
    source = await driver.head("source")
    await driver.copy(CopyRequest(source=source, destination="d/k", write_id="1" * 32))


async def tags(driver):
    await driver.put_tags("d/k", {"a": "b"})


async def hold(driver):
    await driver.set_legal_hold("d/k", held=True)


async def below(driver):
    await driver.put(put_request("d/k/below", NEW, metadata={}))


async def delete_many(driver):
    for outcome in (await driver.delete_many(["d/k"])).values():
        if isinstance(outcome, StorageError):
            raise outcome


async def deleted_if(driver):
    await driver.delete("d/k", if_match=(await driver.head("d/k")).etag)


VERBS = {
    "overwrite": (put, "d/k", True),
    "replace": (replaced, "d/k", True),
    "create": (lambda driver: put(driver, CREATE), "d/k", False),
    "stream": (lambda driver: put(driver, body=StreamBody([NEW[:9], NEW[9:]])), "d/k", True),
    "copy": (copy, "d/k", False),
    "copy over": (copy, "d/k", True),
    "tags": (tags, "d/k", True),
    "hold": (hold, "d/k", True),
    "make way": (below, "d/k/below", True),
    "delete": (lambda driver: driver.delete("d/k"), "d/k", True),
    "delete many": (delete_many, "d/k", True),
    "delete if": (deleted_if, "d/k", True),
}


async def state(root, key):
    """What a store opened anew has at a key."""
    driver = make_driver(root)
    try:
        async with await driver.get(key) as reader:
            found = await reader.read()
        return found, dict(await driver.get_tags(key)), await driver.get_retention(key)
    except StorageNotFoundError:
        return None
    finally:
        await driver.aclose()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOENT])
@pytest.mark.parametrize("verb", VERBS)
def test_no_is_said_only_of_what_was_not_done(tmp_path, verb, code):
    act, key, there = VERBS[verb]

    async def run(root, number):
        driver = make_driver(root, threads=1)
        await driver.put(put_request("source", NEW, metadata={}))
        if there:
            await driver.put(put_request("d/k", OLD, metadata={}))
        before = await state(root, key)
        error = None
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, number, code)
            try:
                await act(driver)
            except StorageError as caught:
                error = caught
        await driver.aclose()
        after = await state(root, key)
        if error is None:
            assert after != before or failing.hit, failing.hit
        elif error.applied == "no":
            assert after == before, (failing.hit, error)
        if there and key != "d/k":
            assert (await state(root, "d/k"))[0] == OLD
        return failing.hit is None

    for number in itertools.count(1):
        if asyncio.run(run(tmp_path / str(number), number)):
            assert number > 10
            return


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_closing_and_signing_let_out_no_bare_error_of_the_system(tmp_path, code):
    async def run(root, number):
        driver = make_driver(root, threads=1, link_url="http://127.0.0.1:8765")
        await driver.put(put_request("d/k", OLD, metadata={}))
        request = SignRequest(key="d/k", method="GET", expires_in=60)
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, number, code)
            for act in (lambda: driver.sign(request), driver.ping, driver.aclose, driver.aclose):
                try:
                    await act()
                except StorageError:
                    assert act != driver.aclose
        return failing.hit is None

    for number in itertools.count(1):
        if asyncio.run(run(tmp_path / str(number), number)):
            assert number > 10
            return
