"""Every call to the operating system fails in turn, until the operation completes."""

import asyncio
import errno
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import pytest

from credstore import forks
from credstore.driver import CREATE, Precondition
from credstore.drivers.local import driver as driver_module
from credstore.drivers.local.names import aside, primary
from credstore.errors import (
    StorageAccessDeniedError,
    StorageError,
    StorageInvalidKeyError,
    StorageNotFoundError,
    StorageQuotaExceededError,
    StorageUnavailableError,
)

from .support import leftovers, list_keys, make_driver, put_request, read_pair

CALLS = (
    "open",
    "write",
    "pwrite",
    "fsync",
    "utime",
    "rename",
    "link",
    "mkdir",
    "ftruncate",
    "unlink",
    "fstat",
)


class Failing:
    """Makes the call number `number` of the driver's threads fail with `code`."""

    def __init__(self, monkeypatch, number, code, calls=CALLS):
        self.hit = None
        self._left = number
        self._code = code
        self._lock = threading.Lock()
        for name in calls:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name, real):
        def call(*args, **kwargs):
            if threading.current_thread().name.startswith("credstore-local"):
                with self._lock:
                    self._left -= 1
                    if self._left == 0:
                        self.hit = name
                        raise OSError(self._code, os.strerror(self._code))
            return real(*args, **kwargs)

        return call


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EACCES])
@pytest.mark.parametrize("operation", ["overwrite", "create", "delete"])
def test_a_failure_of_any_call_leaves_the_old_or_the_new_object(tmp_path, operation, code):
    old, new = b"old" * 9, b"new" * 9

    async def run(root, number):
        driver = make_driver(root, threads=1)
        if operation != "create":
            await driver.put(put_request("d/k", old))
        await driver.put(put_request("other", b"x"))
        error = None
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, number, code)
            try:
                if operation == "delete":
                    await driver.delete("d/k")
                else:
                    await driver.put(
                        put_request("d/k", new, CREATE if operation == "create" else Precondition())
                    )
            except StorageError as caught:
                error = caught
        await driver.aclose()
        again = make_driver(root)
        try:
            seen = await read_pair(again, "d/k")
        except StorageNotFoundError:
            seen = None
        await again.put(put_request("other", b"usable again"))
        await again.aclose()
        first = None if operation == "create" else old
        last = None if operation == "delete" else new
        if error is None:
            assert seen == last, failing.hit
        else:
            assert seen in ({first} if error.applied == "no" else {first, last}), (failing.hit, error)
        return failing.hit is None

    for number in itertools.count(1):
        root = tmp_path / str(number)
        done = asyncio.run(run(root, number))
        assert leftovers(root) == []
        if done:
            assert number > 10
            return


@pytest.mark.parametrize(
    ("key", "number"),
    [*(("d/k", number) for number in range(1, 5)), *(("d/e/f/k", number) for number in range(1, 7))],
)
def test_after_a_failed_fsync_nothing_is_written_until_the_store_is_reopened(tmp_path, key, number):
    async def run():
        driver = make_driver(tmp_path, threads=1)
        await driver.put(put_request("d/k", b"old"))
        with pytest.MonkeyPatch.context() as patch:
            Failing(patch, number, errno.EIO, ("fsync",))
            with pytest.raises(StorageError) as caught:
                await driver.put(put_request(key, b"new"))
        assert caught.value.provider_code == "EIO"
        for attempt in (driver.put(put_request("z", b"z")), driver.delete("d/k")):
            with pytest.raises(StorageUnavailableError) as refused:
                await attempt
            assert refused.value.code == "WRITES_DISABLED"
        if caught.value.applied == "maybe":
            assert await read_pair(driver, key) == b"new"
        elif key == "d/k":
            assert await read_pair(driver, key) == b"old"
        else:
            with pytest.raises(StorageNotFoundError):
                await driver.head(key)
        await driver.aclose()
        again = make_driver(tmp_path)
        await again.put(put_request("z", b"z"))
        await again.aclose()

    asyncio.run(run())
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, StorageQuotaExceededError),
        (errno.EDQUOT, StorageQuotaExceededError),
        (errno.EROFS, StorageAccessDeniedError),
        (errno.EMFILE, StorageUnavailableError),
        (errno.ENAMETOOLONG, StorageInvalidKeyError),
    ],
)
def test_refusals_of_the_system_have_their_error(tmp_path, code, kind):
    async def run():
        driver = make_driver(tmp_path, threads=1)
        await driver.put(put_request("k", b"old"))
        with pytest.MonkeyPatch.context() as patch:
            Failing(patch, 1, code, ("write",))
            with pytest.raises(kind) as caught:
                await driver.put(put_request("k", b"new"))
        assert (caught.value.applied, caught.value.provider_code) == ("no", errno.errorcode[code])
        assert await read_pair(driver, "k") == b"old"
        await driver.aclose()

    asyncio.run(run())


