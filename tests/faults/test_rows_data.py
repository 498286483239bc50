"""Rows K of the fault table: keys, sizes, metadata and sources at their edges, over a real wire."""

import asyncio
import gzip
import random
import zlib
from contextlib import suppress

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credstore.drivers.s3.multipart import plan_part_size
from credstore.errors import (
    StorageCodecError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
)
from tests.faults.rig import Rows, put_raw, raised, run

PART = 10_000
PARTS = {"multipart_threshold": PART, "part_size": PART}
TEXT = b'{"claim": "proof", "n": 12345}' * 100
rows = Rows()


@pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
def test_row(row):
    row.run()


# K01

EDGES = [0, 1, 16_383, 16_384, 16_385, PART - 1, PART, PART + 1, 2 * PART - 1, 2 * PART, 2 * PART + 1, 65_537]


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
def test_k01_sizes_at_every_edge_come_back_exactly(compress):
    async def test(rig):
        for size in EDGES:
            data = random.Random(size).randbytes(size)

            async def stream(data=data):
                for start in range(0, len(data), 777):
                    yield data[start : start + 777]

            for number, source in enumerate((data, stream())):
                result = await rig.store.store(f"k/{size}/{number}", source, compress=compress)
                assert (result.plain_size, result.size) == (size, len(rig.body(f"k/{size}/{number}")))
                assert await rig.store.retrieve(f"k/{size}/{number}") == data
                assert await rig.store.exists(f"k/{size}/{number}")

    run(test, **PARTS)


@rows("K01")
async def an_empty_object_is_not_an_absent_one(rig):
    assert await rig.store.retrieve("k") is None
    await rig.store.store("k", b"")
    assert await rig.store.retrieve("k") == b""
    async with rig.store.open("k") as reader:
        assert (await reader.read(), reader.length) == (b"", 0)
    assert await rig.store.delete("k") is not False


# K02

GIB = 1024**3
MIB = 1024**2


@pytest.mark.parametrize(
    ("size", "part", "most", "expected"),
    [
        (5 * GIB - 1, 8 * MIB, 5 * GIB, 8 * MIB),
        (5 * GIB, 8 * MIB, 5 * GIB, 8 * MIB),
        (5 * GIB + 1, 8 * MIB, 5 * GIB, 8 * MIB),
        (10_000 * 8 * MIB, 8 * MIB, 5 * GIB, 8 * MIB),
    ],
)
def test_k02_parts_are_as_large_as_ten_thousand_need(size, part, most, expected):
    assert plan_part_size(size, part, most) == expected


