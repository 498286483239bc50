"""A store in a process of its own, which can be killed and started again, and the driver that speaks to it."""

import asyncio
import copyreg
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType

from credstore.driver import READ_ALL, BytesBody, Driver, PutResult
from credstore.driver.reader import ObjectReader
from credstore.driver.refusals import check_put
from credstore.errors import (
    StorageConnectionError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnavailableError,
)
from tests.drivers.local.children import child

copyreg.pickle(MappingProxyType, lambda mapping: (MappingProxyType, (dict(mapping),)))
_SIZE = 4
"""Bytes that say how many follow."""


def _framed(value) -> bytes:
    data = pickle.dumps(value)
    return len(data).to_bytes(_SIZE) + data


async def _received(reader: asyncio.StreamReader):
    return pickle.loads(await reader.readexactly(int.from_bytes(await reader.readexactly(_SIZE))))


def serve(pipe: Connection, path: str, build: Callable[[], Driver], dying: str) -> None:
    """Serve a driver until the process is killed.

    Args:
        pipe: Gets one message once it listens.
        path: Of its socket.
        build: Makes the driver.
        dying: "before" or "after" the third write, or "" for never.
    """

    async def main() -> None:
        driver = build()
        writes = count(1)

        async def called(name: str, arguments, options):
            if name == "get":
                async with await driver.get(*arguments) as reader:
                    return reader.info, await reader.read()
            last = name == "put" and dying and next(writes) == 3
            if last and dying == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            found = await getattr(driver, name)(*arguments, **options)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        async def one(number: int, call, writer: asyncio.StreamWriter) -> None:
            try:
                result = await called(*call)
            except StorageError as error:
                result = error
            writer.write(_framed((number, result)))

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            async with asyncio.TaskGroup() as group:
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    while True:
                        number, call = await _received(reader)
                        group.create_task(one(number, call, writer))
            writer.close()

        async with await asyncio.start_unix_server(connected, path):
            pipe.send("listening")
            await asyncio.Event().wait()

    asyncio.run(main())


class Keeper:
    """The process of one store.

    Attributes:
        path: Of its socket.
        life: How many processes there have been.
    """

    def __init__(self, folder: Path, name: str, build: Callable[[], Driver], *, dying: bool = False) -> None:
        """Start nothing yet.

        Args:
            folder: For the socket; its path is short.
            name: Of the store.
            build: Makes the driver that the process serves; it is sent there.
            dying: Whether the process dies at its third write, before or after it in turn, six times.
        """
        self.path = folder / f"{name}.socket"
        self._build = build
        self._ways = ["before", "after"] * 3 if dying else []
        self.life = 0
        self._stack: ExitStack | None = None
        self._turn = asyncio.Lock()

    def start(self) -> None:
        """Start the process and wait until it listens."""
        self.kill()
        self.path.unlink(missing_ok=True)
        self._stack = ExitStack()
        way = self._ways[self.life] if self.life < len(self._ways) else ""
        self.life += 1
        running = self._stack.enter_context(child(serve, str(self.path), self._build, way))
        assert running.pipe.recv() == "listening"

    async def revive(self, seen: int) -> None:
        """Start it again, if no other caller has done so since it was seen dead in this life."""
        async with self._turn:
            if self.life == seen:
                await asyncio.to_thread(self.start)

    def kill(self) -> None:
        """End the process with SIGKILL."""
        stack, self._stack = self._stack, None
        if stack is not None:
            stack.close()


class _LostError(Exception):
    """The process has ended."""