def test_a_file_size_limit_is_a_full_disk(tmp_path):
    program = textwrap.dedent(f"""
        import asyncio, resource, signal
        from tests.drivers.local.support import *
        from credstore.errors import StorageQuotaExceededError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        async def run():
            driver = make_driver({str(tmp_path)!r})
            await driver.put(put_request("k", b"old"))
            try:
                await driver.put(put_request("k", b"x" * 200_000))
            except StorageQuotaExceededError as error:
                assert error.applied == "no"
                assert await read_pair(driver, "k") == b"old"
                print("refused")
            await driver.aclose()
        asyncio.run(run())
    """)
    assert resource.RLIMIT_FSIZE
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, check=False
    )
    assert run.stdout == "refused\n", run.stderr
    assert leftovers(tmp_path) == []


def test_another_user_may_read_but_not_write():
    """Needs no root: as an ordinary user the mode of the directory denies as well."""
    with tempfile.TemporaryDirectory() as place:  # The folders of pytest are closed to others.
        Path(place).chmod(0o755)
        root = Path(place) / "root"

        async def fill():
            driver = make_driver(root)
            await driver.put(put_request("k", b"kept"))
            await driver.aclose()

        asyncio.run(fill())
        for path in root.rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        root.chmod(0o555)
        child = os.fork()
        if child == 0:
            os._exit(_as_nobody(root))
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for path in (root, *root.rglob("*")):
            path.chmod(0o755)
        assert ended == 0


def _as_nobody(root):
    """Exit code 0 if reading works and each write is refused."""
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

        async def run():
            driver = make_driver(root)
            assert await read_pair(driver, "k") == b"kept"
            assert await list_keys(driver) == ["k"]
            for attempt in (driver.put(put_request("n", b"x")), driver.delete("k"), driver.ping()):
                with pytest.raises(StorageAccessDeniedError) as caught:
                    await attempt
                assert caught.value.applied == "no"
            await driver.aclose()

        asyncio.run(run())
    except BaseException as error:
        os.write(2, repr(error).encode())
        return 1
    return 0


def test_a_forked_child_is_refused(tmp_path):
    driver = make_driver(tmp_path)
    driver._guard._forks = -1

    async def run():
        with pytest.raises(StorageError, match="forked"):
            await driver.ping()

    asyncio.run(run())
    driver._guard._forks = forks.count
    asyncio.run(driver.aclose())
    assert driver_module.LocalDriver is type(driver)


def test_where_case_is_ignored_names_are_escaped(tmp_path, monkeypatch):
    monkeypatch.setattr("credstore.drivers.local.root._probe_fold", lambda directory: True)

    async def run():
        driver = make_driver(tmp_path)
        for key in ("a", "A", "é", "e\u0301"):
            await driver.put(put_request(key, key.encode()))
        await driver.aclose()
        again = make_driver(tmp_path)
        for key in ("a", "A", "é", "e\u0301"):
            assert await read_pair(again, key) == key.encode()
        assert sorted(await list_keys(again)) == sorted(["a", "A", "é", "e\u0301"])
        await again.aclose()

    asyncio.run(run())
    assert (tmp_path / primary("A", fold=True).name).exists()
    assert primary("A", fold=True) != aside("A", fold=True)


def test_a_disk_that_ignores_the_case_of_ascii_alone_is_seen_as_one(tmp_path, monkeypatch):
    def ascii_lower(name):
        return "".join(each.lower() if each.isascii() else each for each in name)

    def opens(directory, name):
        return ascii_lower(name) in [ascii_lower(each.name) for each in os.scandir(directory)]

    monkeypatch.setattr("credstore.drivers.local.root._opens", opens)

    async def run():
        driver = make_driver(tmp_path)
        for key in ("a", "A"):
            await driver.put(put_request(key, key.encode()))
        assert sorted(await list_keys(driver)) == ["A", "a"]
        await driver.aclose()

    asyncio.run(run())
    assert (tmp_path / primary("A", fold=True).name).exists()
