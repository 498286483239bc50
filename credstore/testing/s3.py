"""`s3_harness`: the checks on the built-in S3 driver at a server of one's own, from the URL of a store.

Rules of this file: what goes past the driver goes through links, which a second driver signs and
Python's own HTTP client opens, so that no code of the driver has read or written those bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

from credstore.config.chained import has_say, located, trusted
from credstore.config.stores import S3Config, S3FamilyConfig
from credstore.driver.values import SignedRequest, SignRequest
from credstore.drivers.s3.driver import S3Driver, client_of
from credstore.errors import StorageConfigurationError
from credstore.factory import StorageFactory, StoreSpec
from credstore.model import NOTHING, Method
from credstore.testing.harness import Deviation, Harness, fail
from credstore.testing.links import Fetched, fetch_link
from credstore.wire.transport import HttpRequest, HttpResponse, Transport

_OK = 200
_ABSENT = 404
_NO_BUCKET = b"NoSuchBucket"
_META = "x-amz-meta-"
_KEPT = frozenset(
    {
        "content-type",
        "content-encoding",
        "content-disposition",
        "content-language",
        "cache-control",
    }
)
"""Headers that an object has besides `x-amz-meta-*`."""


def s3_harness(
    store: StoreSpec, *, environ: Mapping[str, str] | None = None, deviations: Sequence[Deviation] = ()
) -> Harness:
    """A harness for the S3 driver at one's own server; the bucket may have other things in it.

    Each check keeps to a random prefix below the one of the store and removes what it stored. Bodies
    and copies go in parts from `part_size` of the store on, whatever its other thresholds say.

    Args:
        store: As for `StorageFactory.create`, such as `custom://host/bucket/prefix?capabilities=...`; keys
            come from the environment where it does not say them.
        environ: Variables by name; `os.environ` unless given.
        deviations: What is known to fail at this server, and accepted.

    Raises:
        StorageConfigurationError: A setting is missing, unknown or contradictory, or the store is not S3.
    """
    given = StorageFactory(environ=environ).configure(store)
    if not isinstance(given, S3FamilyConfig):
        raise StorageConfigurationError(f"these checks are for stores that speak S3, not {given.provider}")
    config = replace(
        given,
        prefix="",
        multipart_threshold=given.part_size,
        single_copy_limit=given.part_size,
        copy_part_size=given.part_size,
    )
    if config.trust_is_open:  # Its links are opened past the driver too.
        found = located(cast("S3Config", config)) if has_say(config) else config
        config = replace(config, ca_file=trusted(found))
    sent: list[str] = []
    past = _Past(config)
    return Harness(
        open=lambda: S3Driver(config, transport=_Counting(client_of(config), sent)),
        peek=past.peek,
        poke=past.poke,
        requests=lambda: len(sent),
        large=config.part_size + 1,
        uploads=past.uploads,
        fetch=past.fetch,
        prefix=given.prefix,
        deviations=deviations,
    )


class _Counting(Transport):
    """A client that notes what it sends."""

    def __init__(self, client: Transport, sent: list[str]) -> None:
        self._client = client
        self._sent = sent

    async def send(self, request: HttpRequest, *, deadline: float | None) -> HttpResponse:
        self._sent.append(request.method)
        return await self._client.send(request, deadline=deadline)

    async def warm(self, origin: str, connections: int, *, deadline: float | None) -> None:
        await self._client.warm(origin, connections, deadline=deadline)

    async def aclose(self) -> None:
        await self._client.aclose()


class _Past:
    """Ways past the driver to what is in the bucket."""

    def __init__(self, config: S3FamilyConfig) -> None:
        self._config = config
        self.fetch = partial(fetch_link, ca_file=config.ca_file)

    async def peek(self, key: str) -> bytes | None:
        answer = await self._ask("GET", key)
        absent = answer.status == _ABSENT and _NO_BUCKET not in answer.body
        return None if absent else _good(answer, "GET").body

    async def poke(self, key: str, data: bytes) -> None:
        found = _good(await self._ask("HEAD", key), "HEAD").headers
        kept = {name: found[name] for name in found if name in _KEPT or name.startswith(_META)}
        _good(await self._ask("PUT", key, data, kept), "PUT")

    async def uploads(self, prefix: str) -> list[str]:
        driver = S3Driver(self._config)
        try:
            return [upload.key async for upload in driver.list_uploads(prefix)]
        finally:
            await driver.aclose()

    async def _ask(
        self, method: Method, key: str, body: bytes | None = None, headers: Mapping[str, str] = NOTHING
    ) -> Fetched:
        return await self.fetch(await self._link(method, key, headers), body)

    async def _link(self, method: Method, key: str, headers: Mapping[str, str]) -> SignedRequest:
        driver = S3Driver(self._config)
        try:
            return await driver.sign(SignRequest(key=key, method=method, expires_in=60, headers=headers))
        finally:
            await driver.aclose()


def _good(answer: Fetched, method: Method) -> Fetched:
    """The response to a request past the driver.

    Raises:
        ConformanceError: It is not a success, so that it is not known what is in the bucket.
    """
    if answer.status != _OK:
        fail(f"a {method} past the driver, by a link, was answered {answer.status}")
    return answer
