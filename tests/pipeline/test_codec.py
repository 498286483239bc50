"""gzip and zstd: exact at the end, bounded in size, the same bytes every time."""

import gzip
import json
import os
import random
import subprocess
import sys
import threading
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.errors import StorageCodecError
from credstore.pipeline import codec as codecs

CODECS = ["gzip", "zstd"]
PLAIN = json.dumps({"claims": [{"id": number, "text": "é" * (number % 7)} for number in range(60)]}).encode()
LIMIT = 10 * len(PLAIN)


def decode_in_pieces(codec, data, size):
    stream = codecs.decoder(codec)
    plain = b"".join(
        piece for start in range(0, len(data), size) for piece in stream.feed(data[start : start + size])
    )
    stream.finish()
    return plain


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(max_size=5000), size=st.integers(1, 700))
@settings(max_examples=60, deadline=None)
def test_what_goes_in_comes_out(codec, data, size):
    encoded = codecs.encode(codec, data)
    assert codecs.decode(codec, encoded, max_size=len(data)) == data
    assert decode_in_pieces(codec, encoded, size) == data
    stream = codecs.encoder(codec)
    pieces = [stream.feed(data[start : start + size]) for start in range(0, len(data), size)]
    streamed = b"".join([*pieces, stream.finish()])
    assert codecs.decode(codec, streamed, max_size=len(data)) == data


def test_foreign_tools_read_it():
    assert gzip.decompress(codecs.encode("gzip", PLAIN)) == PLAIN
    assert zstandard.ZstdDecompressor().decompress(codecs.encode("zstd", PLAIN)) == PLAIN


def test_without_isal_the_standard_library_makes_gzip():
    code = (
        "import sys, gzip; sys.modules['isal'] = None\n"
        "from credstore.pipeline import codec\n"
        "assert codec.GZIP_LEVEL == 6\n"
        "stream = codec.encoder('gzip')\n"
        "streamed = stream.feed(b'proof' * 99) + stream.finish()\n"
        "for data in (codec.encode('gzip', b'proof' * 99), streamed):\n"
        "    assert gzip.decompress(data) == codec.decode('gzip', data, max_size=999) == b'proof' * 99\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("codec", CODECS)
def test_the_same_bytes_give_the_same_bytes(codec):
    one = codecs.encode(codec, PLAIN)
    codecs.encode(codec, os.urandom(50_000))
    assert codecs.encode(codec, PLAIN) == one


@pytest.mark.parametrize("codec", CODECS)
def test_cut_at_every_byte_it_is_refused(codec):
    for encoded in (codecs.encode(codec, PLAIN), _streamed(codec)):
        for end in range(len(encoded)):
            with pytest.raises(StorageCodecError):
                codecs.decode(codec, encoded[:end], max_size=LIMIT)
            with pytest.raises(StorageCodecError):
                decode_in_pieces(codec, encoded[:end], 64)


def _streamed(codec):
    """Encoded without a declared size."""
    stream = codecs.encoder(codec)
    return stream.feed(PLAIN) + stream.finish()


@pytest.mark.parametrize("codec", CODECS)
def test_one_flipped_bit_never_gives_other_bytes(codec):
    encoded = codecs.encode(codec, PLAIN)
    for position in range(len(encoded)):
        damaged = bytearray(encoded)
        damaged[position] ^= 1 << (position % 8)
        for decode in (
            lambda data: codecs.decode(codec, data, max_size=LIMIT),
            lambda data: decode_in_pieces(codec, data, 100),
        ):
            try:
                plain = decode(bytes(damaged))
            except StorageCodecError:
                continue
            assert plain == PLAIN  # A bit of the header that means nothing, such as gzip's time.


@pytest.mark.parametrize("codec", CODECS)
def test_nothing_may_follow(codec):
    encoded = codecs.encode(codec, PLAIN)
    for more in (b"\0", b"garbage", encoded):
        with pytest.raises(StorageCodecError):
            codecs.decode(codec, encoded + more, max_size=LIMIT)
        with pytest.raises(StorageCodecError):
            decode_in_pieces(codec, encoded + more, 64)
        stream = codecs.decoder(codec)
        list(stream.feed(encoded))
        with pytest.raises(StorageCodecError):
            list(stream.feed(more))


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_of_another_codec_is_refused(codec):
    other = codecs.encode("zstd" if codec == "gzip" else "gzip", PLAIN)
    for data in (other, PLAIN, b"", zlib.compress(PLAIN), zlib.compress(PLAIN, wbits=-15)):
        with pytest.raises(StorageCodecError):
            codecs.decode(codec, data, max_size=LIMIT)


def test_a_frame_that_needs_a_dictionary_is_refused():
    records = [
        json.dumps({"id": number, "kind": "proof", "text": "x" * (number % 9)}).encode()
        for number in range(2000)
    ]
    dictionary = zstandard.train_dictionary(4096, records)
    encoded = zstandard.ZstdCompressor(dict_data=dictionary).compress(PLAIN)
    with pytest.raises(StorageCodecError):
        codecs.decode("zstd", encoded, max_size=LIMIT)


@pytest.mark.parametrize("codec", CODECS)
def test_a_bomb_is_stopped_at_the_limit(codec):
    size = 256 * 2**20
    stream = (
        zlib.compressobj(9, zlib.DEFLATED, 31)
        if codec == "gzip"
        else zstandard.ZstdCompressor().compressobj()
    )
    zeros = bytes(2**20)
    bomb = b"".join([stream.compress(zeros) for _ in range(size // len(zeros))] + [stream.flush()])
    assert len(bomb) < size / 500
    tracemalloc.start()
    with pytest.raises(StorageCodecError) as caught:
        codecs.decode(codec, bomb, max_size=2**20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.code == "TOO_LARGE"
    assert peak < 40 * 2**20


def test_a_declared_size_is_not_trusted():
    encoded = codecs.encode("zstd", PLAIN)
    with pytest.raises(StorageCodecError) as caught:
        codecs.decode("zstd", encoded, max_size=len(PLAIN) - 1)
    assert caught.value.code == "TOO_LARGE"
    huge = zstandard.ZstdCompressor(write_content_size=True).compressobj(size=2**40)
    lying = huge.compress(b"x" * 10) + huge.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    for limit in (2**20, 2**50):
        with pytest.raises(StorageCodecError):
            codecs.decode("zstd", lying, max_size=limit)


def test_a_window_beyond_the_recommended_is_refused():
    settings_ = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=settings_).compressobj()
    encoded = stream.compress(random.Random(7).randbytes(9 * 2**20)) + stream.flush()
    with pytest.raises(StorageCodecError):
        decode_in_pieces("zstd", encoded, 2**16)


@pytest.mark.parametrize("codec", CODECS)
def test_pieces_are_small(codec):
    encoded = codecs.encode(codec, bytes(64 * 2**20))
    stream = codecs.decoder(codec)
    largest = max(map(len, stream.feed(encoded)))
    stream.finish()
    assert largest <= 32 * 2**20


def test_threads_share_the_free_contexts_safely():
    failures = []

    def work(seed):
        source = random.Random(seed)
        for _ in range(100):
            data = source.randbytes(source.randrange(3000))
            if codecs.decode("zstd", codecs.encode("zstd", data), max_size=3000) != data:
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
