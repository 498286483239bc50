"""The way to an origin by a proxy: TLS for the origin alone, one clear failure each, nothing left open."""

import asyncio
import base64
import gc
import socket
import traceback

import pytest

from credstore.encryption import Secret
from credstore.wire.connecting import USER_AGENT, _Opening
from credstore.wire.http import HttpClient
from credstore.wire.proxy import ProxyRules
from credstore.wire.transport import HttpRequest, StreamBody, WireError
from tests.faults.certificates import make_server
from tests.servers.proxy import page, proxying
from tests.wire.server import answer, fresh_tasks, serving, stall

PASSWORD = "canary-proxy-password"


def client_by(url, password=None, **settings):
    if password is not None:
        url = url.replace("://", f"://{password}@")
    return HttpClient(proxies=ProxyRules.of(Secret(url), {}), **settings)


async def sent(client, url, method="GET", *, body=None, deadline=None, **headers):
    request = HttpRequest(method=method, url=url, headers=headers, body=body)
    return await client.send(request, deadline=deadline)


async def got(client, url, method="GET", **fields):
    reply = await sent(client, url, method, **fields)
    return reply.status, await reply.read(10_000_000)


async def failure(client, url, method="GET", **fields):
    with pytest.raises(WireError) as caught:
        await got(client, url, method, **fields)
    error = caught.value
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    for secret in (PASSWORD, base64.b64encode(f"user:{PASSWORD}".encode()).decode()):
        assert secret not in shown
    assert (error.__cause__, error.__context__) == (None, None)
    return error


def run(check, *acts, tls=None, proxy=None, **settings):
    """Run `check(server, proxy, client)`; afterwards no task of the client's and no place is left."""

    async def main():
        async with serving(*acts, tls=tls) as server, proxying(**(proxy or {})) as way:
            before = asyncio.all_tasks()
            client = client_by(way.url, **settings)
            try:
                await asyncio.wait_for(check(server, way, client), 60)
                pool = client._pool
                assert pool is None or pool._leases == sum(map(len, pool._idle.values()))
            finally:
                await client.aclose()
            await asyncio.sleep(0)
            others = ("proxying", "ProxyServer", "_pump", "BaseSelectorEventLoop._accept")
            assert [name for name in fresh_tasks(before) if not name.startswith(others)] == []

    asyncio.run(main())
    gc.collect()


@pytest.fixture
def trusted(tmp_path):
    return make_server(tmp_path)


def test_https_passes_a_tunnel_that_the_proxy_cannot_look_into(trusted):
    context, authority = trusted

    async def check(server, proxy, client):
        for number in range(3):
            body = b"x" * (number * 300_000)
            assert await got(client, f"{server.url}/k?v=1", "PUT", body=body, token="t") == (200, b"ok")
        place = server.url.partition("://")[2]
        assert proxy.heads == [
            f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\nuser-agent: {USER_AGENT}\r\n\r\n".encode()
        ]
        assert [len(seen.body) for seen in server.seen] == [0, 300_000, 600_000]
        assert [seen.line for seen in server.seen] == ["PUT /k?v=1 HTTP/1.1"] * 3
        assert (server.connections, proxy.connections) == (1, 1)

    run(check, answer(200, b"ok"), tls=context, ca_file=authority)


def test_http_is_told_as_a_whole_url():
    async def check(server, proxy, client):
        status, body = await got(
            client, f"{server.url}/b/k%20?v=1", "PUT", body=b"data", **{"x-amz-date": "d"}
        )
        assert (status, body) == (200, b"ok")
        assert proxy.lines == [f"PUT {server.url}/b/k%20?v=1 HTTP/1.1"]
        (seen,) = server.seen
        assert (seen.line, seen.body) == ("PUT /b/k%20?v=1 HTTP/1.1", b"data")
        assert (seen.headers["host"], seen.headers["x-amz-date"]) == (server.url.partition("://")[2], "d")
        for _ in range(2):
            assert (await got(client, server.url))[0] == 200
        assert proxy.connections == 1

    run(check, answer(200, b"ok"))


