"""A relay on loopback that passes bytes on, to where its target is now; it can hold them back and hang up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.servers.closing import close_server


class Relay:
    """What it does.

    Attributes:
        url: Of the relay.
        target: Port on loopback that connections go to, or None to hang up at once.
        delay: Returns the seconds for which to hold back what comes next.
    """

    def __init__(self) -> None:
        self.url = ""
        self.target: int | None = None
        self.delay = lambda: 0.0
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Hang up on everyone, also in the middle of a response."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, both ways."""
        ends = [writer]
        try:
            self._writers.add(writer)
            if self.target is None:
                writer.transport.abort()
                return
            there, onwards = await asyncio.open_connection("127.0.0.1", self.target)
            ends.append(onwards)
            self._writers.add(onwards)
            await asyncio.gather(self._pump(reader, onwards), self._pump(there, writer))
        except OSError:
            return
        finally:
            for each in ends:
                self._writers.discard(each)
                each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if seconds := self.delay():
                    await asyncio.sleep(seconds)
                writer.write(data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def relaying() -> AsyncIterator[Relay]:
    """A relay on an ephemeral port of 127.0.0.1, for as long as the block."""
    relay = Relay()
    tasks: set[asyncio.Task[None]] = set()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        writers.add(writer)
        try:
            await relay.serve(reader, writer)
        except asyncio.CancelledError:
            return  # The test is over.
        finally:
            writers.discard(writer)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        await close_server(listening, tasks, lambda: writers)
