"""Signed notes and cosignatures: the published vectors, other ways to write them, and what is refused."""

import asyncio
import base64
import builtins
import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.proofs.log import note as notes
from credstore.proofs.log.note import (
    COSIGNATURE,
    LARGEST_NOTE,
    MLDSA_COSIGNATURE,
    LocalNoteSigner,
    Note,
    NoteError,
    NoteKindError,
    NoteSignature,
    NoteSigner,
    VerifierKey,
    check_name,
    parse_note,
    parse_vkey,
    read_decimal,
    sign_line,
    verify_note,
)

GO_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
GO_TEXT = "This is an example message.\n"
GO_NOTE = (
    GO_TEXT + "\n— example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
ORIGIN = "log.example/credstore"
TEXT = f"{ORIGIN}\n8\nXcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=\n"
LOG = LocalNoteSigner(ORIGIN, bytes(range(32)))
WITNESS = LocalNoteSigner("witness.example/w1", bytes(range(0x20, 0x40)), COSIGNATURE)
PQ = LocalNoteSigner("witness.example/pq", bytes(range(0x20, 0x40)), MLDSA_COSIGNATURE)
TIME = 1679315147


def signed(*signers, text=TEXT, time=TIME):
    async def lines():
        return tuple([await sign_line(text, each, time) for each in signers])

    return Note(text, asyncio.run(lines()))


def test_the_note_of_the_go_library():
    note = parse_note(GO_NOTE.encode())
    assert note.text == GO_TEXT
    (found,) = verify_note(note, [parse_vkey(GO_KEY)])
    assert (found.key.name, found.time) == ("example.com/foo", None)
    assert note.encode() == GO_NOTE.encode()


def test_our_checkpoint():
    assert LOG.key.encode() == f"{ORIGIN}+757ef934+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    (line,) = signed(LOG).signatures
    assert line.encode() == (
        f"— {ORIGIN} "
        "dX75NHaBJQoI8D9VE0LZZFo6JFxIBEOnkjgEUQLikDFjZCJH07rmFClbplhhbWlzjHFAdzR8bhgR3Ng6KuPaQBAU2wI=\n"
    )


def test_our_cosignature():
    assert WITNESS.key.encode() == "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"
    note = signed(WITNESS)
    assert note.signatures[0].encode() == (
        "— witness.example/w1 IDJKvgAAAABkGFDLl2KTJoRenMFljSaL9zujKVpVhiUmhY69/Ct/o7V3Gud5LM3Ezh2sEpiDExx2"
        "ejIuM2NSaAiySoU9UU5eLtrgBw==\n"
    )
    (found,) = verify_note(note, [WITNESS.key])
    assert found.time == TIME


def test_an_ml_dsa_cosignature_binds_name_and_time_and_tree_but_no_extension():
    note = signed(PQ)
    (found,) = verify_note(note, [PQ.key])
    assert found.time == TIME
    assert len(note.signatures[0].raw) == 8 + 2420
    extended = Note(TEXT + "more\n", note.signatures)
    assert verify_note(extended, [PQ.key])
    renamed = VerifierKey("witness.example/other", MLDSA_COSIGNATURE, PQ.key.public)
    for key, text, raw in [
        (renamed, TEXT, note.signatures[0].raw),
        (PQ.key, TEXT.replace("\n8\n", "\n9\n"), note.signatures[0].raw),
        (PQ.key, TEXT, bytes(8) + note.signatures[0].raw[8:]),
    ]:
        line = NoteSignature(key.name, key.key_id, raw)
        with pytest.raises(NoteError, match="does not fit"):
            verify_note(Note(text, (line,)), [key])


def test_a_vkey_is_split_at_its_first_two_plus_signs():
    seed = next(
        bytes([number]) * 32
        for number in range(256)
        if "+" in LocalNoteSigner("a", bytes([number]) * 32).key.encode().split("+", 2)[2]
    )
    key = LocalNoteSigner("a", seed).key
    assert parse_vkey(key.encode()) == key


@pytest.mark.parametrize(
    ("vkey", "why"),
    [
        ("", "not a vkey"),
        ("a+b", "not a vkey"),
        ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "a name has"),
        (GO_KEY.replace("530d903a", "530d903b"), "id of the vkey"),
        (GO_KEY.replace("530d903a", "530D903A"), "id of the vkey"),
        (GO_KEY.replace("foo", "fo o"), "a name has"),
        (GO_KEY + "=", "base64"),
        (GO_KEY[:-4], "32 bytes"),
        ("a+00000000+", "without a key"),
        ("a+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(), "kind 2"),
    ],
)
def test_what_is_not_a_vkey(vkey, why):
    with pytest.raises(NoteError, match=why):
        parse_vkey(vkey)


def test_the_text_ends_at_the_last_empty_line():
    text = "one\n\ntwo\n\n\n"
    note = signed(LOG, text=text)
    assert parse_note(note.encode()).text == text


GOOD = signed(LOG).encode()
LINE = signed(LOG).signatures[0].encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "without signatures"),
        (TEXT.encode(), "without signatures"),
        (GOOD[:-1], "ends within a line"),
        (GOOD.replace(b"\n", b"\r\n"), "control characters"),
        (GOOD.replace("—".encode(), b"-"), "line 5: a signature starts"),
        (GOOD.replace("— ".encode(), "—".encode()), "line 5: a signature starts"),
        (GOOD.replace(b"\xe2\x80\x94", b"\x97"), "UTF-8"),
        (GOOD + b"\n", "ends within a line|without signatures|has 1 to 64"),
        (GOOD + b"rest\n", "line 6"),
        (GOOD[:-2] + b"!\n", "line 5: not base64"),
        (GOOD + "— a AAAA\n".encode(), "line 6: not base64|line 6: no signature"),
        (GOOD + "— a AAAAAA==\n".encode(), "line 6: no signature"),
        (GOOD + "— a AAAAAB==\n".encode(), "line 6: not the one"),
        (GOOD + "— a+b AAAAAAA=\n".encode(), "line 6: a name"),
        (GOOD + "— a\u00a0b AAAAAAA=\n".encode(), "line 6: a name"),
        (GOOD + LINE.encode() * 64, "1 to 64 signatures"),
        (b"x" * (LARGEST_NOTE + 1), "more than 262144 bytes"),
        (b"line\n" * 10_000 + b"\n" + LINE.encode(), "more than 64 lines"),
    ],
)
def test_what_is_not_a_note(data, why):
    with pytest.raises(NoteError, match=why):
        parse_note(data)


