"""Encrypted objects: exact at every size and range, nothing of a changed one is ever given out."""

import json
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.encryption import DataKey
from credstore.errors import StorageDecryptionError, StorageInvalidRequestError
from credstore.pipeline import envelope, header
from credstore.pipeline.envelope import Opener, Sealer, check_key, open_at_once, seal_at_once
from credstore.pipeline.header import Binding, parse_header, parse_wrapped, span_of, wrapped_text
from tests.pipeline.mutants import changed

ROOT = Path(__file__).parents[2]
VECTORS = json.loads(Path(__file__).with_name("envelope_vectors.json").read_text())
MUTATIONS = int(os.environ.get("CREDSTORE_TEST_MUTATIONS", "5000"))
CHUNK = 4096
FULL = CHUNK + 16
KEY = DataKey(bytes(range(32)), key_id="local-1", wrapped=bytes(range(40)))
SALT = bytes(range(100, 132))
PLACE = Binding("store", "claims/a.json", "ab" * 16)
SIZES = sorted({0, 1, 15, 16, 17} | {n * CHUNK + d for n in (1, 2, 3) for d in (-17, -16, -1, 0, 1, 16, 17)})


def seal(data, key, binding, **options):
    """The encrypted object of `data` in one call."""
    return Sealer(key, binding, **options).seal(data)


def payload(size):
    return random.Random(size).randbytes(size)


def sealed(size=3 * CHUNK + 5, binding=PLACE, key=KEY, **options):
    return seal(
        payload(size), key, binding, **{"salt": SALT, "chunk_size": CHUNK, "plain_size": size, **options}
    )


AT_ONCE = "at once"


def opened(stored, key=KEY, binding=PLACE, step=None):
    """As a provider does it: the header, then the chunks as they come, or all `AT_ONCE`."""
    found = parse_header(stored, complete=True)
    if step == AT_ONCE:
        return open_at_once(stored, found, key, store_id=binding.store_id, name=binding.key)[0]
    if step is None:
        return Opener(found, key, binding).open(memoryview(stored)[found.size :])
    stream = Opener(found, key, binding)
    body = stored[found.size :]
    pieces = [stream.feed(body[start : start + step]) for start in range(0, len(body), step)]
    return b"".join([*pieces, stream.finish()])


def refused(stored, key=KEY, binding=PLACE, steps=(None, 1000, AT_ONCE)):
    """It does not decrypt, at once and as a stream, which gives nothing but authentic bytes before."""
    for step in steps:
        with pytest.raises(StorageDecryptionError) as caught:
            opened(stored, key, binding, step)
        assert caught.value.message == header.TEXT
        assert str(caught.value) == str(header.undecryptable())
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    return True


@pytest.mark.parametrize("size", SIZES)
def test_every_size_around_a_chunk_comes_back(size):
    stored = sealed(size)
    found = parse_header(stored)
    assert len(stored) == header.sealed_size(size, chunk_size=CHUNK, header_size=header.header_size(KEY))
    for step in (None, 1, FULL, AT_ONCE):
        assert opened(stored, step=step) == payload(size)
    assert found.chunk_size == CHUNK
    assert Opener(found, KEY, PLACE).plain_size == size


@pytest.mark.parametrize("codec", [None, "gzip"])
@pytest.mark.parametrize("plain_size", [None, 0, 5])
def test_what_is_sealed_at_once_is_what_a_sealer_makes(codec, plain_size):
    binding = PLACE._replace(codec=codec, dictionary=None if codec is None else "0" * 64)
    for size in SIZES:
        announced = size if plain_size and codec is None else plain_size
        options = {"salt": SALT, "chunk_size": CHUNK, "plain_size": announced}
        if codec is None and announced not in {None, size}:
            with pytest.raises(StorageInvalidRequestError, match="announced"):
                seal_at_once(payload(size), KEY, binding, **options)
            continue
        sealer = Sealer(KEY, binding, **options)
        stored = sealer.header + sealer.feed(payload(size)) + sealer.finish()
        assert seal_at_once(payload(size), KEY, binding, **options) == stored
        assert seal(payload(size), KEY, binding, **options) == stored


