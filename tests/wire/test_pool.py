"""So many connections and no more, in turn; none is lost, whatever is cancelled or ends."""

import asyncio

import pytest

from credstore.wire import pool as pool_module
from credstore.wire.connection import Answer
from credstore.wire.http import HttpClient
from credstore.wire.transport import WireError
from tests.wire.server import answer, hang_up, serving, stall
from tests.wire.test_http import run, send


async def get(client, url):
    return await (await send(client, url)).read(100)


def leases(client):
    return client._pool._leases


def test_whoever_waits_is_served_in_turn():
    async def check(server, client):
        order = []

        async def one(number):
            await get(client, server.url)
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(20)))
        assert order == list(range(20))
        assert (server.connections, leases(client)) == (1, 1)

    run(check, answer(200, b"x"), max_connections=1)


@pytest.mark.parametrize("after", range(8))
def test_a_cancelled_waiter_passes_its_turn_on(after):
    async def check(server, client):
        first = asyncio.ensure_future(get(client, server.url))
        waiting = [asyncio.ensure_future(get(client, server.url)) for _ in range(5)]
        for _ in range(after):
            await asyncio.sleep(0)
        for task in waiting[:4]:
            task.cancel()
        found = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert (found[0], found[-1]) == (b"x", b"x")
        assert leases(client) <= 1
        assert await get(client, server.url) == b"x"

    run(check, answer(200, b"x"), max_connections=1)


def test_a_waiter_that_is_cancelled_once_it_was_served_gives_it_back():
    async def check(server, client):
        reply = await send(client, server.url)
        waiting = asyncio.ensure_future(get(client, server.url))
        await asyncio.sleep(0)
        while not client._pool._waiters:
            await asyncio.sleep(0)
        connection = reply._connection
        free = connection._free

        def free_and_cancel(freed):
            connection._free = free
            free(freed)
            waiting.cancel()

        connection._free = free_and_cancel
        await reply.read(1_000_000)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(await get(client, server.url)) == 100
        assert (server.connections, leases(client)) == (1, 1)

    run(check, answer(200, b"x" * 600_000), answer(200, b"x" * 100), max_connections=1)