class _Line:
    """A connection to the process; many calls at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, asyncio.Future] = {}
        self._numbers = count()
        self._listening = asyncio.ensure_future(self._listen())

    @property
    def ended(self) -> bool:
        return self._listening.done() or self._writer.is_closing()

    async def ask(self, *call):
        if self.ended:
            raise _LostError
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writer.write(_framed((number, call)))
        try:
            result = await future
        finally:
            self._waiting.pop(number, None)
        if isinstance(result, StorageError):
            raise result
        return result

    async def _listen(self) -> None:
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    number, result = await _received(self._reader)
                    future = self._waiting.get(number)
                    if future is not None and not future.done():
                        future.set_result(result)
        finally:
            self._writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(_LostError())

    async def aclose(self) -> None:
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening


class Distant:
    """Speaks to such a process.

    With `revive` a process that has died is started again, and asked whether a write happened, so that no
    outcome is unclear: what was not done by a dead process never will be. With `again` what was not done, or
    may be done twice, is done again, as the drivers of clouds do it.
    """

    def __init__(
        self, keeper: Keeper, label: str, like: Driver, *, revive: bool = False, again: bool = False
    ) -> None:
        self._keeper = keeper
        self.name = label
        self.capabilities = replace(
            like.capabilities, tags=False, retention_modes=frozenset(), legal_holds=False
        )
        self._revive = revive
        self._again = again
        self._line: _Line | None = None
        self._opening = asyncio.Lock()

    async def _opened(self) -> _Line:
        async with self._opening:
            if self._line is None or self._line.ended:
                self._line = _Line(*await asyncio.open_unix_connection(self._keeper.path))
            return self._line

    async def _ask(self, name: str, *arguments, changes: bool = False, **options):
        life = self._keeper.life
        try:
            line = await self._opened()
        except OSError as error:
            if not self._revive:
                raise StorageUnavailableError(f"{self.name} does not run", applied="no") from error
            await self._keeper.revive(life)
            return await self._ask(name, *arguments, changes=changes, **options)
        try:
            return await line.ask(name, arguments, options)
        except _LostError as error:
            if self._revive:
                await self._keeper.revive(life)
            if self._again and name != "put":
                return await self._ask(name, *arguments, changes=changes, **options)
            applied = "maybe" if changes else "no"
            raise StorageConnectionError(f"{self.name} has died", applied=applied) from error

    async def put(self, request):
        check_put(request, self.capabilities, self.name)
        body = b"".join([chunk async for chunk in request.body.open()])
        if request.body.length not in {None, len(body)}:
            raise StorageInvalidRequestError("the body is not as long as announced", code="BODY_LENGTH")
        plain = replace(request, body=BytesBody(body), progress=None)
        while True:
            try:
                result = await self._put(plain)
                break
            except StorageConnectionError as error:
                if not self._again or error.applied != "no":
                    raise
        if request.progress is not None:
            request.progress(len(body), request.body.length)
        return result

    async def _put(self, request):
        try:
            return await self._ask("put", request, changes=True)
        except StorageConnectionError as error:
            if not self._revive:
                raise
            try:
                found = await self.head(request.key)
            except (StorageNotFoundError, StorageIntegrityError):  # What is there is none of ours.
                found = None
            if found is None or found.write_id != request.write_id:
                error.applied = "no"
                raise
            return PutResult(
                key=request.key,
                size=found.size,
                etag=found.etag,
                digest=found.digest,
                encryption=found.encryption,
            )

    async def get(self, key, options=READ_ALL):
        info, data = await self._ask("get", key, options)
        digest = info.digest if options.whole else None
        return ObjectReader(info, data, length=len(data), digest=digest)

    async def head(self, key, options=READ_ALL):
        return await self._ask("head", key, options)

    async def delete(self, key, *, if_match=None, version_id=None, deadline=None):
        given = {"if_match": if_match, "version_id": version_id, "deadline": deadline}
        return await self._ask("delete", key, changes=True, **given)

    async def delete_many(self, keys, *, deadline=None):
        return await self._ask("delete_many", list(keys), changes=True, deadline=deadline)

    async def list(self, prefix="", cursor=None, **options):
        return await self._ask("list", prefix, cursor, **options)

    async def copy(self, request):
        return await self._ask("copy", replace(request), changes=True)

    async def sign(self, request):
        return await self._ask("sign", request)

    async def ping(self, *, deadline=None):
        await self._ask("ping", deadline=deadline)

    async def aclose(self):
        """Hang up; the process remains."""
        if self._line is not None:
            await self._line.aclose()