@given(
    size=st.one_of(st.integers(0, 5 * CHUNK), st.sampled_from(SIZES)),
    steps=st.lists(st.integers(0, 2 * FULL), min_size=1, max_size=6),
    known=st.booleans(),
)
@settings(max_examples=150)
def test_any_pieces_make_the_same_object_and_come_back(size, steps, known):
    plain = payload(size)
    sealer = Sealer(KEY, PLACE, salt=SALT, chunk_size=CHUNK, plain_size=size if known else None)

    def in_pieces(data, feed):
        position, turn, pieces = 0, 0, []
        while position < len(data):
            step = steps[turn % len(steps)] or 1
            pieces.append(feed(memoryview(data)[position : position + step]))
            position, turn = position + step, turn + 1
        return b"".join(pieces)

    stored = sealer.header + in_pieces(plain, sealer.feed) + sealer.finish()
    assert stored == sealed(size, plain_size=size if known else None)
    found = parse_header(stored)
    opener = Opener(found, KEY, PLACE)
    assert opener.plain_size == (size if known else None)
    assert in_pieces(stored[found.size :], opener.feed) + opener.finish() == plain


@given(st.data())
@settings(max_examples=200)
def test_any_range_comes_back_from_its_own_chunks(data):
    size = data.draw(st.one_of(st.integers(0, 5 * CHUNK), st.sampled_from(SIZES)))
    start = data.draw(st.one_of(st.integers(0, size + CHUNK), st.sampled_from([0, CHUNK, 2 * CHUNK, size])))
    end = data.draw(st.one_of(st.none(), st.integers(start + 1, start + 3 * CHUNK)))
    step = data.draw(st.integers(1, 3 * FULL))
    plain, stored = payload(size), sealed(size)
    found = parse_header(stored)
    span = span_of(found, len(stored), start, end)
    part = stored[span.stored_start : span.stored_end]
    assert len(part) <= len(plain[start:end]) + 2 * CHUNK + 16 * (2 + len(plain[start:end]) // CHUNK)
    stream = Opener(found, KEY, PLACE, span)
    pieces = [stream.feed(part[at : at + step]) for at in range(0, len(part), step)]
    assert b"".join([*pieces, stream.finish()]) == plain[start:end]
    assert span.length == len(plain[start:end])


def test_a_range_needs_whole_chunks_of_the_right_place():
    stored = sealed()
    found = parse_header(stored)
    span = span_of(found, len(stored), CHUNK + 1, 2 * CHUNK)
    assert (span.first, span.skip, span.to_end) == (1, 1, False)
    right = stored[span.stored_start : span.stored_end]
    before = stored[span.stored_start - FULL : span.stored_start]
    for part in (before, right[:-1], right + b"\0", b"", right[:-FULL], right + right):
        stream = Opener(found, KEY, PLACE, span)
        with pytest.raises(StorageDecryptionError):
            stream.feed(part) + stream.finish()


def test_a_range_past_the_end_proves_the_end():
    stored = sealed(2 * CHUNK)
    found = parse_header(stored)
    span = span_of(found, len(stored), 99 * CHUNK, None)
    assert (span.stored_start, span.stored_end) == (found.size + FULL, len(stored))
    stream = Opener(found, KEY, PLACE, span)
    assert stream.feed(stored[span.stored_start :]) + stream.finish() == b""
    cut = stored[:-FULL]
    span = span_of(found, len(cut), 99 * CHUNK, None)
    stream = Opener(found, KEY, PLACE, span)
    with pytest.raises(StorageDecryptionError):
        stream.feed(cut[span.stored_start :]) + stream.finish()


@pytest.mark.parametrize("size", [0, 15, FULL + 1, FULL + 15])
def test_no_range_of_an_impossible_size(size):
    found = parse_header(sealed())
    with pytest.raises(StorageDecryptionError):
        span_of(found, found.size + size, 0, None)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_independent_scripts_objects(vector):
    key = DataKey(
        bytes.fromhex(vector["data_key"]),
        key_id=vector["key_id"],
        wrapped=parse_header(bytes.fromhex(vector["stored"])).wrapped,
    )
    codec = None if vector["codec"] == "none" else vector["codec"]
    binding = Binding(
        vector["store_id"], vector["key"], vector["write_id"], codec, vector["dictionary"] or None
    )
    stored, plain = bytes.fromhex(vector["stored"]), bytes.fromhex(vector["payload"])
    made = seal(
        plain, key, binding,
        salt=bytes.fromhex(vector["salt"]), chunk_size=2 ** vector["exponent"], plain_size=vector["plain_size"],
    )  # fmt: skip
    assert made == stored
    assert made == seal_at_once(
        plain, key, binding,
        salt=bytes.fromhex(vector["salt"]), chunk_size=2 ** vector["exponent"], plain_size=vector["plain_size"],
    )  # fmt: skip
    found = parse_header(stored)
    assert (found.key_id, found.write_id, found.codec) == (vector["key_id"], vector["write_id"], codec)
    assert Opener(found, key, binding).plain_size == vector["plain_size"]
    assert opened(stored, key, binding) == plain
    if binding.dictionary is None:
        assert open_at_once(stored, found, key, store_id=binding.store_id, name=binding.key) == (
            plain,
            vector["plain_size"],
        )


def test_the_independent_script_makes_the_committed_vectors():
    script = ROOT / "docs" / "envelope_vectors.py"
    assert "credstore" not in {
        word for line in script.read_text().splitlines() if "import" in line for word in line.split()
    }
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == VECTORS


def test_the_independent_script_opens_ours(tmp_path):
    vector = dict(VECTORS[4])
    binding = Binding(vector["store_id"], "another/key", "cd" * 16)
    stored = seal(
        b"ours" * 3000,
        DataKey(
            bytes.fromhex(vector["data_key"]),
            key_id=vector["key_id"],
            wrapped=parse_header(bytes.fromhex(vector["stored"])).wrapped,
        ),
        binding, salt=SALT, chunk_size=CHUNK, plain_size=12000,
    )  # fmt: skip
    vector |= {
        "key": binding.key,
        "payload": (b"ours" * 3000).hex(),
        "plain_size": 12000,
        "stored": stored.hex(),
    }
    (tmp_path / "ours.json").write_text(json.dumps([vector]))
    script = str(ROOT / "docs" / "envelope_vectors.py")
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "ours.json")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 objects open\n"