@pytest.mark.parametrize("secure", [False, True])
def test_the_password_goes_to_the_proxy_alone(trusted, secure):
    context, authority = trusted

    async def check(server, proxy, client):
        assert await got(client, f"{server.url}/k", "PUT", body=b"x") == (200, b"ok")
        stream = StreamBody(3, lambda: whole(b"abc"))
        assert await got(client, f"{server.url}/k", "PUT", body=stream) == (200, b"ok")
        token = base64.b64encode(f"user:{PASSWORD}".encode())
        assert all(head.count(b"proxy-authorization: Basic " + token) == 1 for head in proxy.heads)
        assert len(proxy.heads) == (1 if secure else 2)
        for seen in server.seen:
            assert "proxy-authorization" not in seen.headers
            assert token not in seen.head

    run(
        check, answer(200, b"ok"), tls=context if secure else None, proxy={"password": f"user:{PASSWORD}"},
        password=f"user:{PASSWORD}", ca_file=authority,
    )  # fmt: skip


async def whole(data):
    yield data


@pytest.mark.parametrize("by_proxy", [False, True])
def test_no_frame_of_an_error_that_a_body_raised_has_the_head(by_proxy):
    async def broken():
        yield b"a"
        raise LookupError

    async def check(server, proxy, client):
        if not by_proxy:
            client = HttpClient()
        request = HttpRequest(
            method="PUT",
            url=f"{server.url}/k",
            headers={"x-amz-security-token": PASSWORD},
            body=StreamBody(2, broken),
        )
        with pytest.raises(LookupError) as caught:
            await client.send(request, deadline=None)
        ours = [
            frame for frame, _ in traceback.walk_tb(caught.tb) if "wire/http.py" in frame.f_code.co_filename
        ]
        assert len(ours) == 2
        shown = " ".join(repr(frame.f_locals) for frame in ours)
        assert PASSWORD not in shown
        assert base64.b64encode(f"user:{PASSWORD}".encode()).decode() not in shown
        await client.aclose()

    run(check, stall(), password=f"user:{PASSWORD}")


def test_a_connection_is_used_again_only_if_the_proxy_says_so():
    async def check(server, proxy, client):
        for _ in range(5):
            assert await got(client, server.url, "PUT", body=b"x") == (200, b"ok")
        assert proxy.connections == 5
        assert await got(client, server.url, "HEAD") == (200, b"")

    run(check, answer(200, b"ok"), proxy={"keeps": False})


def test_a_proxy_finds_hosts_that_are_unknown_here():
    async def check(server, proxy, client):
        proxy.lives["s3.nowhere.invalid:80"] = int(server.url.rpartition(":")[2])
        assert await got(client, "http://s3.nowhere.invalid/k") == (200, b"ok")
        assert server.seen[0].headers["host"] == "s3.nowhere.invalid"

    run(check, answer(200, b"ok"))


@pytest.mark.parametrize("kind", ["another host's", "nobody's"])
def test_the_origins_certificate_must_be_for_its_own_name(tmp_path, kind):
    context, authority = make_server(
        tmp_path, address="127.0.0.9" if kind == "another host's" else "127.0.0.1"
    )

    async def check(server, proxy, client):
        error = await failure(client, f"{server.url}/k", "PUT", body=b"x")
        assert (error.kind, error.sent) == ("tls", False)
        assert f"through the proxy {proxy.url}" in error.detail
        assert server.seen == []

    run(check, tls=context, ca_file=authority if kind == "another host's" else None)


FAULTS = [
    ({"says": page(403)}, "proxy-refused", "responded 403"),
    ({"says": page(404)}, "proxy-refused", "responded 404"),
    ({"says": b"HTTP/1.0 302 Found\r\nLocation: http://login\r\n\r\n"}, "proxy-refused", "responded 302"),
    ({"says": page(407)}, "proxy-password", "responded 407"),
    ({"says": page(401)}, "proxy-password", "responded 401"),
    ({"password": "else:where"}, "proxy-password", "responded 407"),
    ({"says": page(500)}, "proxy-failed", "responded 500"),
    ({"says": page(502)}, "proxy-failed", "responded 502"),
    ({"says": page(503)}, "proxy-failed", "responded 503"),
    ({"says": page(504)}, "proxy-timeout", "responded 504"),
    ({"says": b"HTTP/1.1 100 Continue\r\n\r\n" + page(403)}, "proxy-refused", "responded 403"),
    ({"says": b"SSH-2.0-OpenSSH_9\r\n"}, "proxy-failed", "unintelligible response"),
    ({"says": b"HTTP/1.1 OK\r\n\r\n"}, "proxy-failed", "unintelligible response"),
    ({"says": b"HTTP/2 200\r\n\r\n"}, "proxy-failed", "unintelligible response"),
    ({"says": b"HTTP/1.1 200 OK\r\n\r\n<html>"}, "proxy-failed", "unintelligible response"),
    ({"says": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000}, "proxy-failed", "unintelligible response"),
    ({"says": b""}, "proxy-failed", "unintelligible response"),
]


