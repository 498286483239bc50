"""Copies of an object onto itself at a member, as when its data key is wrapped again."""

from __future__ import annotations

from dataclasses import replace

from credstore.driver.contract import Driver
from credstore.driver.values import CopyRequest, Precondition, PutResult
from credstore.errors import StorageUnsupportedError
from credstore.model import strong_etag


async def copied_at(driver: Driver, request: CopyRequest) -> PutResult:
    """Copy at a member; a copy onto itself replaces only its source, where the member can do that.

    Without that, an object which is deleted or written while it is being copied would come back.

    Raises:
        StorageError: As `Driver.copy`.
    """
    etag = strong_etag(request.source.etag)
    able = driver.capabilities.conditional_replace
    if request.destination == request.source.key and able and etag and request.precondition.etag is None:
        try:
            return await driver.copy(replace(request, precondition=Precondition("replace", etag)))
        except StorageUnsupportedError:
            pass  # Some stores have no conditions on copies; the source is pinned to its version there, too.
    return await driver.copy(request)