# Attacks


def test_no_bit_of_the_header_may_change():
    stored = sealed(100)
    for bit in range(8 * parse_header(stored).size):
        changed = bytearray(stored)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(changed))


@pytest.mark.parametrize("size", [CHUNK, CHUNK + 3])
def test_no_bit_of_the_chunks_may_change(size):
    stored = sealed(size)
    start = parse_header(stored).size
    bits = [*range(8 * start, 8 * start + 64), *range(8 * (start + CHUNK), 8 * len(stored))]
    for bit in bits:
        changed = bytearray(stored)
        changed[bit // 8] ^= 1 << bit % 8
        assert refused(bytes(changed))


def test_chunks_may_not_be_swapped_dropped_or_repeated():
    stored = sealed(4 * CHUNK)  # All chunks of one length: nothing but the nonce tells them apart.
    start = parse_header(stored).size
    head, chunks = stored[:start], [stored[start + n * FULL : start + (n + 1) * FULL] for n in range(4)]
    for i in range(4):
        assert refused(head + b"".join(chunks[:i] + chunks[i + 1 :]))
        assert refused(head + b"".join(chunks[:i] + chunks[i : i + 1] + chunks[i:]))
        for j in range(i):
            swapped = list(chunks)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            assert refused(head + b"".join(swapped))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [0, 1, CHUNK, 2 * CHUNK + 7])
