"""Links as others open them: what each client sends is what was signed (fault E1)."""

import asyncio
import socket
import time
from urllib.parse import unquote

import pytest

from credstore import MemoryConfig
from credstore.config.stores import S3CompatibleConfig
from credstore.driver import SignRequest
from credstore.links.public import public_url
from tests.drivers.s3.support import KEY_ID, SECRET, make_driver
from tests.faults.signatures import Account, verify
from tests.interop.clients import PROGRAMS, PYTHON, receiving
from tests.links.signers import KEYED, LATER, NOW, signer_of

KEYS = [
    "a/b.json",
    "".join(map(chr, range(0x20, 0x7F))),
    "é/日本/😀",
    "//double//",
    "/lead",
    " edges ",
    "%2e%2e/%2E/x",
    "...",
    "a/..b/c..",
    "back\\slash\\..\\x",
    "q?x=1#f;v",
    "a+b c%20d",
    "\u00a0\u3000\u200b",
    "e\u0301",
]
SHAPES = [
    ("127.0.0.1", "http://127.0.0.1:{port}"),
    ("127.0.0.1", "HTTP://LocalHost:0{port}/"),
    ("127.0.0.1", "http://[::ffff:127.0.0.1]:{port}"),
]
"""Of endpoints that a server on this machine answers at: where it listens, and how it is spelled."""
AWAY = [
    "http://s3.example.com:80",
    "http://S3.Example.COM:",
    "http://s3.example.com.:80/",
    "http://bücher.example:080",
    "http://STRASSE.example",
    "http://straße.example:9000",
    "http://[2001:DB8:0:0:0:0:0:1]:80",
    "http://192.0.2.1:80",
]
"""Of endpoints elsewhere: by way of a proxy, which shows what would be sent there."""


by_client = pytest.mark.parametrize(
    "client",
    [
        *(pytest.param(client, id=name) for name, client in PYTHON.items()),
        *(pytest.param(client, id=name, marks=pytest.mark.system) for name, client in PROGRAMS.items()),
    ],
)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


if has_ipv6():
    SHAPES.append(("::1", "http://[0:0:0:0:0:0:0:1]:{port}"))


async def signed_link(endpoint, key, **settings):
    driver = make_driver(endpoint, kind=S3CompatibleConfig, allow_http=True, proxy=None, **settings)
    try:
        return (await driver.sign(SignRequest(key=key, overrides={"content-type": "a/b; c='d'"}))).url
    finally:
        await driver.aclose()


def check(request, place, endpoint):
    verify(request, {KEY_ID: Account(KEY_ID, SECRET)}, "us-east-1", time.time())
    if place:  # Also where the request goes.
        assert place.strip("[]") == request.headers["host"].strip("[]")  # httpx leaves the brackets out.
    assert request.headers["host"] in endpoint


@by_client
@pytest.mark.parametrize(("host", "spelled"), SHAPES)
def test_a_link_to_this_machine_is_opened_as_it_was_signed(client, host, spelled):
    async def main():
        async with receiving(host) as received:
            endpoint = spelled.format(port=received.origin.rpartition(":")[2])
            url = await signed_link(endpoint, "a b/é.json")
            place, request = await received.one(client, url)
            check(request, place, url)

    asyncio.run(main())


@by_client
@pytest.mark.parametrize("endpoint", AWAY)
@pytest.mark.parametrize("addressing", ["path", "virtual"])
def test_a_link_elsewhere_is_opened_as_it_was_signed(client, endpoint, addressing):
    if addressing == "virtual" and ("[" in endpoint or "192.0.2.1" in endpoint):
        addressing = "path"  # An address has no hosts below it.

    async def main():
        async with receiving() as received:
            url = await signed_link(endpoint, "k", addressing=addressing)
            place, request = await received.one(client, url, proxied=True)
            check(request, place, url)

    asyncio.run(main())


@by_client
@pytest.mark.parametrize("key", KEYS)
def test_a_link_to_any_key_is_opened_as_it_was_signed(client, key):
    async def main():
        async with receiving() as received:
            url = await signed_link(received.origin, key)
            place, request = await received.one(client, url)
            check(request, place, url)

    asyncio.run(main())


@by_client
@pytest.mark.parametrize("key", KEYS)
def test_public_addresses_are_sent_byte_for_byte(client, key):
    """So an edge that computes its token over the path as it comes sees the one that was signed."""

    async def main():
        async with receiving() as received:
            cdn = f"{received.origin}/b%c3%a4se%7E/(x)"
            url = public_url(MemoryConfig(cdn_url=cdn))(key)
            _, request = await received.one(client, url)
            assert received.origin + request.target == url

    asyncio.run(main())


@by_client
@pytest.mark.parametrize("name", KEYED)
def test_links_of_a_cdn_are_sent_byte_for_byte(client, name):
    plain = "HTTP://CDN.Example.com:80/b.json"
    spelled = plain if name == "keycdn" else "HTTP://CDN.Example.com:80/b%c3%a4se/%28x%29!&=a"

    async def main():
        async with receiving() as received:
            link = signer_of(name).sign(spelled, now=NOW, expires_at=LATER)
            place, request = await received.one(client, link, proxied=True)
            assert (place or "cdn.example.com", request.headers["host"]) == ("cdn.example.com",) * 2
            path, _, query = request.target.partition("?")
            assert f"http://cdn.example.com{path}" == link.partition("?")[0]
            pairs = (pair.partition("=") for pair in link.partition("?")[2].split("&"))
            assert dict(request.query) == {part: unquote(value) for part, _, value in pairs if part}, query

    asyncio.run(main())
