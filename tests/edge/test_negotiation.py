"""Which coding is chosen, in a table and over the wire."""

import asyncio
import gzip
from dataclasses import replace

import aiohttp
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from credstore import (
    ClientSide,
    KeyRing,
    LocalKey,
    MemoryConfig,
    StorageProvider,
    StorageUnsupportedError,
    serve_links,
    train_dictionary,
)
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.edge.negotiation import choose_coding
from credstore.edge.server import listen
from tests.edge.support import CONTENT, Edge, get

PLAIN = "identity"


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, PLAIN),
        ("", PLAIN),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("x-gzip", "gzip"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br , gzip;q=0.5", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("gzip;q=0", PLAIN),
        ("gzip;q=0.000", PLAIN),
        ("br", PLAIN),
        ("identity", PLAIN),
        ("identity, gzip;q=0.9", PLAIN),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0.5, gzip", "gzip"),
        ("*", "gzip"),
        ("*;q=0.1", "gzip"),
        ("gzip;q=0, *", PLAIN),
        ("gzip;q=0.5, *;q=0.8", PLAIN),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("identity;q=0, br", None),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0, *", "gzip"),
        ("*;q=0, gzip", "gzip"),
        ("*;q=0, identity", PLAIN),
        ("gzip;q=0, identity;q=0", None),
        ("gzip ; q=1.000", "gzip"),
        ("gzip;q=2", PLAIN),
        ("gzip;q=-1", PLAIN),
        ("gzip;q=0.1234", PLAIN),
        ("gzip;level=9", PLAIN),
        (",,gzip,", "gzip"),
        ("g zip", PLAIN),
    ],
)
def test_the_choice(accepted, chosen) -> None:
    assert choose_coding(accepted, "gzip", decodable=True) == chosen


@pytest.mark.parametrize(("accepted", "chosen"), [(None, "br"), ("br", "br"), ("gzip", None), ("*", "br")])
def test_bytes_that_are_coded_already(accepted, chosen) -> None:
    assert choose_coding(accepted, "br", decodable=False) == chosen


@given(st.text(max_size=40) | st.from_regex(r"((gzip|identity|\*|br)(;q=[01](\.[0-9]{0,3})?)?,? ?){0,4}"))
def test_any_text_is_an_answer(accepted: str) -> None:
    chosen = choose_coding(accepted, "gzip", decodable=True)
    assert chosen in {"gzip", PLAIN, None}
    if "q" not in accepted.lower():
        assert chosen is not None


DECODERS = {
    "gzip": gzip.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompress(body, max_output_size=1 << 20),
    None: bytes,
}


@pytest.mark.parametrize(
    ("stored", "accepted", "coding"),
    [
        (False, "gzip, zstd", None),
        ("gzip", "gzip, deflate, br, zstd", "gzip"),
        ("gzip", "zstd", None),
        ("gzip", None, None),
        ("zstd", "gzip, deflate, br, zstd", "zstd"),
        ("zstd", "gzip, deflate, br", None),
        ("zstd", None, None),
    ],
)
def test_what_is_sent(edge: Edge, stored, accepted, coding) -> None:
    async def scene(store, base) -> None:
        result = await store.store("k", CONTENT, compress=stored)
        asked = {} if accepted is None else {"Accept-Encoding": accepted}
        answer = await get(await store.get_signed_url("k"), **asked)
        assert answer.status == 200
        assert answer.headers.get("content-encoding") == coding
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["accept-ranges"] == ("none" if coding else "bytes")
        assert len(answer.body) == int(answer.headers["content-length"])
        assert len(answer.body) == (result.size if coding else len(CONTENT))
        assert DECODERS[coding](answer.body) == CONTENT
        told = await get(await store.get_signed_url("k", method="HEAD"), "HEAD", **asked)
        assert told.headers["content-length"] == answer.headers["content-length"]
        assert told.headers["etag"] == answer.headers["etag"]

    edge.play(scene)