def test_an_object_may_not_be_cut_or_go_on(size, known):
    stored = sealed(size, plain_size=size if known else None)
    start = parse_header(stored).size
    cuts = {start + n * FULL + d for n in range(3) for d in (-17, -16, -1, 0, 1, 15, 16, 17)}
    for cut in sorted(cut for cut in {*cuts, *range(start + 18), len(stored) - 1} if cut < len(stored)):
        assert refused(stored[:cut])
    for tail in (b"\0", bytes(16), bytes(FULL), stored[start:], stored):
        assert refused(stored + tail)


def test_an_object_opens_nowhere_else():
    stored = sealed()
    for binding in (
        PLACE._replace(key="claims/b.json"),
        PLACE._replace(store_id="other"),
        PLACE._replace(store_id="storeclaims", key="/a.json"),
    ):
        assert refused(stored, binding=binding)
        assert refused(sealed(5), binding=binding)
    for binding in (  # Of what `open_at_once` is not told.
        PLACE._replace(write_id="cd" * 16),
        PLACE._replace(write_id="é"),
        PLACE._replace(codec="gzip"),
        PLACE._replace(dictionary="0" * 64),
    ):
        assert refused(stored, binding=binding, steps=(None, 1000))
    assert refused(sealed(5, PLACE._replace(dictionary="0" * 64)), steps=(AT_ONCE,))
    assert refused(sealed(5), DataKey(bytes(32), key_id="local-1", wrapped=KEY.wrapped))
    assert refused(stored, DataKey(bytes(32), key_id="local-1", wrapped=KEY.wrapped))
    assert opened(stored, binding=PLACE._replace(write_id=None)) == payload(3 * CHUNK + 5)


def test_envelopes_may_not_be_stripped_or_doubled():
    stored = sealed()
    start = parse_header(stored).size
    assert refused(stored[start:])
    assert refused(payload(500))
    assert refused(b"")
    assert refused(stored[:start] + stored)
    assert refused(stored + stored)
    other = sealed(key=DataKey(bytes(32), key_id="local-1", wrapped=KEY.wrapped))
    assert refused(other[:start] + stored[start:], DataKey(bytes(32), key_id="local-1", wrapped=KEY.wrapped))


def test_exactly_one_envelope_is_opened():
    inner = sealed(10)
    assert opened(seal(inner, KEY, PLACE, salt=SALT, chunk_size=CHUNK, plain_size=len(inner))) == inner


@pytest.mark.parametrize("offset", [8, 9])
def test_another_version_or_suite_is_refused_whatever_the_object_says(offset):
    for number in {*range(256)} - {1}:
        changed = bytearray(sealed(10))
        changed[offset] = number
        assert refused(bytes(changed))


def test_the_policy_decides_the_suite_even_with_a_key_at_hand():
    stored = sealed(10)
    with pytest.raises(StorageDecryptionError):
        parse_header(stored, suites=())
    changed = bytearray(stored)
    changed[9] = 2
    found = parse_header(bytes(changed), suites=(1, 2))
    with pytest.raises(StorageDecryptionError):
        Opener(found, KEY, PLACE)


def _times_x(value):
    """Multiply by x in the field of GCM (NIST SP 800-38D, 6.3)."""
    return (value >> 1) ^ (0xE1 << 120 if value & 1 else 0)


def _product(left, right):
    result = 0
    for bit in range(127, -1, -1):
        if left >> bit & 1:
            result ^= right
        right = _times_x(right)
    return result


def _power(value, exponent):
    result = 1 << 127
    while exponent:
        if exponent & 1:
            result = _product(result, value)
        value, exponent = _product(value, value), exponent >> 1
    return result


def _block(key, data):
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return int.from_bytes(Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(data), "big")


