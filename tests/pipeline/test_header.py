"""The limits of an encrypted object's header, each at its edge and one beyond."""

import pytest

from credstore.encryption import DataKey
from credstore.errors import StorageDecryptionError, StorageInvalidRequestError
from credstore.pipeline.header import (
    CORE,
    MAX_CHUNKS,
    MAX_KEY_ID,
    MAX_WRAPPED,
    SLOT_TAG,
    TAG,
    Binding,
    header_size,
    make_core,
    parse_header,
    parse_wrapped,
    span_of,
    undecryptable,
    wrapped_text,
)

CHUNK = 4096
CORE_BYTES = make_core(
    Binding("store", "key", "ab" * 16),
    chunk_size=CHUNK,
    size_known=True,
    salt=bytes(32),
    commitment=bytes(32),
    masked_size=bytes(8),
)


def made(key_id: bytes, wrapped: bytes, announced: int | None = None) -> bytes:
    """A header whose slot holds this, as anybody can write one."""
    length = len(wrapped) if announced is None else announced
    slot = bytes((len(key_id),)) + key_id + length.to_bytes(2, "big") + wrapped
    return CORE_BYTES + slot + bytes(SLOT_TAG)


def refused(data: bytes) -> None:
    for complete in (False, True):
        with pytest.raises(StorageDecryptionError) as caught:
            parse_header(data, complete=complete)
        assert str(caught.value) == str(undecryptable())


def test_a_slot_at_its_limits_is_read():
    for key_id, wrapped in ((b"k", b"w"), (b"k" * MAX_KEY_ID, bytes(MAX_WRAPPED))):
        found = parse_header(made(key_id, wrapped), complete=True)
        assert (found.key_id, found.wrapped) == (key_id.decode(), wrapped)
        assert found.size == CORE + 1 + len(key_id) + 2 + len(wrapped) + SLOT_TAG


@pytest.mark.parametrize(
    ("key_id", "wrapped", "announced"),
    [
        (b"k", b"", None),
        (b"k", bytes(MAX_WRAPPED + 1), None),
        (b"k", b"", 0xFFFF),
        (b"", b"w", None),
        (b"a b", b"w", None),
        (b"a\n", b"w", None),
        (b"\xe9", b"w", None),
        (b"\0", b"w", None),
        (b"\x7f", b"w", None),
    ],
)
def test_a_slot_that_no_key_ring_made_is_refused(key_id, wrapped, announced):
    refused(made(key_id, wrapped, announced))


def test_what_does_not_begin_like_a_header_is_refused_from_its_first_byte():
    whole = made(b"k", b"w")
    for length in range(len(whole)):
        assert parse_header(whole[:length]) is None
    for length in (1, 8, CORE, CORE + 1, len(whole)):
        for at in range(min(length, 8)):
            other = bytearray(whole[:length])
            other[at] ^= 1
            for data in (bytes(other), other, memoryview(other)):
                refused(data)


@pytest.mark.parametrize("size", [0, MAX_WRAPPED + 1])
def test_a_wrapped_key_that_does_not_fit_is_written_nowhere(size):
    key = DataKey(bytes(32), key_id="k", wrapped=bytes(size))
    for write in (wrapped_text, header_size):
        with pytest.raises(StorageInvalidRequestError, match="wrapped key"):
            write(key)
    for fits in (1, MAX_WRAPPED):
        key = DataKey(bytes(32), key_id="k", wrapped=bytes(fits))
        assert parse_wrapped(wrapped_text(key)) == ("k", bytes(fits))


def test_an_object_has_as_many_chunks_as_its_counter_and_no_more():
    header = parse_header(made(b"k", b"w"))
    full = CHUNK + TAG
    largest = header.size + MAX_CHUNKS * full
    assert span_of(header, largest, 0, None).length == MAX_CHUNKS * CHUNK
    assert span_of(header, largest, MAX_CHUNKS * CHUNK - 1, None).first == MAX_CHUNKS - 1
    for size in (largest + TAG, largest + full, header.size, header.size - 1, header.size + TAG - 1):
        with pytest.raises(StorageDecryptionError):
            span_of(header, size, 0, None)
    # A last chunk needs its tag, however long it is.
    for rest in (1, TAG - 1):
        with pytest.raises(StorageDecryptionError):
            span_of(header, header.size + full + rest, 0, None)
    assert span_of(header, header.size + full + TAG, 0, None).length == CHUNK
