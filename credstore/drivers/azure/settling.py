"""What became of an unclear write to a container; how that is found out is in `unclear.py`."""

from __future__ import annotations

from credstore.driver import unclear
from credstore.driver.unclear import Write
from credstore.driver.values import ObjectInfo, PutResult, ReadOptions
from credstore.drivers.azure.container import Container
from credstore.drivers.azure.reading import head
from credstore.errors import StorageError


async def settle_write(
    container: Container, write: Write, error: StorageError, *, of_copy: bool = False
) -> ObjectInfo:
    """The object, if a failed write happened after all; see `unclear.settle_write`."""

    async def look(key: str, deadline: float | None) -> ObjectInfo:
        return await head(container, key, ReadOptions(deadline=deadline))

    return await unclear.settle_write(look, container, write, error, of_copy=of_copy)


def result_of(
    container: Container,
    key: str,
    *,
    size: int,
    digest: bytes | None,
    etag: str | None,
    version_id: str | None,
    encryption: str | None,
    request_id: str | None = None,
) -> PutResult:
    """The result of a write that happened."""
    return PutResult(
        key=key,
        size=size,
        etag=etag,
        version_id=version_id,
        digest=digest,
        encryption=encryption,
        served_by=container.label,
        replicas=(container.label,),
        request_id=request_id,
    )


def seen_result(container: Container, info: ObjectInfo, size: int, digest: bytes | None) -> PutResult:
    """The result of a write that only a HEAD showed; see `unclear.result_of`."""
    return unclear.result_of(container.label, info, size=size, digest=digest)
