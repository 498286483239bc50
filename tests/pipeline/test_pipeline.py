"""The marks beside stored bytes, and how they are read: ours, the original's, and strangers'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.errors import StorageCodecError, StorageIntegrityError
from credstore.pipeline import codec as codecs
from credstore.pipeline.pipeline import Decoding, Recipe, decode, marks, recipe

PLAIN = b"proof " * 100


@given(
    codec=st.sampled_from([None, "gzip", "zstd"]),
    content_type=st.text(min_size=1, max_size=30),
    size=st.none() | st.integers(0, 10**15 - 1),
)
def test_marks_are_read_back(codec, content_type, size):
    marked = marks(codec, content_type, size)
    found = recipe(
        marked.system,
        content_type=marked.content_type,
        content_encoding=marked.content_encoding,
        stored_size=77,
        foreign=False,
    )
    assert found.codec == codec
    assert found.content_type == content_type
    assert found.plain_size == (77 if codec is None else size)
    assert found.opaque is (codec == "zstd")


def read(system, *, encoding=None, foreign=True):
    return recipe(
        system, content_type="text/plain", content_encoding=encoding, stored_size=9, foreign=foreign
    )


def test_the_originals_objects_are_known_by_their_metadata_alone():
    found = read({"x-compression": "gzip", "x-original-size": "600"})
    assert found == Recipe("gzip", 600, "text/plain", opaque=False)
    assert read({"x-compression": "none"}).codec is None


def test_only_a_strangers_content_encoding_counts():
    assert read({}, encoding="gzip").codec == "gzip"
    assert read({}, encoding="gzip", foreign=False).codec is None
    assert read({}, encoding="br").codec is None


def test_an_unknown_codec_is_an_error_that_says_what_to_do():
    with pytest.raises(StorageCodecError, match="decode=False") as caught:
        read({"x-compression": "brotli"})
    assert caught.value.code == "UNKNOWN_CODEC"


@pytest.mark.parametrize("text", ["", "-1", "1e3", "٣", "1_0", " 1", "9" * 16])
def test_a_size_that_is_no_number_is_no_size(text):
    assert read({"x-compression": "gzip", "x-original-size": text}).plain_size is None


def test_a_size_that_is_not_true_is_refused():
    stored = codecs.encode("gzip", PLAIN)
    for size in (0, 1, len(PLAIN) - 1):
        with pytest.raises(StorageCodecError):
            decode(Recipe("gzip", size, None, opaque=False), stored, max_size=2**20)
    with pytest.raises(StorageIntegrityError):
        decode(Recipe("gzip", len(PLAIN) + 1, None, opaque=False), stored, max_size=2**20)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_stream_is_held_to_its_size_and_limit(codec):
    stored = codecs.encode(codec, PLAIN)

    def run(size, limit):
        stream = Decoding(codec, size, limit)
        plain = b"".join(stream.feed(stored))
        stream.finish()
        return plain

    assert run(len(PLAIN), None) == run(None, None) == run(None, len(PLAIN)) == PLAIN
    for size, limit in ((len(PLAIN) - 1, None), (None, 10), (len(PLAIN), 10)):
        with pytest.raises(StorageCodecError):
            run(size, limit)
    with pytest.raises(StorageIntegrityError):
        run(len(PLAIN) + 1, None)