def _two_key_ciphertext(first, second, nonce, data):
    """One block of ciphertext and a tag that AES-GCM accepts under both keys ("invisible salamanders").

    Both tags are A*H^(n) + C1*H^3 + C2*H^2 + L*H + E: with C2 free, their being equal is linear in C2.
    """
    assert len(data) == 32
    blocks = [int.from_bytes(data[:16], "big"), int.from_bytes(data[16:], "big"), int.from_bytes(b"salamander 12345", "big")]  # fmt: skip
    lengths = (8 * 32 << 64) | 8 * 32
    sums, squares = 0, 0
    for key in (first, second):
        h = _block(key, bytes(16))
        for power, block in zip((5, 4, 3), blocks, strict=True):
            sums ^= _product(block, _power(h, power))
        sums ^= _product(lengths, h) ^ _block(key, nonce + b"\0\0\0\1")
        squares ^= _power(h, 2)
    last = _product(sums, _power(squares, 2**128 - 2))
    h = _block(first, bytes(16))
    tag = _block(first, nonce + b"\0\0\0\1") ^ _product(lengths, h)
    for power, block in zip((5, 4, 3, 2), [*blocks, last], strict=True):
        tag ^= _product(block, _power(h, power))
    return b"".join(number.to_bytes(16, "big") for number in (blocks[2], last, tag))


def test_a_ciphertext_valid_under_two_keys_opens_with_one_at_most(monkeypatch):
    other = DataKey(b"\x55" * 32, key_id="local-1", wrapped=KEY.wrapped)
    place = PLACE._replace(codec="gzip")
    first = sealed(32, place)
    found = parse_header(first)
    keys = [
        HKDF(SHA256(), 96, SALT, b"credstore envelope\1\1").derive(key.reveal())[:32] for key in (KEY, other)
    ]
    nonce, bound = envelope._nonce(0, last=True), place.associated_data(found.core)
    both = _two_key_ciphertext(*keys, nonce, bound)
    for key in keys:
        AESGCM(key).decrypt(nonce, both, bound)
    assert len(opened(first[: found.size] + both, binding=place)) == 32
    tag = envelope._derived(other, SALT, found.slot)[2]  # Whoever has both keys can make this, too.
    stored = found.core + found.slot + tag + both
    assert refused(stored, other, place)
    monkeypatch.setattr(envelope.hmac, "compare_digest", lambda *_: True)
    assert len(opened(stored, other, place)) == 32  # So nothing but the commitment stood in the way.


def test_changed_objects_are_never_accepted():
    """50,000 with CREDSTORE_TEST_MUTATIONS=50000."""
    dice = random.Random(20261121)
    originals = {size: sealed(size) for size in (0, 1, 700, CHUNK, CHUNK + 1, 3 * CHUNK)}
    others = [sealed(size, PLACE._replace(key="other")) for size in originals]
    texts = set()
    for _ in range(MUTATIONS):
        size, stored = dice.choice([*originals.items()])
        mutant = changed(stored, dice, others)
        given_out = b""
        with pytest.raises(StorageDecryptionError):
            opened(mutant, step=AT_ONCE)
        try:
            found = parse_header(mutant, complete=True)
            stream = Opener(found, KEY, PLACE)
            for start in range(found.size, len(mutant), 5000):
                given_out += stream.feed(mutant[start : start + 5000])
            given_out += stream.finish()
        except StorageDecryptionError as error:
            texts.add(str(error))
            assert payload(size).startswith(given_out)
        else:
            raise AssertionError(mutant.hex())
    assert texts == {str(header.undecryptable())}


# The header


def test_a_header_is_read_as_soon_as_it_is_there_and_no_later():
    stored = sealed()
    size = parse_header(stored).size
    assert all(parse_header(stored[:length]) is None for length in range(size))
    assert parse_header(stored[:size]).size == size
    assert parse_header(memoryview(stored)) == parse_header(bytearray(stored))


def test_the_largest_header_is_bounded():
    key = DataKey(bytes(32), key_id="k" * 255, wrapped=bytes(header.MAX_WRAPPED))
    stored = sealed(5, key=key)
    assert parse_header(stored).size == header.MAX_HEADER < 16 * 1024
    for length in range(header.MAX_HEADER, header.MAX_HEADER + 2):
        assert parse_header(stored[:length]) is not None
    changed = bytearray(stored)
    changed[header.CORE + 256 : header.CORE + 258] = b"\xff\xff"
    with pytest.raises(StorageDecryptionError):
        parse_header(changed)