@pytest.mark.parametrize(("fault", "kind", "words"), FAULTS)
def test_a_proxy_that_opens_no_tunnel_is_named_and_the_origin_gets_nothing(trusted, fault, kind, words):
    context, authority = trusted

    async def check(server, proxy, client):
        error = await failure(client, f"{server.url}/k", "PUT", body=StreamBody(1, never))
        assert (error.kind, error.sent) == (kind, False)
        assert error.detail.startswith(proxy.url)
        assert words in error.detail
        assert server.connections == 0

    run(check, tls=context, proxy=fault, password=f"user:{PASSWORD}", ca_file=authority)


async def never():
    raise AssertionError("a body was opened for a request that was not sent")
    yield b""


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_proxy_that_is_not_there_is_named(unused_url, secure, known, monkeypatch):
    async def unknown(*_, **__):
        raise socket.gaierror

    async def main():
        url = unused_url
        if not known:
            url = "http://proxy.invalid:3128"
            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        client = client_by(url, f"user:{PASSWORD}")
        error = await failure(client, f"{'https' if secure else 'http'}://127.0.0.1:1/k")
        assert (error.kind, error.sent) == ("proxy-connect", False)
        assert error.detail.startswith(url)
        assert ("name" in error.detail) is not known
        await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("by_deadline", [False, True])
def test_a_proxy_that_keeps_silent_is_given_up(trusted, by_deadline):
    context, authority = trusted

    async def check(server, proxy, client):
        deadline = asyncio.get_running_loop().time() + 0.05 if by_deadline else None
        error = await failure(client, f"{server.url}/k", deadline=deadline)
        assert (error.kind, error.sent) == ("proxy-timeout", False)
        assert error.detail == proxy.url

    timeout = 60 if by_deadline else 0.05
    run(
        check, tls=context, proxy={"silent": True}, connect_timeout=timeout, password=f"user:{PASSWORD}",
        ca_file=authority,
    )  # fmt: skip


def test_an_origin_behind_a_tunnel_that_keeps_silent_is_given_up(trusted):
    _, authority = trusted

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with proxying() as proxy:
                client = client_by(proxy.url, ca_file=authority, connect_timeout=0.3)
                error = await failure(client, f"https://127.0.0.1:{silent.getsockname()[1]}/k")
                assert (error.kind, error.sent) == ("timeout", False)
                assert proxy.url in error.detail
                await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("turns", range(0, 60, 4))
def test_a_cancel_on_the_way_leaves_nothing(trusted, turns):
    context, authority = trusted

    async def check(server, proxy, client):
        task = asyncio.ensure_future(got(client, f"{server.url}/k"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.then(answer(200, b"ok"))
        assert await got(client, f"{server.url}/k") == (200, b"ok")

    run(check, stall(), tls=context, ca_file=authority, max_connections=1)


@pytest.mark.parametrize("secure", [False, True])
def test_an_answer_says_which_proxy_may_have_made_it(trusted, secure):
    context, authority = trusted

    async def check(server, proxy, client):
        reply = await sent(client, server.url)
        assert reply.proxy == (None if secure else proxy.url)
        await reply.read(100)

    run(
        check, answer(200, b"ok"), tls=context if secure else None, ca_file=authority,
        password=f"user:{PASSWORD}",
    )  # fmt: skip


def test_a_passed_over_host_is_reached_directly():
    async def main():
        async with serving(answer(200, b"ok")) as server, proxying() as proxy:
            environ = {"http_proxy": proxy.url, "no_proxy": "127.0.0.0/8"}
            client = HttpClient(proxies=ProxyRules.of("env", environ))
            assert await got(client, server.url) == (200, b"ok")
            assert proxy.connections == 0
            await client.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(("over", "given_up"), [(0, False), (1, True)])
def test_a_proxys_answer_is_waited_for_up_to_its_longest(over, given_up):
    async def main():
        opening = _Opening(asyncio.get_running_loop())
        begun = b"HTTP/1.1 200 OK\r\nX: "
        opening.data_received(begun + b"y" * (64 * 1024 - len(begun) + over))
        assert opening.status.done() is given_up
        opening.data_received(b"\r\n\r\n")
        assert await opening.status == (None if given_up else 200)

    asyncio.run(main())
