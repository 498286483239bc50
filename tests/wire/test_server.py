"""The server of these tests leaves nothing behind that a later test would be blamed for."""

import asyncio
import gc
import socket
import warnings

import pytest

from tests.wire.server import serving


@pytest.mark.parametrize("turns", range(8))
def test_what_it_has_just_accepted_is_closed_too(turns):
    async def main():
        async with serving() as server:
            client = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
            for _ in range(turns):
                await asyncio.sleep(0)
        client.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