def test_a_note_may_have_64_signatures():
    others = [LocalNoteSigner(f"other.example/{number}", bytes([number]) * 32) for number in range(63)]
    note = parse_note(signed(LOG, *others).encode())
    assert len(verify_note(note, [LOG.key])) == 1


def test_unknown_signatures_are_ignored_and_known_ones_have_to_fit():
    stranger = LocalNoteSigner("other.example", bytes(32))
    namesake = LocalNoteSigner(ORIGIN, bytes(32))
    note = signed(stranger, namesake, LOG)
    (found,) = verify_note(note, [LOG.key])
    assert found.key == LOG.key
    bad = NoteSignature(LOG.key.name, LOG.key.key_id, bytes(64))
    for lines in ((bad, *note.signatures), (*note.signatures, bad)):
        with pytest.raises(NoteError, match="does not fit"):
            verify_note(Note(note.text, lines), [LOG.key])
    with pytest.raises(NoteError, match="no known key"):
        verify_note(signed(stranger), [LOG.key])
    with pytest.raises(NoteError, match="no known key"):
        verify_note(note, [])


def test_a_key_that_signed_twice_counts_once():
    first, second = signed(WITNESS), signed(WITNESS, time=TIME + 1)
    note = first.extended([*second.signatures, *first.signatures])
    assert len(note.signatures) == 2
    (found,) = verify_note(note, [WITNESS.key])
    assert found.time == TIME