def test_a_waiter_that_is_cancelled_once_it_had_leave_to_connect_passes_that_on():
    async def check(server, client):
        reply = await send(client, server.url)
        waiting = [asyncio.ensure_future(get(client, server.url)) for _ in range(3)]
        while len(client._pool._waiters) < 3:
            await asyncio.sleep(0)
        connection = reply._connection
        lost = connection._lost

        def lose_and_cancel(ended):
            lost(ended)  # The first in line may connect now, and is cancelled before it does.
            assert len(client._pool._waiters) == 2
            waiting[0].cancel()

        connection._lost = lose_and_cancel
        await reply.aclose()
        found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 20)
        assert isinstance(found[0], asyncio.CancelledError)
        assert found[1:] == [b"x", b"x"]
        assert (server.connections, leases(client)) == (2, 1)

    run(check, stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"), answer(200, b"x"), max_connections=1)


@pytest.mark.parametrize("end", [hang_up, None])
def test_a_connection_that_ends_makes_room_for_the_next(end):
    async def check(server, client):
        async def one():
            try:
                return await get(client, server.url)
            except WireError as error:
                return error.kind

        if end is None:
            reply = await send(client, server.url)
            others = [asyncio.ensure_future(one()) for _ in range(3)]
            await asyncio.sleep(0)
            await reply.aclose()
            assert await asyncio.gather(*others) == [b"x"] * 3
        else:
            assert await asyncio.gather(*(one() for _ in range(4))) == ["broken", b"x", b"x", b"x"]
        assert leases(client) == 1

    first = end or stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
    run(check, first, answer(200, b"x"), max_connections=1)


def test_a_failure_to_connect_makes_room_too(monkeypatch):
    async def check(server, client):
        loop = asyncio.get_running_loop()
        resolve, fails = loop.getaddrinfo, [True, False, True, False]

        async def sometimes(*args, **fields):
            if fails.pop(0):
                raise OSError
            return await resolve(*args, **fields)

        monkeypatch.setattr(loop, "getaddrinfo", sometimes)
        url = server.url.replace("127.0.0.1", "localhost")
        found = await asyncio.gather(*(get(client, url) for _ in range(3)), return_exceptions=True)
        assert [getattr(each, "kind", each) for each in found] == ["connect", b"x", b"x"]
        assert (leases(client), server.connections) == (1, 1)

    run(check, answer(200, b"x"), max_connections=1)


def test_an_idle_connection_to_another_origin_makes_room():
    async def check(server, client):
        async with serving(answer(200, b"y")) as other:
            for _ in range(3):
                assert await get(client, server.url) == b"x"
                assert await get(client, other.url) == b"y"
            busy = await send(client, server.url)
            waiting = asyncio.ensure_future(get(client, other.url))
            await busy.read(10)
            assert await waiting == b"y"
            assert leases(client) == 1
            await client.aclose()

    run(check, answer(200, b"x"), max_connections=1)


def test_a_connection_idle_for_long_is_closed(monkeypatch):
    monkeypatch.setattr(pool_module, "_KEPT", 0.01)

    async def check(server, client):
        assert await get(client, server.url) == b"x"
        while leases(client):
            await asyncio.sleep(0)
        assert client._pool._sweep is None
        assert await get(client, server.url) == b"x"
        assert server.connections == 2

    run(check, answer(200, b"x"))


def test_a_connection_idle_for_long_is_not_used_even_if_it_was_not_closed_yet(monkeypatch):
    async def check(server, client):
        assert await get(client, server.url) == b"x"
        monkeypatch.setattr(pool_module, "_KEPT", 0.0)
        assert await get(client, server.url) == b"x"
        assert server.connections == 2

    run(check, answer(200, b"x"))


def test_a_connection_that_the_server_closed_while_idle_is_not_used():
    async def check(server, client):
        assert await get(client, server.url) == b"x"
        server.drop()
        while leases(client):
            await asyncio.sleep(0)
        assert await get(client, server.url) == b"x"
        assert server.connections == 2

    run(check, answer(200, b"x"))


def test_closing_ends_what_is_under_way():
    async def check(server, client):
        under_way = [asyncio.ensure_future(get(client, server.url)) for _ in range(4)]
        while len(server.seen) < 2:
            await asyncio.sleep(0)
        await client.aclose()
        kinds = [each.kind for each in await asyncio.gather(*under_way, return_exceptions=True)]
        assert kinds == ["broken", "broken", "connect", "connect"]

    run(check, stall(), max_connections=2)


def test_a_wait_for_a_turn_ends_at_the_deadline():
    async def check(server, client):
        reply = await send(client, server.url)
        now = asyncio.get_running_loop().time()
        with pytest.raises(WireError) as caught:
            await send(client, server.url, deadline=now + 0.02)
        assert (caught.value.kind, caught.value.sent) == ("timeout", False)
        await reply.aclose()

    run(check, stall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1"), max_connections=1)


def test_closing_twice_at_once_is_closing_once():
    async def check(server, client):
        assert await get(client, server.url) == b"x"
        pool = client._pool
        await asyncio.gather(client.aclose(), pool.aclose(), pool.aclose())
        assert pool._leases == 0

    run(check, answer(200, b"x"))


def test_a_client_opens_nothing_before_it_is_used():
    async def main():
        await HttpClient(ca_file="/no/such/file").aclose()

    asyncio.run(main())


def test_a_cancel_once_the_answer_is_there_spares_the_next_request(monkeypatch):
    async def check(server, client):
        first = asyncio.ensure_future(get(client, server.url))
        second = asyncio.ensure_future(get(client, server.url))
        ended = Answer.ended

        def end(answer):
            ended(answer)
            first.cancel()

        monkeypatch.setattr(Answer, "ended", end)
        assert await second == b"x"
        assert first.cancelled()
        assert (server.connections, leases(client)) == (1, 1)

    run(check, answer(200, b"x"), max_connections=1)
