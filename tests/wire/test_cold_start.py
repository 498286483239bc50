"""The first calls: what they all need is made once, whoever of them is cancelled, and can be had beforehand."""

import asyncio
import socket
import ssl

import pytest

from credstore.config.stores import MemoryConfig, S3CompatibleConfig
from credstore.drivers.memory import MemoryDriver
from credstore.encryption import Secret
from credstore.errors import (
    StorageConfigurationError,
    StorageConnectionError,
    StorageInvalidRequestError,
    StorageTimeoutError,
)
from credstore.provider.presets import MemoryStorageProvider, S3CompatibleStorageProvider
from credstore.provider.provider import StorageProvider
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.prefixed import prefixed
from credstore.wire import connecting, names
from credstore.wire.http import HttpClient
from credstore.wire.names import KEPT, Names, literal
from credstore.wire.transport import WireError
from tests.drivers.s3.support import make_driver
from tests.faults.certificates import make_server
from tests.wire.server import answer, serving
from tests.wire.test_http import run, send

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 443))]
STORED = answer(200, headers=[("etag", '"x"'), ("x-amz-request-id", "r")])


async def get(client, url):
    return await (await send(client, url)).read(100)


class Resolver:
    """Stands in for a loop: counts lookups, and tells what time it is."""

    def __init__(self, *outcomes):
        self.asked = []
        self.now = 0.0
        self.outcomes = list(outcomes)
        self.gate = asyncio.Event()

    def time(self):
        return self.now

    async def getaddrinfo(self, host, port, **_):
        self.asked.append((host, port))
        await self.gate.wait()
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_64_first_calls_over_https_build_one_context_and_resolve_once(tmp_path, monkeypatch):
    served, authority = make_server(tmp_path)
    contexts, lookups = [], []
    make = ssl.create_default_context

    def counting():
        contexts.append(make())
        contexts[-1].check_hostname = False  # The certificate is for an address.
        return contexts[-1]

    async def main():
        async def resolve(host, port, **_):
            lookups.append((host, port))
            await asyncio.sleep(0)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(connecting.ssl, "create_default_context", counting)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        async with serving(answer(200, b"x"), tls=served) as server:
            port = int(server.url.rpartition(":")[2])
            client = HttpClient(ca_file=authority)
            url = f"https://store.test:{port}/k"
            assert await asyncio.gather(*(get(client, url) for _ in range(64))) == [b"x"] * 64
            assert (len(contexts), lookups, server.connections) == (1, [("store.test", port)], 64)
            await client.aclose()

    asyncio.run(main())


def test_a_ca_file_that_cannot_be_read_is_told_to_each_of_them_and_read_again():
    async def check(_server, client):
        calls = [get(client, "https://127.0.0.1:1") for _ in range(3)]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in errors] == [StorageConfigurationError] * 3
        assert len({id(error) for error in errors}) == 3
        with pytest.raises(StorageConfigurationError, match="ca_file"):
            await get(client, "https://127.0.0.1:1")

    run(check, ca_file="/no/such/file")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "192.0.2.7"])
def test_an_address_is_never_looked_up(host):
    async def main():
        loop = Resolver(FOUND)
        ((family, kind, _, _, place),) = await Names(loop).addresses(host, 443)
        assert (kind, place[:2], loop.asked) == (socket.SOCK_STREAM, (host, 443), [])
        assert family == (socket.AF_INET6 if ":" in host else socket.AF_INET)

    asyncio.run(main())


@pytest.mark.parametrize("host", ["localhost", "1.2.3", "fe80::1%eth0", "bücher.example", "\udc80"])
def test_what_is_no_address_is_a_name(host):
    assert literal(host, 80) is None


def test_a_name_is_looked_up_once_and_known_for_ten_seconds():
    async def main():
        loop = Resolver(FOUND)
        known = Names(loop)
        waiting = [asyncio.ensure_future(known.addresses("h.test", 443)) for _ in range(64)]
        await asyncio.sleep(0)
        loop.gate.set()
        assert await asyncio.gather(*waiting) == [FOUND] * 64
        for now in (0.0, KEPT - 1):
            loop.now = now
            await known.addresses("h.test", 443)
        assert loop.asked == [("h.test", 443)]
        await known.addresses("h.test", 444)
        loop.now = KEPT
        await known.addresses("h.test", 443)
        known.forget("h.test", 443)
        await known.addresses("h.test", 443)
        assert loop.asked == [("h.test", 443), ("h.test", 444), ("h.test", 443), ("h.test", 443)]

    asyncio.run(main())


def test_a_name_that_is_unknown_is_so_for_all_who_ask_and_is_asked_for_again():
    async def main():
        loop = Resolver(socket.gaierror(socket.EAI_NONAME, "unknown"), FOUND)
        known = Names(loop)
        waiting = [asyncio.ensure_future(known.addresses("h.test", 443)) for _ in range(3)]
        await asyncio.sleep(0)
        loop.gate.set()
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert [(type(error), error.errno) for error in errors] == [(socket.gaierror, socket.EAI_NONAME)] * 3
        assert len({id(error) for error in errors}) == 3
        assert await known.addresses("h.test", 443) == FOUND
        assert len(loop.asked) == 2

    asyncio.run(main())