def test_nothing_acceptable(edge: Edge) -> None:
    async def scene(store, base) -> None:
        for compress, accepted in (
            ("gzip", "zstd, identity;q=0"),
            ("zstd", "*;q=0"),
            (False, "identity;q=0"),
        ):
            await store.store("k", CONTENT, compress=compress)
            answer = await get(await store.get_signed_url("k"), Accept_Encoding=accepted)
            assert (answer.status, answer.headers["vary"]) == (406, "Accept-Encoding")
            assert "claim" not in answer.body.decode()

    edge.play(scene)


def test_each_representation_has_its_own_tag(edge: Edge) -> None:
    async def scene(store, base) -> None:
        await store.store("k", CONTENT, compress="gzip")
        link = await store.get_signed_url("k")
        plain = (await get(link)).headers["etag"]
        coded = (await get(link, Accept_Encoding="gzip")).headers["etag"]
        assert plain != coded
        assert plain == (await get(link)).headers["etag"]
        assert not plain.startswith("W/")
        assert (await get(link, Accept_Encoding="gzip", If_None_Match=coded)).status == 304
        assert (await get(link, Accept_Encoding="gzip", If_None_Match=plain)).status == 200
        await store.store("k", CONTENT, compress="gzip")
        assert (await get(link)).headers["etag"] != plain

    edge.play(scene)


def test_a_dictionary_is_nothing_for_browsers(edge: Edge) -> None:
    samples = [CONTENT[:200] + b'{"n": %d}' % number * 9 for number in range(200)]

    async def scene(store, base) -> None:
        dictionary = train_dictionary(samples, size=4096)
        await store.store("k", samples[0], dictionary=dictionary)
        answer = await get(await store.get_signed_url("k"), Accept_Encoding="zstd, gzip")
        assert (answer.status, answer.body) == (200, samples[0])
        assert "content-encoding" not in answer.headers

    edge.play(scene)


@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_encrypted_is_not_given_out(marked: bool, required: bool, method) -> None:
    policy = ClientSide(KeyRing(LocalKey(bytes(32))), store_id="tests", required=required)

    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        config = MemoryConfig(link_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        objects = MemoryObjects()
        driver = MemoryDriver(config, objects=objects)
        async with (
            StorageProvider(driver, config, encryption=policy) as store,
            serve_links(store, listener=listener),
        ):
            await store.store("k", CONTENT)
            with pytest.raises(StorageUnsupportedError, match="encrypt"):
                await store.get_signed_url("k", method=method)
            if not marked:
                kept = objects.by_key["k"]
                objects.put(replace(kept, info=replace(kept.info, system={})))
            # Somebody else, who knows nothing of the encryption, makes the link.
            plain = StorageProvider(driver, config)
            answer = await get(await plain.get_signed_url("k", method=method, check=False), method)
            assert b"claim" not in answer.body
            # Unmarked, it passes for a file of somebody's, until its bytes are looked at.
            assert answer.status == (500 if marked or method == "GET" else 200)

    asyncio.run(main())


def test_aiohttps_client_decodes(edge: Edge) -> None:
    async def scene(store, base) -> None:
        for compress in (False, "gzip", "zstd"):
            await store.store("k/ü", CONTENT, compress=compress)
            link = URL(str(await store.get_signed_url("k/ü")), encoded=True)
            async with aiohttp.ClientSession() as session, session.get(link) as answer:
                assert answer.status == 200
                assert await answer.read() == CONTENT

    edge.play(scene)


def test_files_that_others_coded(local_edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(store, base) -> None:
        await store.store("k", b"not really brotli")
        link = await store.get_signed_url("k")
        real = store.get_metadata

        async def coded(key):
            return replace(await real(key), content_encoding="br")

        monkeypatch.setattr(store, "get_metadata", coded)
        for headers, wanted in (
            ({}, 200),
            ({"Accept-Encoding": "br"}, 200),
            ({"Accept-Encoding": "gzip"}, 406),
        ):
            answer = await asyncio.wait_for(get(link, **headers), 30)
            assert answer.status == wanted
            assert answer.headers.get("content-encoding") == ("br" if wanted == 200 else None)

    local_edge.play(scene)
