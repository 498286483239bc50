"""One operation of a local store in a process of its own, to be killed or failed; see injecting.py."""

import asyncio
import ctypes
import os
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from credstore.config.stores import LocalConfig
from credstore.driver import CREATE, OVERWRITE, BytesBody, CopyRequest, PutRequest
from credstore.drivers.local import together
from credstore.drivers.local.driver import LocalDriver
from credstore.errors import StorageAlreadyExistsError, StorageError

from .plants import planted

NEW = b"new" * 50
GROUPED = ("grouped", "whole")
"""Operations on a store with group commit: files are flushed one by one, or the file system as a whole."""
_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)
"""Lets strace attach where the kernel allows that to parents alone (Yama)."""


async def _put(driver, key, mode=OVERWRITE):
    body, metadata = BytesBody(NEW), {"belongs-to": repr(NEW[:40])}
    await driver.put(PutRequest(key=key, body=body, write_id="1" * 32, metadata=metadata, precondition=mode))


async def _copy(driver, source, destination):
    found = await driver.head(source)
    await driver.copy(CopyRequest(source=found, destination=destination, write_id="2" * 32))
    return found


async def _move(driver, source, destination):
    found = await _copy(driver, source, destination)
    await driver.delete(source, if_match=found.etag)


async def operate(driver, operation):
    """Do it; what each changes is in injecting.py."""
    if operation in {"put", "overwrite"}:
        await _put(driver, "d/k")
    elif operation == "create":
        await _put(driver, "d/k", CREATE)
    elif operation == "copy":
        await _copy(driver, "s", "d/k")
    elif operation == "move":
        await _move(driver, "d/k", "e/k")
    elif operation == "delete":
        await driver.delete("d/k")
    elif operation == "tags":  # Written in the same way as a retention or hold.
        await driver.put_tags("d/k", {"a": "b"})
    elif operation in GROUPED:
        works = [_put(driver, "p/k"), _put(driver, "o/k"), _put(driver, "o/q", CREATE)]
        for ended in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
    else:
        assert operation == "together", operation
        works = [
            _put(driver, "p/k"), _put(driver, "o/k"), _move(driver, "m/k", "n/k"), driver.delete("x/k"),
        ]  # fmt: skip
        for ended in await asyncio.gather(*works, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended


async def _once(pipe, root, operation, threads):
    try:
        config = LocalConfig(path=root, group_commit=operation in GROUPED)
        # Whatever there is to be flushed, and on any file system.
        together.can_flush_all, together.MANY = (lambda _: operation == "whole"), 1
        await operate(LocalDriver(config, threads=threads), operation)
    except StorageAlreadyExistsError:
        ended = "exists"
    except StorageError as error:
        ended = f"{error.applied}: {error!r}"
    except Exception as error:
        ended = f"unknown: {error!r}"
    else:
        ended = "done"
    with suppress(OSError):  # The fault may be in this very call.
        pipe.send(ended)
    os._exit(0)  # The loop's own end is none of the driver's calls.


async def _warm_up():
    """Whatever is imported or made at a first use is there, so that the calls that count are the driver's."""
    with tempfile.TemporaryDirectory() as root:
        driver = LocalDriver(LocalConfig(path=root, fsync=False), threads=1)
        await _put(driver, "d/k")
        await _move(driver, "d/k", "e/k")
        with suppress(StorageAlreadyExistsError):
            await _put(driver, "e/k", CREATE)
        await driver.aclose()


def work(pipe: Connection, root: str, operation: str, plant: str, threads: int) -> None:
    """Say "ready", wait for leave, and say how it ended: "done", "exists", or what the error says.

    Args:
        pipe: To the parent.
        root: Of the store.
        operation: What to do.
        plant: A bug of plants.py, "none", or "clock=N" for a clock that stands still at N.
        threads: Of the driver.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_PTRACER, _ANY, 0, 0, 0)
    asyncio.run(_warm_up())
    if plant.startswith("clock="):  # No fault.
        moment = int(plant.partition("=")[2])
        time.time_ns = lambda: moment
    known = None if plant == "none" or plant.startswith("clock=") else plant
    with planted(known):
        pipe.send("ready")
        pipe.recv()
        asyncio.run(_once(pipe, root, operation, threads))