@pytest.mark.parametrize("name", ["", "a b", "é", "a\n", "k" * 256])
def test_a_key_ids_form(name):
    key = DataKey(bytes(32), key_id=name, wrapped=b"x")
    with pytest.raises(StorageInvalidRequestError):
        sealed(5, key=key)
    with pytest.raises(StorageInvalidRequestError):
        wrapped_text(key)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_any_bytes_are_a_header_or_the_one_error(data):
    for text in (data, header.MAGIC + b"\1\1" + data, sealed(0)[: header.CORE] + data):
        try:
            found = parse_header(text, complete=True)
        except StorageDecryptionError:
            continue
        with pytest.raises(StorageDecryptionError):
            check_key(found, KEY)


def test_a_wrapped_key_in_metadata_goes_both_ways():
    assert parse_wrapped(wrapped_text(KEY)) == (KEY.key_id, KEY.wrapped)


@pytest.mark.parametrize(
    "text", ["", "a", "a ", " AAAA", "a b c", "a AAA", "a AA==x", "é AAAA", "a é", f"a {'A' * 9000}"]
)
def test_other_text_in_metadata_is_the_one_error(text):
    with pytest.raises(StorageDecryptionError, match="cannot be decrypted"):
        parse_wrapped(text)


def test_another_wrapped_key_opens_an_object_only_with_its_data_key():
    stored = sealed()
    rewrapped = DataKey(KEY.reveal(), key_id="local-2", wrapped=b"new")
    check_key(parse_header(stored), rewrapped)
    assert opened(stored, rewrapped) == payload(3 * CHUNK + 5)
    with pytest.raises(StorageDecryptionError):
        check_key(parse_header(stored), DataKey(bytes(32), key_id="local-1", wrapped=KEY.wrapped))


# Writing


def test_the_same_arguments_make_the_same_bytes_and_another_salt_others():
    assert sealed() == sealed()
    other = sealed(salt=bytes(32))
    start = parse_header(other).size
    assert all(a != b for a, b in zip(_blocks(sealed()[start:]), _blocks(other[start:]), strict=True))


def _blocks(data):
    return [data[start : start + 16] for start in range(0, len(data) - 15, 16)]


@pytest.mark.parametrize(
    "options",
    [{"salt": bytes(31)}, {"chunk_size": 5000}, {"chunk_size": 2048}, {"chunk_size": 2**23}, {"binding": PLACE._replace(write_id=None)}, {"binding": PLACE._replace(write_id="x")}],
)  # fmt: skip
def test_what_the_format_does_not_have_is_refused(options):
    with pytest.raises(StorageInvalidRequestError):
        sealed(5, **options)
    given = {"binding": PLACE, "salt": SALT, "chunk_size": CHUNK, "plain_size": 5, **options}
    with pytest.raises(StorageInvalidRequestError):
        seal_at_once(payload(5), KEY, **given)


@pytest.mark.parametrize("announced", [0, 4, 6])
def test_a_source_of_another_length_than_announced_makes_no_object(announced):
    with pytest.raises(StorageInvalidRequestError, match="announced") as caught:
        sealed(5, plain_size=announced)
    assert caught.value.code == "SOURCE_CHANGED"


def test_an_object_has_one_form():
    sealer = Sealer(KEY, PLACE, salt=SALT, chunk_size=CHUNK, plain_size=CHUNK)
    sealer._exact = None
    assert refused(sealer.seal(payload(CHUNK - 1)))
    # An empty last chunk after a full one: the same plain bytes in a second form.
    sealer = Sealer(KEY, PLACE, salt=SALT, chunk_size=CHUNK, plain_size=CHUNK)
    first = sealer._encrypt(payload(CHUNK), last=False)
    assert refused(sealer.header + first + sealer._encrypt(b"", last=True))


