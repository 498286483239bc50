"""Dictionaries: small records get much smaller, come back exactly, and never as something else."""

import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.errors import StorageCodecError, StorageInvalidRequestError
from credstore.model import Dictionary
from credstore.pipeline.codec import decode, decoder, encode, encoder
from credstore.pipeline.training import train_dictionary
from tests.servers.records import records

RECORDS = records(700)
DICTIONARY = train_dictionary(RECORDS[:600], size=64 * 1024)
OTHER = train_dictionary(records(200, seed=99), size=16 * 1024)
MOST = 1 << 22


def test_records_like_those_it_learned_from_are_far_smaller_than_zstd_makes_them():
    rest = RECORDS[600:]
    alone = sum(len(encode("zstd", each)) for each in rest)
    assert alone >= 2.5 * sum(len(encode("zstd", each, DICTIONARY)) for each in rest)


@given(st.binary(max_size=5000) | st.sampled_from(RECORDS), st.integers(1, 700))
def test_what_goes_in_comes_out(data, size):
    packed = encode("zstd", data, DICTIONARY)
    assert decode("zstd", packed, max_size=MOST, dictionary=DICTIONARY) == data
    assert encode("zstd", data, DICTIONARY) == packed
    stream = encoder("zstd", DICTIONARY)
    pieces = [stream.feed(data[start : start + size]) for start in range(0, len(data), size)]
    pieces.append(stream.finish())
    back = decoder("zstd", DICTIONARY)
    assert b"".join(piece for part in pieces for piece in back.feed(part)) == data
    back.finish()


def test_the_zstd_library_reads_it():
    shared = zstandard.ZstdCompressionDict(DICTIONARY.data)
    packed = encode("zstd", RECORDS[0], DICTIONARY)
    assert zstandard.ZstdDecompressor(dict_data=shared).decompress(packed) == RECORDS[0]
    assert zstandard.get_frame_parameters(packed).dict_id == shared.dict_id() != 0


@pytest.mark.parametrize("wrong", [None, OTHER])
def test_without_its_dictionary_it_is_an_error(wrong):
    packed = encode("zstd", RECORDS[0], DICTIONARY)
    with pytest.raises(StorageCodecError):
        decode("zstd", packed, max_size=MOST, dictionary=wrong)
    with pytest.raises(StorageCodecError):
        list(decoder("zstd", wrong).feed(packed))


def test_cut_anywhere_or_followed_by_anything_it_is_an_error():
    packed = encode("zstd", RECORDS[0], DICTIONARY)
    for cut in range(len(packed)):
        with pytest.raises(StorageCodecError):
            decode("zstd", packed[:cut], max_size=MOST, dictionary=DICTIONARY)
    with pytest.raises(StorageCodecError):
        decode("zstd", packed + b"x", max_size=MOST, dictionary=DICTIONARY)


@given(st.data())
@settings(max_examples=300)
def test_one_flipped_bit_never_gives_other_bytes(data):
    packed = bytearray(encode("zstd", RECORDS[1], DICTIONARY))
    place = data.draw(st.integers(0, len(packed) * 8 - 1))
    packed[place // 8] ^= 1 << place % 8
    try:
        found = decode("zstd", bytes(packed), max_size=MOST, dictionary=DICTIONARY)
    except StorageCodecError:
        return
    assert found == RECORDS[1]


def test_a_bomb_is_stopped_at_the_limit():
    packed = encode("zstd", bytes(50_000_000), DICTIONARY)
    with pytest.raises(StorageCodecError):
        decode("zstd", packed, max_size=1000, dictionary=DICTIONARY)


def test_a_dictionary_is_named_for_its_content():
    assert Dictionary(DICTIONARY.data) == DICTIONARY
    assert len(DICTIONARY.name) == 64
    assert OTHER.name != DICTIONARY.name
    assert DICTIONARY.data[:9] not in repr(DICTIONARY).encode()


@pytest.mark.parametrize(
    "data", [b"", b"plain text", "text", None, bytearray(DICTIONARY.data), b"\x37\xa4\x30\xec" * (1 << 22)]
)
def test_what_is_no_dictionary_is_refused(data):
    with pytest.raises(StorageInvalidRequestError):
        Dictionary(data)


def test_a_dictionary_that_is_damaged_inside_is_told():
    broken = Dictionary(DICTIONARY.data[:4] + zlib.compress(DICTIONARY.data)[:2000])
    with pytest.raises(StorageCodecError, match=broken.name):
        encode("zstd", b"x" * 1000, broken)


@pytest.mark.parametrize(
    ("samples", "size"),
    [
        ([], 1000),
        ([b"x"] * 7, 1000),
        ([b""] * 100, 1000),
        ([b"x"] * 5000, 1000),
        ([b"12345678"] * 20, 1000),
        (RECORDS, 10),
    ],
)
def test_too_little_to_learn_from_is_told(samples, size):
    with pytest.raises(StorageInvalidRequestError):
        train_dictionary(samples, size=size)
