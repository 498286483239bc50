"""Checks that apply to every operation: closed, forked or late drivers, and what one cannot do."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from secrets import token_hex
from typing import Any, cast, get_args

from credstore.driver.contract import Driver
from credstore.driver.values import CopyRequest, ObjectInfo, ReadOptions, SignRequest
from credstore.encryption import CustomerKey, KmsKey
from credstore.errors import (
    ErrorCode,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageTimeoutError,
)
from credstore.model import Method
from credstore.testing.harness import (
    Harness,
    fail,
    fetched,
    put,
    refuses,
    request,
    same,
    unsupported,
)

Calls = Mapping[str, Callable[[], Awaitable[object]]]
_PATIENCE = 30
"""Seconds to wait for a forked child."""


def _calls(driver: Driver, source: ObjectInfo, deadline: float | None = None) -> Calls:
    """Every operation of a driver, applied to an existing object."""
    options = ReadOptions(deadline=deadline)
    link = SignRequest(key=source.key, method=_method(driver), deadline=deadline)
    copy = CopyRequest(source=source, destination="copy", write_id=token_hex(16), deadline=deadline)
    return {
        "put": lambda: driver.put(request("new", deadline=deadline)),
        "get": lambda: driver.get(source.key, options),
        "head": lambda: driver.head(source.key, options),
        "delete": lambda: driver.delete(source.key, deadline=deadline),
        "delete_many": lambda: driver.delete_many([source.key], deadline=deadline),
        "list": lambda: driver.list(deadline=deadline),
        "copy": lambda: driver.copy(copy),
        **({"sign": lambda: driver.sign(link)} if driver.capabilities.presign else {}),
        "ping": lambda: driver.ping(deadline=deadline),
    }


def _method(driver: Driver) -> Method:
    """A method that the driver makes links for, if there is one."""
    methods: tuple[Method, ...] = get_args(Method)
    able = driver.capabilities.presign
    return methods[0] if not able or methods[0] in able else next(iter(able))


async def _source(driver: Driver) -> ObjectInfo:
    await put(driver, "key")
    return await driver.head("key")


async def a_closed_driver_refuses_every_call(harness: Harness) -> None:
    """After `aclose`, every operation is refused with code CLOSED, and nothing is sent."""
    driver = harness.open()
    source = await _source(driver)
    await driver.aclose()
    for name, call in _calls(driver, source).items():
        what = f"{name} of a closed driver"
        error = await refuses(call(), StorageInvalidRequestError, what=what, harness=harness)
        same(error.code, ErrorCode.CLOSED, f"code of {what}")


async def a_forked_child_refuses_every_call(harness: Harness) -> None:
    """In a forked process, every operation is refused with code FORKED before it waits."""
    if not hasattr(os, "fork"):
        return
    driver = harness.open()
    same(
        _allowed_in_child(_calls(driver, await _source(driver))), "", "operations that a forked child may use"
    )
    same(await fetched(driver, "key"), b"data", "bytes read by the parent afterwards")
    await driver.aclose()


def _allowed_in_child(calls: Calls) -> str:
    """Names of the operations that are not refused in a child of this process."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Newer Pythons warn about forking with threads; this child does next to nothing.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        allowed = "all"
        try:
            signal.alarm(_PATIENCE)
            allowed = " ".join(name for name, call in calls.items() if not _is_refused(call()))
        finally:
            os.write(writing, allowed.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        allowed = told.read().decode()
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        fail(f"a forked child did not respond within {_PATIENCE} seconds")
    return allowed


def _is_refused(call: Awaitable[object]) -> bool:
    """Whether a call ends with code FORKED in its first step; there is no event loop for a second step."""
    step = cast("Coroutine[Any, Any, object]", call)
    try:
        step.send(None)
    except StorageInvalidRequestError as error:
        return error.code == ErrorCode.FORKED
    except BaseException:  # noqa: BLE001 - whatever else it does is the finding
        return False
    step.close()
    return False


async def a_passed_deadline_sends_nothing(harness: Harness) -> None:
    """Any operation whose deadline has passed is a timeout that applied nothing."""
    driver = harness.open()
    source = await _source(driver)
    for name, call in _calls(driver, source, time.monotonic() - 1).items():
        what = f"{name} after its deadline"
        error = await refuses(call(), StorageTimeoutError, what=what, harness=harness)
        same(error.applied, "no", f"`applied` of {what}")
    found = [await fetched(driver, key) for key in ("key", "new", "copy")]
    same(found, [b"data", None, None], "bytes after calls after their deadline")
    await driver.aclose()


async def refuses_what_it_has_not(harness: Harness) -> None:
    """Options beyond the capabilities are refused before anything is sent."""
    driver = harness.open()
    able = driver.capabilities
    if not able.tags:
        await unsupported(driver.put(request("key", tags={"a": "b"})), "tags", harness)
    if not able.sse_kms:
        await unsupported(driver.put(request("key", encryption=KmsKey("key-id"))), "KMS", harness)
    if not able.sse_c:
        await unsupported(driver.put(request("key", encryption=_CUSTOMER)), "SSE-C", harness)
    if not (able.sse_s3 or able.sse_s3_implied):  # Where it is implied, dropping the header is harmless.
        await unsupported(driver.put(request("key", encryption="AES256")), "AES256", harness)
    if "NO-SUCH-CLASS" not in able.storage_classes:
        await unsupported(driver.put(request("key", storage_class="NO-SUCH-CLASS")), "storage class", harness)
    same(await fetched(driver, "key"), None, "bytes after refused writes")
    await driver.aclose()


_CUSTOMER = CustomerKey(bytes(range(32)))


async def refuses_to_copy_what_it_has_not(harness: Harness) -> None:
    """A copy is never encrypted in a way that the capabilities lack."""
    driver = harness.open()
    able = driver.capabilities
    order = CopyRequest(source=await _source(driver), destination="copy", write_id=token_hex(16))
    if not able.sse_kms:
        await unsupported(driver.copy(replace(order, encryption=KmsKey("key-id"))), "copy with KMS", harness)
    if not able.sse_c:
        await unsupported(driver.copy(replace(order, encryption=_CUSTOMER)), "copy with SSE-C", harness)
        sealed = replace(order, source_customer_key=_CUSTOMER)
        await unsupported(driver.copy(sealed), "copy of SSE-C", harness)
    same(await fetched(driver, "copy"), None, "bytes after refused copies")
    await driver.aclose()


async def refuses_versions_it_has_not(harness: Harness) -> None:
    """A version that is not kept does not exist; where none are kept, naming one is refused, as is a key."""
    driver = harness.open()
    source = await _source(driver)
    missing = ReadOptions(version_id="0" * 32)
    if driver.capabilities.versions:
        for read in (driver.get, driver.head):
            kinds = (StorageNotFoundError, StorageInvalidRequestError)  # Some know which ids are impossible.
            await refuses(read("key", missing), *kinds, what="reading a version that is not kept")
    else:
        version_id = missing.version_id
        await unsupported(driver.get("key", missing), "get of a version", harness)
        await unsupported(driver.head("key", missing), "head of a version", harness)
        await unsupported(driver.delete("key", version_id=version_id), "delete of a version", harness)
        link = SignRequest(key="key", method=_method(driver), version_id=version_id)
        await unsupported(driver.sign(link), "a link to a version", harness)
    if not driver.capabilities.sse_c:
        sealed = ReadOptions(customer_key=_CUSTOMER)
        await unsupported(driver.get("key", sealed), "get with SSE-C", harness)
        await unsupported(driver.head("key", sealed), "head with SSE-C", harness)
    # By a condition, as replicas have tags of their own.
    same(
        (await driver.head("key", ReadOptions(if_match=source.etag))).size,
        source.size,
        "size after refused calls",
    )
    await driver.aclose()
