"""From the moment an object is visible no answer says that nothing was done, whatever fails then."""

import asyncio
import errno
import os
import threading

import pytest

from credstore.driver import CREATE, OVERWRITE
from credstore.errors import ErrorCode, StorageError, StorageUnavailableError

from .support import StreamBody, leftovers, make_driver, open_files, put_request, read_pair

NEW = b"new" * 9


def close_fails_after(monkeypatch, moment, *, number):
    """The `number`th close after `moment` ("rename", "link", "unlink") tells of a lost write, as NFS does."""
    state = {"published": False, "closes": 0, "hit": False}
    real_close, real = os.close, getattr(os, moment)

    def publish(*args, **kwargs):
        real(*args, **kwargs)
        state["published"] = True

    def close(fd):
        real_close(fd)
        if state["published"] and threading.current_thread().name.startswith("credstore-local"):
            state["closes"] += 1
            if state["closes"] == number:
                state["hit"] = True
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, moment, publish)
    monkeypatch.setattr(os, "close", close)
    return state


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("moment", ["rename", "link"])
def test_no_failing_close_makes_a_visible_object_one_that_was_not_stored(tmp_path, moment, stream):
    async def run(root, number):
        driver = make_driver(root, threads=1)
        await driver.put(put_request("first", b"x"))
        if moment == "rename":
            await driver.put(put_request("d/k", b"old" * 9))
        mode = OVERWRITE if moment == "rename" else CREATE
        body = {"body": StreamBody([NEW])} if stream else {}
        error = None
        with pytest.MonkeyPatch.context() as patch:
            state = close_fails_after(patch, moment, number=number)
            try:
                await driver.put(put_request("d/k", NEW, mode, **body))
            except StorageError as caught:
                error = caught
            hit = state["hit"]
        assert await read_pair(driver, "d/k") == NEW
        if error is not None:
            assert error.applied == "maybe"
            with pytest.raises(StorageUnavailableError) as refused:
                await driver.put(put_request("other", b"x"))
            assert refused.value.code == ErrorCode.WRITES_DISABLED
        await driver.aclose()
        again = make_driver(root)
        await again.put(put_request("other", b"x"))
        await again.aclose()
        assert leftovers(root) == []
        return hit, error

    errors = []
    for number in range(1, 100):
        hit, error = asyncio.run(run(tmp_path / str(number), number))
        if not hit:
            break
        errors.append(error)
    assert len([error for error in errors if error]) == 1, "the close of the object's own file is told"
    assert number > 3


def test_no_failing_close_makes_a_deleted_object_one_that_was_not_deleted(tmp_path):
    async def run(root, number):
        driver = make_driver(root, threads=1)
        await driver.put(put_request("d/k", b"old"))
        with pytest.MonkeyPatch.context() as patch:
            state = close_fails_after(patch, "unlink", number=number)
            assert (await driver.delete("d/k")).existed
            hit = state["hit"]
        assert not (root / "d").exists()
        await driver.aclose()
        return hit

    for number in range(1, 100):
        if not asyncio.run(run(tmp_path / str(number), number)):
            assert number > 3
            return


@pytest.mark.parametrize("name", ["rename", "link"])
@pytest.mark.parametrize("code", [errno.EEXIST, errno.ENOENT, errno.EIO])
def test_a_refusal_of_what_was_done_before_is_no_failure(tmp_path, monkeypatch, name, code):
    """A remote file system does it, loses the answer, asks again and is refused."""

    async def run():
        driver = make_driver(tmp_path, threads=1)
        await driver.put(put_request("first", b"x"))
        if name == "rename":
            await driver.put(put_request("k", b"old"))
        real = getattr(os, name)

        def call(*args, **kwargs):
            real(*args, **kwargs)
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, name, call)
            await driver.put(put_request("k", NEW, OVERWRITE if name == "rename" else CREATE))
        assert await read_pair(driver, "k") == NEW
        await driver.aclose()

    asyncio.run(run())
    assert leftovers(tmp_path) == []


def test_closing_lets_go_of_everything_whatever_the_system_answers(tmp_path, monkeypatch):
    opened = open_files()

    async def run():
        driver = make_driver(tmp_path, threads=1)
        await driver.put(put_request("k", b"data"))
        reader = await driver.get("k")
        real = os.close

        def close(fd):
            real(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        with monkeypatch.context() as patch:
            patch.setattr(os, "close", close)
            assert await reader.read() == b"data"
            await driver.aclose()
            await driver.aclose()

    asyncio.run(run())
    assert open_files() == opened
