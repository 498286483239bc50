"""A process that is forked while something is locked does not hold the lock until it ends."""

import contextlib
import fcntl
import os
import time

import pytest

from credstore.drivers.local.belonging import Mark
from credstore.drivers.local.locks import KeyLocks
from credstore.files import locked


@contextlib.contextmanager
def child():
    """A forked process that has all descriptors of this one, and touches none, until the end of the block."""
    end, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        os.read(end, 1)
        os._exit(0)
    os.close(end)
    try:
        yield
    finally:
        os.close(told)
        os.waitpid(pid, 0)


@pytest.fixture
def key_locks(tmp_path):
    directory = os.open(tmp_path, os.O_RDONLY)
    recovered = []
    yield KeyLocks(directory, recovered.append), recovered
    os.close(directory)


def test_a_key(key_locks):
    locks, _ = key_locks
    with contextlib.ExitStack() as held:
        with locks.hold("key", None):
            held.enter_context(child())
        with locks.hold("key", time.monotonic()):  # Not after it, as a lock in the child would be.
            pass


def test_a_key_whose_writer_failed(key_locks):
    locks, _ = key_locks
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ZeroDivisionError), locks.hold("key", None):
            held.enter_context(child())
            raise ZeroDivisionError
        with locks.hold("key", time.monotonic()):
            pass


def test_keys_that_are_cleaned_up_and_one_that_cannot_be(key_locks, tmp_path):
    locks, recovered = key_locks
    with contextlib.ExitStack() as held:
        with locks.hold("key", None):
            pass
        (lock,) = tmp_path.iterdir()
        lock.write_bytes(Mark("key", write_id="1").encode())

        def recover(mark):
            recovered.append(mark)
            held.enter_context(child())
            raise ConnectionAbortedError  # An `OSError`, as from a disk.

        locks._recover = recover
        locks.recover_all()
        with pytest.raises(ConnectionAbortedError):
            locks.hold("key", time.monotonic())
        assert len(recovered) == 2
        locks._recover = recovered.append
        with locks.hold("key", time.monotonic()):
            assert len(recovered) == 3


def test_a_file(tmp_path):
    with contextlib.ExitStack() as held:
        with locked(tmp_path / "lock"):
            held.enter_context(child())
        again = os.open(tmp_path / "lock", os.O_RDWR)
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(again)
