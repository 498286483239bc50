"""`Opening`: what `StorageProvider.open` returns, entered to get the reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import TracebackType

from credstore.driver import Driver, ReadOptions, StoredReader
from credstore.errors import StorageInvalidRequestError
from credstore.model import Progress, StorageItem
from credstore.provider.call import Call
from credstore.provider.checks import check_count, check_key, check_progress
from credstore.provider.dictionaries import Dictionaries
from credstore.provider.read import decoded_reader, item_of, raw_recipe, recipe_of
from credstore.reader import ObjectReader


class Opening:
    """An async context manager of an `ObjectReader`; leaving it gives the connection back."""

    def __init__(
        self,
        driver: Driver,
        dictionaries: Dictionaries,
        call: Call,
        *,
        key: str,
        span: tuple[int, int | None],
        decode: bool,
        options: Callable[[], ReadOptions],
        progress: Progress | None,
    ) -> None:
        """Remember what to open; nothing happens before it is entered."""
        self._driver = driver
        self._dictionaries = dictionaries
        self._call = call
        self._key = key
        self._start, self._end = span
        self._decode = decode
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
            error.code = "INVALID_RANGE"
            raise
        if self._end is not None and self._end < self._start:
            raise StorageInvalidRequestError(
                f"a range is 0 <= start <= end, not {self._start} to {self._end}", code="INVALID_RANGE"
            )

    async def _open(self) -> ObjectReader[StorageItem]:
        options = self._options()
        if self._start == 0 and self._end is None:
            return await self._plain(await self._driver.get(self._key, options))
        info = await self._driver.head(self._key, options)
        found = recipe_of(info) if self._decode else raw_recipe(info)
        if found.plain_size is not None and self._start >= found.plain_size > 0:
            raise StorageInvalidRequestError(
                f"the range starts at byte {self._start} of an object of {found.plain_size}",
                code="INVALID_RANGE",
            )
        # The bytes must be of the version the recipe was read from.
        pinned = replace(options, if_match=info.etag)
        if found.codec is None:
            pinned = replace(pinned, start=self._start, end=self._end)
        return await self._plain(await self._driver.get(self._key, pinned))

    async def _plain(self, stored: StoredReader) -> ObjectReader[StorageItem]:
        try:
            found = recipe_of(stored.info) if self._decode else raw_recipe(stored.info)
            dictionary = None if found.dictionary is None else await self._dictionaries.get(found.dictionary)
        except BaseException:
            await stored.aclose()
            raise
        stored.watch(self._progress)
        item = item_of(stored.info, self._driver.name, found)
        span = (self._start, self._end)
        return decoded_reader(stored, found, item, span, self._call.explain, dictionary=dictionary)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is not None:
            await self._reader.aclose()