def test_more_chunks_than_the_counter_has_are_refused():
    sealer = Sealer(KEY, PLACE, salt=SALT, chunk_size=CHUNK, plain_size=None)
    sealer._index = 2**32 - 1
    sealer.feed(payload(CHUNK))
    with pytest.raises(StorageInvalidRequestError, match="chunk_size"):
        sealer.feed(payload(CHUNK + 1))
    opener = Opener(parse_header(sealer.header), KEY, PLACE)
    opener._index = 2**32
    bound = PLACE.associated_data(parse_header(sealer.header).core)
    beyond = opener._cipher.encrypt(envelope._nonce(2**32, last=False), bytes(CHUNK), bound)
    with pytest.raises(StorageDecryptionError):
        opener.feed(beyond + b"\0")


def forged(offset, byte, plain_size=5):
    """An object that a key's owner made consistently, but with another byte in its core."""
    slot = header.make_slot(KEY)
    cipher, _, tag, _ = envelope._derived(KEY, SALT, slot)
    core = bytearray(parse_header(sealed(5, plain_size=plain_size)).core)
    core[offset] ^= byte
    bound = PLACE.associated_data(bytes(core))
    chunk = cipher.encrypt(envelope._nonce(0, last=True), payload(5), bound)
    return bytes(core) + slot + tag + chunk


def test_a_consistent_object_of_another_format_is_refused():
    assert opened(forged(0, 0)) == payload(5)
    assert refused(forged(0, 1))  # Magic
    assert refused(forged(8, 3))  # Version
    assert refused(forged(9, 3))  # Suite
    for bit in (3, 4, 5, 6, 7):  # Flags; without bit 2 the size is said to be unknown, but is there.
        assert refused(forged(10, 1 << bit))
    for codec in (0b001, 0b010):  # Which whoever opens at once takes from the object, and then decodes with.
        assert refused(forged(10, codec), steps=(None, 1000))
    assert refused(forged(10, 0b011))
    assert refused(forged(10, 0b100))
    for exponent in (0, 11, 23, 64, 255):
        assert refused(forged(11, exponent ^ 12))
    assert refused(forged(95, 1, plain_size=None))


def test_the_chunk_after_a_wrong_one_is_not_given():
    stored = sealed()
    found = parse_header(stored)
    opener = Opener(found, KEY, PLACE)
    with pytest.raises(StorageDecryptionError):
        opener.feed(bytes(FULL + 1))
    opener._chunks.rest.clear()
    with pytest.raises(StorageDecryptionError):
        opener.feed(stored[found.size + FULL : found.size + 3 * FULL])


def test_after_a_failure_nothing_is_given_any_more():
    stored = sealed()
    found = parse_header(stored)
    opener = Opener(found, KEY, PLACE)
    with pytest.raises(StorageDecryptionError):
        opener.feed(bytes(2 * FULL))
    for again in (lambda: opener.feed(stored[found.size :]), opener.finish):
        with pytest.raises(StorageDecryptionError):
            again()


def test_memory_does_not_grow_with_the_object():
    sealer = Sealer(KEY, PLACE, salt=SALT, chunk_size=CHUNK, plain_size=None)
    opener = Opener(parse_header(sealer.header), KEY, PLACE)
    piece = payload(64 * 1024)
    opener.feed(sealer.feed(piece))
    tracemalloc.start()
    for _ in range(200):
        opener.feed(sealer.feed(piece))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * len(piece)


def test_nothing_shows_a_key():
    key = DataKey(b"canary key of thirty-two bytes!!", key_id="local-1", wrapped=b"w")
    sealer = Sealer(key, PLACE, salt=SALT, chunk_size=CHUNK, plain_size=None)
    opener = Opener(parse_header(sealer.header), key, PLACE)
    for thing in (key, sealer, opener):
        assert "canary" not in f"{thing!r}{thing}"
        with pytest.raises(TypeError):
            pickle.dumps(thing)
    with pytest.raises(StorageInvalidRequestError) as caught:
        DataKey(b"canary", key_id="a", wrapped=b"b")
    assert "canary" not in str(caught.value)
