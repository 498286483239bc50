"""Making S3 drivers and requests for them."""

import os
from collections.abc import AsyncIterator, Mapping

from credstore.config.stores import S3CompatibleConfig, S3Config, S3FamilyConfig
from credstore.driver import BytesBody, PutRequest
from credstore.drivers.s3.driver import S3Driver
from credstore.encryption import Secret

KEY_ID = "AKIDEXAMPLE"
SECRET = "canary-secret-access-key"


def s3_config(url: str | None, bucket: str = "bucket", kind: type[S3FamilyConfig] = S3Config, **settings):
    if kind is S3Config and url is not None:
        settings.setdefault("addressing", "path")
    settings.setdefault("access_key_id", KEY_ID)
    settings.setdefault("secret_access_key", Secret(SECRET))
    return kind(bucket=bucket, endpoint=url, **settings)


def make_driver(url: str | None, bucket: str = "bucket", kind: type[S3FamilyConfig] = S3Config, **settings):
    """A driver; `transport`, `credentials` and `clock` go to the driver, all else to its configuration."""
    own = {name: settings.pop(name) for name in ("transport", "credentials", "clock") if name in settings}
    config = s3_config(url, bucket, kind, **settings)
    return S3Driver(config, **own)


def minio_config(url: str, **settings) -> S3CompatibleConfig:
    return s3_config(url, kind=S3CompatibleConfig, flavor="minio", **settings)


def put_request(key: str, data: bytes = b"", **fields) -> PutRequest:
    fields.setdefault("body", BytesBody(data))
    fields.setdefault("write_id", os.urandom(16).hex())
    return PutRequest(key=key, **fields)


class Stream:
    """A body that comes in chunks: of known length or not, replayable or not, failing or not."""

    data = None

    def __init__(self, *chunks: bytes, length: int | None = None, replayable: bool = False, error=None):
        self.chunks = chunks
        self.length = length
        self.replayable = replayable
        self.error = error
        self.opened = 0
        self.ended = 0

    async def open(self, offset: int = 0) -> AsyncIterator[bytes]:
        assert offset == 0
        self.opened += 1
        assert self.replayable or self.opened == 1, "a body that cannot be replayed was opened twice"
        try:
            for chunk in self.chunks:
                yield chunk
            if self.error is not None:
                raise self.error
        finally:
            self.ended += 1


async def all_infos(driver: S3Driver, prefix: str = "", limit: int = 1000) -> list:
    found = []
    cursor = None
    while True:
        page = await driver.list(prefix, cursor, limit=limit)
        found += page.entries
        cursor = page.cursor
        if cursor is None:
            return found


def xml_error(code: str, **fields: str) -> bytes:
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in {"Code": code, **fields}.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inner}</Error>'.encode()


def header(headers: Mapping[str, str], name: str) -> str | None:
    return {key.lower(): value for key, value in headers.items()}.get(name)
