"""`Opening`: what `StorageProvider.open` returns, entered to get the reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from credstore.driver import Driver, ReadOptions, StoredReader
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.model import ClientSide, Dictionary, Progress, StorageItem
from credstore.pipeline.header import span_of
from credstore.pipeline.pipeline import Recipe
from credstore.provider.call import Call
from credstore.provider.checks import check_count, check_key, check_progress
from credstore.provider.read import Reading, decoded_reader, item_of
from credstore.provider.sealing import (
    begins_sealed,
    header_of,
    looked_at,
    open_span,
    open_stream,
    read_head,
)
from credstore.reader import ObjectReader


class Opening:
    """An async context manager of an `ObjectReader`; leaving it gives the connection back."""

    def __init__(
        self,
        driver: Driver,
        call: Call,
        reading: Reading,
        *,
        span: tuple[int, int | None],
        options: Callable[[], ReadOptions],
        progress: Progress | None,
    ) -> None:
        """Remember what to open; nothing happens before it is entered."""
        self._driver = driver
        self._call = call
        self._reading = reading
        self._key = reading.key
        self._start, self._end = span
        self._options = options
        self._progress = progress
        self._reader: ObjectReader[StorageItem] | None = None

    async def __aenter__(self) -> ObjectReader[StorageItem]:
        """Open the object.

        Raises:
            StorageNotFoundError: No such object.
            StorageInvalidRequestError: A range that is none, or beyond the end ("INVALID_RANGE").
            StorageError: Anything else.
        """
        with self._call:
            check_progress(self._progress)
            check_key(self._key, self._driver.capabilities.max_key_size)
            self._check_range()
            self._reader = await self._open()
            return self._reader

    def _check_range(self) -> None:
        try:
            check_count("start", self._start)
            if self._end is not None:
                check_count("end", self._end)
        except StorageInvalidRequestError as error:
            error.code = ErrorCode.INVALID_RANGE
            raise
        if self._end is not None and self._end < self._start:
            raise StorageInvalidRequestError(
                f"a range is 0 <= start <= end, not {self._start} to {self._end}",
                code=ErrorCode.INVALID_RANGE,
            )

    async def _open(self) -> ObjectReader[StorageItem]:
        options = self._options()
        if self._start == 0 and self._end is None:
            return await self._plain(await self._driver.get(self._key, options))
        if self._reading.decode and self._reading.policy is not None:
            return await self._sealed_range(options, self._reading.policy)
        info = await self._driver.head(self._key, options)
        found, _ = self._reading.recipe(info)
        self._check_start(found)
        # The bytes must be of the version the recipe was read from.
        pinned = replace(options, if_match=info.etag)
        if found.codec is None:
            pinned = replace(pinned, start=self._start, end=self._end)
        return await self._plain(await self._driver.get(self._key, pinned))

    def _check_start(self, found: Recipe) -> None:
        if found.plain_size is not None and self._start >= found.plain_size > 0:
            raise StorageInvalidRequestError(
                f"the range starts at byte {self._start} of an object of {found.plain_size}",
                code=ErrorCode.INVALID_RANGE,
            )

    async def _plain(self, stored: StoredReader) -> ObjectReader[StorageItem]:
        reading = self._reading
        try:
            found, policy = reading.recipe(stored.info)
            stored.watch(self._progress)
            dictionary: Dictionary | None = None
            item = item_of(stored.info, self._driver.name, found)
            if policy is None and reading.decode and (self._start, self._end) == (0, None):
                stored, sealed = await looked_at(stored, reading.policy)
                policy = reading.policy if sealed else None
            if policy is not None:
                stored, found = await open_stream(policy, stored, self._key)
                item = item_of(stored.info, self._driver.name, found)
            elif found.dictionary is not None:
                dictionary = await reading.dictionaries.get(found.dictionary)
        except BaseException:
            await stored.aclose()
            raise
        span = (self._start, self._end)
        return decoded_reader(stored, found, item, span, self._call.explain, dictionary=dictionary)

    async def _sealed_range(self, options: ReadOptions, policy: ClientSide) -> ObjectReader[StorageItem]:
        """A range of an encrypted object: its header first, then the chunks that hold it, of one version."""
        info, head = await read_head(self._driver, self._key, options)
        found, meant = self._reading.recipe(info)
        plain = meant is None and not begins_sealed(head)
        header = None if plain else await header_of(self._driver, self._key, options, info, head)
        pinned = replace(options, if_match=info.etag)
        if header is None:
            self._check_start(found)
            if found.codec is None:
                pinned = replace(pinned, start=self._start, end=self._end)
            return await self._plain(await self._driver.get(self._key, pinned))
        if header.codec is not None:
            return await self._plain(await self._driver.get(self._key, pinned))
        span = span_of(header, info.size, self._start, self._end)
        pinned = replace(pinned, start=span.stored_start, end=span.stored_end)
        stored = await self._driver.get(self._key, pinned)
        try:
            stored.watch(self._progress)
            opened, found = await open_span(policy, stored, self._key, header, span)
        except BaseException:
            await stored.aclose()
            raise
        if not span.length and self._start and self._end != self._start:
            await opened.read()  # Proves where the end is.
            raise StorageInvalidRequestError(
                f"the range starts at byte {self._start}, beyond the end of the object",
                code=ErrorCode.INVALID_RANGE,
            )
        item = item_of(info, self._driver.name, found)
        return ObjectReader(item, opened, length=span.length, close=opened.aclose, explain=self._call.explain)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            await self._reader.aclose()