@given(st.integers(1, 5 * 1024 * GIB))
def test_k02_ten_thousand_parts_always_do(size):
    part = plan_part_size(size, 8 * MIB, 5 * GIB)
    assert 8 * MIB <= part <= 5 * GIB
    assert -(-size // part) <= 10_000


def test_k02_an_upload_of_ten_thousand_parts_is_whole():
    async def test(rig):
        data = random.Random(2).randbytes(10_000)
        await rig.store.store("k", data, timeout=900)
        assert rig.requests("UploadPart") == 10_000
        assert rig.body() == data

    run(test, multipart_threshold=1, part_size=1, max_concurrency=16)


# K03, K04, K07


@pytest.mark.parametrize(
    "key", ["", "../x", "./.", "\0", "a\x01b", "a\x7fb", "\x85", "\ufffe", "a\ud800b", "x" * 1025, "é" * 513]
)
def test_k03_k04_a_key_that_cannot_be_is_refused_before_anything_is_sent(key):
    async def test(rig):
        for call in (
            rig.store.store(key, b"x"),
            rig.store.retrieve(key),
            rig.store.delete(key),
            rig.store.copy(key, "k"),
            rig.store.get_signed_url(key),
        ):
            failed = await raised(call)
            assert isinstance(failed, StorageInvalidKeyError)
        assert rig.requests() == 0

    run(test)


@pytest.mark.parametrize(
    "key",
    [
        "x" * 1024,
        "x" * 1020 + "🔏",
        "é" * 512,
        "a+b%20c%2Fd?e#f&g'h\"i j~k*l",
        "/etc/x",
        "..%2f",
        "a\\b",
        "a//b/",
        " leading and trailing ",
        "<&>'\"]]>",
        "100%",
        "%zz",
        "=?utf-8?b?eA==?=",
        "ключ/鍵/🔑",
        "e\u0301",
        "é",
    ],
)
def test_k04_k07_a_key_is_signed_sent_listed_and_deleted_exactly(key):
    async def test(rig):
        await rig.store.store(key, TEXT)
        assert list(rig.objects) == [key]
        assert await rig.store.retrieve(key) == TEXT
        assert [item.key for item in await rig.store.list()] == [key]
        assert [item.key for item in await rig.store.list(key)] == [key]
        await rig.store.copy(key, "copy")
        assert rig.body("copy") == TEXT
        assert (await rig.store.batch_delete([key])).deleted == (key,)
        assert list(rig.objects) == ["copy"]
        await rig.store.move("copy", key)
        assert rig.body(key) == TEXT

    run(test)


# K08, K09, K11


BOMBS = {
    "gzip": gzip.compress(bytes(64 * MIB), 9, mtime=0),
    "zstd": zstandard.ZstdCompressor(19).compress(bytes(256 * MIB)),
    "zstd with a window of 2 GiB": bytes.fromhex("28b52ffd00a8") + bytes(16),
    "zstd that declares 64 GiB": bytes.fromhex("28b52ffdc0080000001000000000") + bytes(16),
}


@pytest.mark.parametrize("name", BOMBS)
def test_k08_a_bomb_is_an_error_and_not_an_allocation(name):
    async def test(rig):
        put_raw(rig, BOMBS[name], x_compression=name.split()[0])
        failed = await raised(rig.store.retrieve("k", max_size=MIB))
        assert isinstance(failed, (StorageCodecError, StorageInvalidRequestError))
        read = 0
        with suppress(StorageCodecError):
            async with rig.store.open("k") as reader:
                async for chunk in reader:
                    read += len(chunk)
                    if read > 2 * MIB:
                        break
        assert read < 40 * MIB  # At most what one slice of 1 KiB decodes to.

    run(test)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_k09_what_is_cut_off_anywhere_is_an_error(codec):
    packed = gzip.compress(TEXT, mtime=0) if codec == "gzip" else zstandard.compress(TEXT)

    async def test(rig):
        for cut in range(len(packed)):
            put_raw(rig, packed[:cut], x_compression=codec)
            failed = await raised(rig.store.retrieve("k"))
            assert isinstance(failed, StorageCodecError)

    run(test)


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        ("zstd", gzip.compress(TEXT, mtime=0)),
        ("gzip", zstandard.compress(TEXT)),
        ("gzip", TEXT),
        ("zstd", TEXT),
        ("gzip", zlib.compress(TEXT)),
        ("gzip", gzip.compress(TEXT, mtime=0) + b"x"),
        ("gzip", gzip.compress(TEXT, mtime=0) * 2),
        ("zstd", zstandard.compress(TEXT) * 2),
    ],
)
def test_k11_what_is_not_what_it_says_is_an_error_and_the_bytes_can_be_had(codec, body):
    async def test(rig):
        put_raw(rig, body, x_compression=codec)
        failed = await raised(rig.store.retrieve("k"))
        assert isinstance(failed, StorageCodecError)
        assert await rig.store.retrieve("k", decode=False) == body

    run(test)


@rows("K11")
async def what_was_compressed_twice_is_unpacked_once(rig):
    once = gzip.compress(TEXT, mtime=0)
    put_raw(rig, gzip.compress(once), x_compression="gzip")
    assert await rig.store.retrieve("k") == once


# K12


@pytest.mark.parametrize(
    "value", ["a\r\nx-amz-acl: public-read", "a\nb", "a\0b", " a", "a ", "x" * 3000, "\ud800"]
)
def test_k12_metadata_that_http_cannot_carry_is_refused(value):
    async def test(rig):
        for verb in (
            rig.store.store("k", b"x", metadata={"note": value}),
            rig.store.store("k", b"x", content_disposition=value) if len(value) < 100 else None,
        ):
            if verb is not None:
                assert isinstance(await raised(verb), StorageInvalidRequestError)
        assert rig.requests() == 0

    run(test)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=200).map(str.strip))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_k12_any_text_comes_back_as_metadata(value):
    async def test(rig):
        try:
            await rig.store.store("k", b"x", metadata={"note": value})
        except StorageInvalidRequestError:
            assert len(value.encode()) > 500 or value != value.strip(" \t")
            return
        item = await rig.store.get_metadata("k")
        assert item.metadata == {"note": value}

    run(test)


# K13


@pytest.mark.parametrize("size", [100, PART * 5])
@pytest.mark.parametrize("compress", [False, "zstd"])
def test_k13_a_source_that_fails_leaves_nothing_and_keeps_its_error(size, compress):
    class OwnError(Exception):
        pass

    async def test(rig):
        async def broken():
            for _ in range(size // 100):
                yield b"x" * 100
            raise OwnError

        with pytest.raises(OwnError):
            await rig.store.store("k", broken(), compress=compress)
        assert (rig.body(), rig.origin.open_uploads) == (None, 0)
        await rig.store.store("k", TEXT)
        assert rig.body() == TEXT

    run(test, **PARTS)


@pytest.mark.parametrize("turns", range(0, 120, 10))
def test_k13_a_source_that_is_cancelled_leaves_nothing(turns):
    async def test(rig):
        async def slow():
            for _ in range(1000):
                await asyncio.sleep(0)
                yield b"x" * 1000

        storing = asyncio.ensure_future(rig.store.store("k", slow()))
        for _ in range(turns):
            await asyncio.sleep(0)
        storing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await storing
        assert (rig.body(), rig.origin.open_uploads) == (None, 0)

    run(test, **PARTS)