def test_a_plain_signature_is_no_cosignature_and_vice_versa():
    as_log = VerifierKey("a", 1, WITNESS.key.public)
    as_witness = VerifierKey("a", COSIGNATURE, WITNESS.key.public)
    raw = signed(WITNESS).signatures[0].raw
    for key in (as_log, as_witness):
        moved = NoteSignature("a", key.key_id, raw[8:] if key is as_log else bytes(8) + raw[8:])
        with pytest.raises(NoteError, match="does not fit"):
            verify_note(Note(TEXT, (moved,)), [key])


def test_times_are_below_2_to_the_63():
    raw = (2**63).to_bytes(8, "big") + bytes(64)
    line = NoteSignature(WITNESS.key.name, WITNESS.key.key_id, raw)
    with pytest.raises(NoteError, match="beyond"):
        verify_note(Note(TEXT, (line,)), [WITNESS.key])


@pytest.mark.parametrize("raw", [b"1", bytes(63), bytes(73)])
def test_signatures_have_one_length(raw):
    line = NoteSignature(WITNESS.key.name, WITNESS.key.key_id, raw)
    with pytest.raises(NoteError, match="wrong length"):
        verify_note(Note(TEXT, (line,)), [WITNESS.key])


def test_only_checkpoints_get_ml_dsa_cosignatures():
    for text in ("a\n", "a\nx\nAAAA\n", "\n8\nAAAA\n", "é" * 200 + "\n8\nAAAA\n", "a\n8\n!\n"):
        with pytest.raises(NoteError):
            asyncio.run(sign_line(text, PQ, TIME))


def test_a_signer_that_returns_something_else_is_found_at_once():
    class Broken(NoteSigner):
        key = LOG.key

        async def sign(self, message):
            return bytes(64)

    with pytest.raises(NoteError, match="does not fit"):
        asyncio.run(sign_line(TEXT, Broken()))
    with pytest.raises(NoteError, match="needs a time"):
        asyncio.run(sign_line(TEXT, WITNESS))


def test_without_ml_dsa_its_lines_are_carried_and_do_not_count(monkeypatch):
    note = signed(PQ, WITNESS)
    real = builtins.__import__

    def importing(name, *rest, **more):
        if rest and rest[2:] and rest[2] and "mldsa" in rest[2]:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", importing)
    assert not notes.has_mldsa()
    (found,) = verify_note(note, [PQ.key, WITNESS.key])
    assert found.key == WITNESS.key
    assert len(parse_note(note.encode()).signatures) == 2
    with pytest.raises(NoteKindError, match="newer version"):
        LocalNoteSigner("a", bytes(32), MLDSA_COSIGNATURE)


def test_a_private_key_stays_where_it_is():
    for attempt in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match="never pickled"):
            attempt(LOG)
    assert repr(LOG) == f"LocalNoteSigner('{ORIGIN}', kind=1)"
    with pytest.raises(NoteError, match="32 bytes"):
        LocalNoteSigner("a", b"short")


@pytest.mark.parametrize("text", ["", "-1", "+1", "01", "00", " 1", "1 ", "1_0", "²", str(2**63), "9" * 99])
def test_numbers_have_one_form(text):
    with pytest.raises(NoteError):
        read_decimal(text)


@given(st.integers(0, 2**63 - 1))
def test_numbers_come_back(number):
    assert read_decimal(str(number)) == number


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_refused(data):
    try:
        note = parse_note(data)
    except NoteError:
        return
    assert note.encode() == data


@given(st.text(max_size=20))
def test_names_have_no_spaces(name):
    try:
        check_name(name)
    except NoteError:
        return
    assert name
    assert not any(each.isspace() or each == "+" for each in name)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_changed_byte_verifies(at, change):
    data = bytearray(GOOD)
    data[at] ^= change
    with pytest.raises(NoteError):
        verify_note(parse_note(bytes(data)), [LOG.key])
