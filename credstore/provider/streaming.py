"""`Opening`: what `StorageProvider.open` returns, entered to get the reader."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from credstore.driver.pinning import get_same
from credstore.driver.reader import ObjectReader
from credstore.driver.values import ObjectInfo, ReadOptions, StoredReader, invalid_range
from credstore.encryption import ClientSide
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.model import Dictionary, Progress, StorageItem
from credstore.pipeline.header import sealed_plain_size, span_of
from credstore.pipeline.pipeline import Recipe
from credstore.provider.call import Call
from credstore.provider.encryption import (
    begins_sealed,
    header_of,
    looked_at,
    open_span,
    open_stream,
    read_head,
)
from credstore.provider.read import Reading, Wanted, decoded_reader, item_of
from credstore.provider.validation import check_flag, check_progress

_ENTERED = "; enter it: `async with store.open(key) as reader: data = await reader.read()`"


class Opening:
    """An async context manager of an `ObjectReader`; leaving it releases the connection."""

    def __init__(
        self,
        reading: Reading,
        wanted: Wanted,
        *,
        call: Call,
        progress: Progress | None,
    ) -> None:
        """Remember what to open; nothing happens until it is entered."""
        self._reading = reading
        self._key = reading.key
        self._driver = reading.session.driver
        self._wanted = wanted
        self._call = call
        self._told = progress
        self._progress = None if progress is None else call.watching(progress)
        self._reader: ObjectReader[StorageItem] | None = None

    if not TYPE_CHECKING:  # Where types are checked, it is known anyway that there are none of these.

        def __getattr__(self, name: str) -> NoReturn:
            """Say how a reader is got at, if one of its attributes is looked for here."""
            how = "" if name.startswith("_") or not hasattr(ObjectReader, name) else _ENTERED
            raise AttributeError(f"an Opening has no {name!r}{how}")

        def __await__(self) -> NoReturn:
            """Say how it is used."""
            raise StorageInvalidRequestError(f"what open() returns is not awaited{_ENTERED}")

        def __aiter__(self) -> NoReturn:
            """Say how it is used."""
            raise StorageInvalidRequestError(f"what open() returns is not the reader{_ENTERED}")

    async def __aenter__(self) -> ObjectReader[StorageItem]:
        """Open the object.

        Raises:
            StorageNotFoundError: There is no such object.
            StorageInvalidRequestError: An invalid range, or one beyond the end ("INVALID_RANGE").
            StorageError: Anything else.
        """
        with self._call:
            check_progress(self._told)
            check_flag("decode", self._reading.decode)
            self._reading.session.check_key(self._key)
            self._wanted.check()
            self._reader = await self.opened()
            self._call.moved(self._reader.length or 0)
            return self._reader

    async def opened(self) -> ObjectReader[StorageItem]:
        """The reader, for a verb whose call this is part of; it closes the reader itself.

        Raises:
            StorageError: As on entering.
        """
        options, wanted = self._reading.options(), self._wanted
        if wanted.whole:
            return await self._plain(await self._driver.get(self._key, options))
        if self._reading.decode and self._reading.policy is not None:
            return await self._sealed_range(options, self._reading.policy)
        if wanted.end != wanted.start or wanted.suffix is not None:
            guessed = await self._guessed(options)
            if guessed is not None:
                return guessed
        info = await self._driver.head(self._key, options)
        found, _ = self._reading.recipe(info)
        # The bytes must belong to the version the recipe was read from.
        return await self._of_plain(found, options, info)

    async def _guessed(self, options: ReadOptions) -> ObjectReader[StorageItem] | None:
        """The range, guessing that it is stored unchanged; the response shows if that was right.

        None where it is beyond the end of what is stored, which only a compressed object may be longer than.
        """
        wanted = self._wanted
        part = replace(options, start=wanted.start, end=wanted.end, suffix=wanted.suffix)
        try:
            stored = await self._driver.get(self._key, part)
        except StorageInvalidRequestError as error:
            if error.code != ErrorCode.INVALID_RANGE or wanted.suffix is not None:
                raise
            return None
        try:
            found, _ = self._reading.recipe(stored.info)
        except BaseException:
            await stored.aclose()
            raise
        if found.codec is None or stored.length == stored.info.size:
            return await self._plain(stored)
        await stored.aclose()
        return await self._of_plain(found, options, stored.info)

    async def _of_plain(
        self, found: Recipe, options: ReadOptions, info: ObjectInfo
    ) -> ObjectReader[StorageItem]:
        """A range of an object that is not encrypted, of the version `info` is of."""
        wanted = self._wanted
        if found.plain_size is not None and wanted.start >= found.plain_size > 0:
            raise invalid_range(f"the range starts at byte {wanted.start} of an object of {found.plain_size}")
        if found.codec is None:
            options = replace(options, start=wanted.start, end=wanted.end, suffix=wanted.suffix)
        return await self._plain(await get_same(self._driver, self._key, options, info))

    async def _plain(self, stored: StoredReader) -> ObjectReader[StorageItem]:
        reading = self._reading
        try:
            found, policy = reading.recipe(stored.info)
            stored.watch(self._progress)
            dictionary: Dictionary | None = None
            item = item_of(stored.info, self._driver.name, found)
            if policy is None and reading.decode and self._wanted.whole:
                stored, sealed = await looked_at(stored, reading.policy)
                policy = reading.policy if sealed else None
            if policy is not None:
                stored, found = await open_stream(policy, stored, self._key)
                item = item_of(stored.info, self._driver.name, found)
            elif found.dictionary is not None:
                dictionary = await reading.session.dictionaries.get(found.dictionary)
        except BaseException:
            await stored.aclose()
            raise
        return decoded_reader(stored, found, item, self._wanted, self._call.explain, dictionary=dictionary)

    async def _sealed_range(self, options: ReadOptions, policy: ClientSide) -> ObjectReader[StorageItem]:
        """A range of an encrypted object: first its header, then the chunks that hold it, of one version."""
        info, head = await read_head(self._driver, self._key, options)
        found, meant = self._reading.recipe(info)
        plain = meant is None and not begins_sealed(head)
        header = None if plain else await header_of(self._driver, self._key, options, info, head)
        if header is None:
            return await self._of_plain(found, options, info)
        if header.codec is not None:
            return await self._plain(await get_same(self._driver, self._key, options, info))
        size = sealed_plain_size(header, info.size)
        wanted = self._wanted.within(size)
        span = span_of(header, info.size, wanted.start, wanted.end)
        part = replace(options, start=span.stored_start, end=span.stored_end)
        stored = await get_same(self._driver, self._key, part, info)
        try:
            stored.watch(self._progress)
            opened, found = await open_span(policy, stored, self._key, header, span)
        except BaseException:
            await stored.aclose()
            raise
        if not span.length and wanted.start and wanted.end != wanted.start:
            await opened.read()  # This proves where the end is.
            raise invalid_range(f"the range starts at byte {wanted.start}, beyond the end of the object")
        item = item_of(info, self._driver.name, replace(found, plain_size=size))
        return ObjectReader(item, opened, length=span.length, close=opened.aclose, explain=self._call.explain)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            await self._reader.aclose()