def test_no_more_names_are_kept_than_a_few(monkeypatch):
    async def main():
        loop = Resolver(FOUND)
        loop.gate.set()
        known = Names(loop)
        for number in range(9):
            await known.addresses(f"h{number}.test", 443)
            assert len(known._known) <= 4

    monkeypatch.setattr(names, "_MOST", 4)
    asyncio.run(main())


def test_a_host_that_has_moved_is_found_at_once(monkeypatch, unused_url):
    async def check(server, client):
        places = [int(unused_url.rpartition(":")[2]), int(server.url.rpartition(":")[2])]

        async def resolve(_host, _port, **_):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", places.pop(0)))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        with pytest.raises(WireError):
            await get(client, "http://store.test")
        assert await get(client, "http://store.test") == b"x"

    run(check, answer(200, b"x"))


def test_connections_are_warmed_up_to_a_number_and_used():
    async def check(server, client):
        await client.warm(server.url, 3, deadline=None)
        await client.warm(server.url, 2, deadline=None)
        while server.connections < 3:
            await asyncio.sleep(0)
        assert (server.connections, len(server.seen)) == (3, 0)
        assert await asyncio.gather(*(get(client, server.url) for _ in range(3))) == [b"x"] * 3
        await client.warm(server.url, 99, deadline=None)
        await client.warm(server.url, 99, deadline=None)
        while server.connections < 5:
            await asyncio.sleep(0)
        assert client._pool._leases == 5

    run(check, answer(200, b"x"), max_connections=5)


def test_warming_that_fails_or_is_cancelled_leaves_nothing(unused_url):
    async def check(server, client):
        with pytest.raises(WireError) as caught:
            await client.warm(unused_url, 3, deadline=None)
        assert (caught.value.sent, client._pool._leases) == (False, 0)
        for turns in range(6):
            warming = asyncio.ensure_future(client.warm(server.url, 3, deadline=None))
            for _ in range(turns):
                await asyncio.sleep(0)
            warming.cancel()
            await asyncio.wait([warming])
        assert await get(client, server.url) == b"x"
        assert client._pool._leases == len(client._pool._origins)

    run(check, answer(200, b"x"))


def config_at(url):
    return S3CompatibleConfig(bucket="bucket", endpoint=url, access_key_id="a", secret_access_key=Secret("s"))


def test_a_store_is_warmed_without_a_request_then_stores_over_those_connections():
    async def main():
        async with (
            serving(STORED) as server,
            S3CompatibleStorageProvider(config_at(server.url)) as store,
        ):
            await store.warm(4)
            while server.connections < 4:
                await asyncio.sleep(0)
            assert server.seen == []
            await asyncio.gather(*(store.store(f"k{number}", b"x") for number in range(4)))
            assert (server.connections, len(server.seen)) == (4, 4)

    asyncio.run(main())


def test_a_store_that_cannot_be_warmed_says_so(unused_url):
    async def main():
        async with S3CompatibleStorageProvider(config_at(unused_url)) as store:
            with pytest.raises(StorageConnectionError) as caught:
                await store.warm()
            error = caught.value
            assert (error.applied, error.operation, error.provider) == ("no", "warm", "custom")
            with pytest.raises((StorageTimeoutError, StorageConnectionError)):
                await store.warm(timeout=1e-9)
            for wrong in (0, -1, True, 1.5, "2", None):
                with pytest.raises(StorageInvalidRequestError, match="connections"):
                    await store.warm(wrong)

    asyncio.run(main())


def test_a_store_without_connections_has_nothing_to_warm():
    async def main():
        async with MemoryStorageProvider(MemoryConfig()) as store:
            await store.warm(10)
            with pytest.raises(StorageInvalidRequestError):
                await store.warm(0)

    asyncio.run(main())


def test_both_members_of_a_fallback_are_warmed_also_below_a_prefix(unused_url):
    async def main():
        async with serving(STORED) as first, serving(STORED) as second:
            for urls in ((first.url, second.url), (unused_url, second.url), (first.url, None)):
                members = [
                    MemoryDriver(MemoryConfig()) if url is None else make_driver(url, transport=HttpClient())
                    for url in urls
                ]
                driver = prefixed(FallbackDriver(*members), "p/")
                async with StorageProvider(driver, MemoryConfig()) as store:
                    if unused_url in urls:
                        with pytest.raises(StorageConnectionError):
                            await store.warm(2)
                    else:
                        await store.warm(2)
            while first.connections < 4 or second.connections < 4:
                await asyncio.sleep(0)
            assert (first.connections, second.connections) == (4, 4)

    asyncio.run(main())
