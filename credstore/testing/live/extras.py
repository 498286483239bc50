"""Probes of what costs more than a request: locks, keys, storage classes, and forms as browsers send them.

Rules of this file: what keeps an object is ended by whoever began it, also when the check is cancelled; a
retention is as short as its removal may take, and where it cannot be ended early its end is awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import cast

from credstore.driver.contract import Driver, LockingDriver, MakesUploadForms
from credstore.driver.upload_forms import FormRequest
from credstore.driver.values import ReadOptions, SignedRequest
from credstore.encryption import KmsKey
from credstore.errors import (
    ErrorCode,
    StorageAccessDeniedError,
    StorageError,
    StorageRetainedError,
    StorageUnsupportedError,
)
from credstore.model import Method
from credstore.testing.harness import Harness, NotRunError, fail, fetched, needed, put, request, require, same

LOCK_SECONDS = 10
"""Of a retention: long enough to see that it forbids a deletion, and no longer."""
_MINUTE = 60
_SMALL = 16
_GOOD = range(200, 300)
_WRONG = range(400, 500)
_KEPT = (StorageRetainedError, StorageAccessDeniedError)


async def locks(harness: Harness) -> None:
    """A legal hold and a retention forbid a deletion, and it is possible again without them."""
    driver = store = harness.open()
    if not isinstance(driver, LockingDriver):
        fail("credstore cannot ask for it here")
    version_id = (await put(store, "key")).version_id
    try:
        await _held(driver, store, version_id)
        if "governance" in driver.capabilities.retention_modes:
            await _retained(driver, store, version_id)
    except StorageUnsupportedError as error:
        if error.code != ErrorCode.RETENTION_DISABLED:
            raise
        raise NotRunError("needs a bucket with Object Lock (or what the cloud has of this kind)") from None
    await store.delete("key", version_id=version_id)


async def _held(driver: LockingDriver, store: Driver, version_id: str | None) -> None:
    try:
        await driver.set_legal_hold("key", held=True, version_id=version_id)
        require((await driver.get_retention("key", version_id)).legal_hold, "a legal hold is not shown")
        await _is_kept(store, version_id, "a legal hold")
    finally:
        await _released(driver, version_id)


async def _released(driver: LockingDriver, version_id: str | None) -> None:
    try:
        await driver.set_legal_hold("key", held=False, version_id=version_id)
    except StorageUnsupportedError as error:
        if error.code != ErrorCode.RETENTION_DISABLED:
            raise


async def _retained(driver: LockingDriver, store: Driver, version_id: str | None) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=LOCK_SECONDS)
    try:
        await driver.set_retention("key", until, "governance", version_id=version_id)
        found = await driver.get_retention("key", version_id)
        same((found.mode, found.retain_until), ("governance", until), "mode and end of a retention")
        await _is_kept(store, version_id, "a retention")
    finally:
        await _ended(driver, version_id, until)


async def _ended(driver: LockingDriver, version_id: str | None, until: datetime) -> None:
    """End a retention early, or wait for its end where the credentials may not."""
    try:
        await driver.set_retention("key", None, "governance", version_id=version_id, bypass_governance=True)
    except StorageError:
        left = (until - datetime.now(UTC)).total_seconds()
        await asyncio.sleep(max(0.0, left) + 1)


async def _is_kept(driver: Driver, version_id: str | None, what: str) -> None:
    try:
        await driver.delete("key", version_id=version_id)
    except _KEPT:
        same(await fetched(driver, "key"), b"data", f"bytes under {what}")
        return
    fail(f"what is under {what} was deleted")


async def encrypts_with_key_service(harness: Harness) -> None:
    """With the default key of the account, since a check knows no other."""
    driver = harness.open()
    try:
        result = await driver.put(request("key", b"data", encryption=KmsKey()))
    except StorageUnsupportedError:
        raise NotRunError("needs the name of a key, as there is no default one") from None
    same(result.encryption, "aws:kms", "encryption of a write that asked for it")
    same((await driver.head("key")).encryption, "aws:kms", "encryption of what was written so")
    same(await fetched(driver, "key"), b"data", "bytes under a key of the key service")


async def keeps_class(harness: Harness, name: str) -> None:
    """A storage class comes back as it was asked for; one byte, which costs next to nothing in any."""
    driver = harness.open()
    await driver.put(request("key", b"x", storage_class=name))
    same((await driver.head("key")).storage_class, name, "storage class of what was stored")


async def takes_forms(harness: Harness) -> None:
    """As a browser sends it: the file within the limits is stored, and nothing else is."""
    driver = harness.open()
    fetch = needed(harness.fetch, "a server that responds to links")
    if not isinstance(driver, MakesUploadForms):
        fail("credstore cannot ask for it here")
    form = await driver.upload_form(
        FormRequest(key="form", max_size=_SMALL, min_size=1, content_type="text/plain", expires_in=_MINUTE)
    )

    async def sent(data: bytes, **changed: str) -> int:
        kind, body = _multipart({**form.fields, **changed}, data)
        link = SignedRequest(
            url=form.url,
            method=cast("Method", "POST"),
            expires_at=form.expires_at,
            headers={"content-type": kind},
        )
        return (await fetch(link, body)).status

    for what, status in (
        ("more bytes than a form allows", await sent(b"x" * (_SMALL + 1))),
        ("another key than a form allows", await sent(b"data", key=f"{form.fields['key']}-other")),
        ("another type than a form allows", await sent(b"data", **{"Content-Type": "text/html"})),
    ):
        require(status in _WRONG, f"{what}: answered {status}")
    status = await sent(b"data")
    require(status in _GOOD, f"a form with what it allows is answered {status}")
    same(await fetched(driver, "form", ReadOptions()), b"data", "bytes that came by a form")
    stored = (await driver.head("form")).headers
    same(None if stored is None else stored.content_type, "text/plain", "type of what came by a form")


def _multipart(fields: Mapping[str, str], data: bytes) -> tuple[str, bytes]:
    """Content type and body of a form, the file last.

    Source: RFC 7578.
    """
    boundary = token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = "".join(parts) + (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", body
