"""Checkpoints, locks, policies, entries and proof files: what each says, and what is refused."""

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.errors import StorageConfigurationError
from credstore.proofs import CheckpointError, LogEntryError, LogInclusionError, ProofError, WitnessQuorumError
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.format.status import encode_notice, make_notice
from credstore.proofs.format.trust import TrustStore
from credstore.proofs.format.trust_publication import encode_trust_statement
from credstore.proofs.format.verify import verify_signed
from credstore.proofs.log.checkpoint import (
    Checkpoint,
    NamedSigner,
    open_checkpoint,
    parse_checkpoint,
    read_key,
    sign_text,
)
from credstore.proofs.log.entry import LogEntry, StatementAdmission, parse_entry
from credstore.proofs.log.lock import HEAD, Lock, open_lock, staging_name
from credstore.proofs.log.merkle import EMPTY_ROOT, hash_leaf, inclusion_ranges, root
from credstore.proofs.log.note import (
    COSIGNATURE,
    MLDSA_COSIGNATURE,
    LocalNoteSigner,
    Note,
    NoteSignature,
    VerifierKey,
)
from credstore.proofs.log.policy import parse_log_policy, sole_policy
from credstore.proofs.log.proof_file import encode_log_proof, parse_log_proof, verify_log_proof
from tests.proofs import material
from tests.proofs.log.test_note import LOG, ORIGIN, PQ, TEXT, TIME, WITNESS

STATE = parse_checkpoint(TEXT)


def sign(*signers, text=TEXT, time=TIME):
    return asyncio.run(sign_text(text, signers, time)).encode()


def test_the_text_of_a_checkpoint():
    assert STATE.text == TEXT
    assert (STATE.origin, STATE.size) == (ORIGIN, 8)
    extended = parse_checkpoint(TEXT + "more\nlines\n")
    assert extended.extensions == ("more", "lines")
    assert extended.text == TEXT + "more\nlines\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "three lines"),
        (f"{ORIGIN}\n8\n", "three lines"),
        (TEXT.removesuffix("\n"), "three lines"),
        (TEXT + "\n", "none of them empty"),
        ("\n8\n" + TEXT.split("\n")[2] + "\n", "none of them empty"),
        (TEXT.replace("\n8\n", "\n08\n"), "line 2"),
        (TEXT.replace("\n8\n", "\n-8\n"), "line 2"),
        (TEXT.replace("\n8\n", f"\n{2**64}\n"), "line 2"),
        (TEXT.replace("=\n", "\n"), "line 3"),
        (f"{ORIGIN}\n8\nAAAA\n", "line 3: the root has 3 bytes"),
        (TEXT.replace("\n8\n", "\n0\n"), "line 3: not the root of an empty log"),
        (f"{HEAD}\norigin {ORIGIN}\nsize 8\n", "line 2"),
    ],
)
def test_what_is_not_a_checkpoint(text, why):
    with pytest.raises(CheckpointError, match=why):
        parse_checkpoint(text)


def test_a_checkpoint_counts_for_the_origin_that_signed_it():
    data = sign(LOG)
    opened = open_checkpoint(data, [LOG.key])
    assert (opened.checkpoint, opened.data) == (STATE, data)
    other = LocalNoteSigner("other.example", bytes(32))
    with pytest.raises(CheckpointError, match="which has not signed it"):
        open_checkpoint(sign(other), [LOG.key, other.key])
    with pytest.raises(CheckpointError, match="no known key") as caught:
        open_checkpoint(data, [other.key], what="checkpoint")
    assert caught.value.key == "checkpoint"


def test_a_lock_is_no_checkpoint_and_a_checkpoint_is_no_lock():
    lock = Lock(ORIGIN, 8, STATE.root, (3, bytes(32)), staging_name(8, STATE.root))
    data = sign(LOG, text=lock.text)
    assert open_lock(data, LOG.key) == lock
    with pytest.raises(CheckpointError):
        open_checkpoint(data, [LOG.key])
    with pytest.raises(CheckpointError, match="lock"):
        open_lock(sign(LOG), LOG.key)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("v1", "v2"),
        lambda text: text.replace("size 8", "size 08"),
        lambda text: text.replace("prev 3", "prev 9"),
        lambda text: text.replace("staging/8-", "staging/9-"),
        lambda text: text + "more\n",
        lambda text: text.replace(f"origin {ORIGIN}", "origin other.example"),
        lambda text: text.replace("root ", "root AAAA"),
    ],
)
def test_what_is_not_a_lock(change):
    lock = Lock(ORIGIN, 8, STATE.root, (3, bytes(32)), staging_name(8, STATE.root))
    with pytest.raises(CheckpointError, match="lock"):
        open_lock(sign(LOG, text=change(lock.text)), LOG.key)


def test_a_signer_of_proofs_can_be_that_of_a_log():
    signer = NamedSigner(ORIGIN, material.SIGNER)
    assert signer.key == LOG.key
    assert sign(signer) == sign(LOG)
    with pytest.raises(StorageConfigurationError, match="Ed25519"):
        NamedSigner(ORIGIN, material.P256)
    with pytest.raises(StorageConfigurationError, match="Ed25519"):
        NamedSigner(ORIGIN, material.SIGNER, MLDSA_COSIGNATURE)
    with pytest.raises(StorageConfigurationError, match="not a name"):
        NamedSigner("a b", material.SIGNER)


def test_keys_of_small_order_are_refused():
    weak = VerifierKey("a", COSIGNATURE, b"\1" + bytes(31))
    with pytest.raises(StorageConfigurationError, match="must not be used"):
        read_key(weak.encode())


# Policies.

KEYS = {
    name: LocalNoteSigner(f"{name}.example", name.encode() * 16, COSIGNATURE)
    for name in ("x1", "x2", "x3", "y1", "y2")
}
POLICY = "\n".join(
    [
        "# Two organisations.",
        f"log {LOG.key.encode()} https://log.example/",
        *(f"\twitness  {name} {signer.key.encode()}" for name, signer in KEYS.items()),
        "",
        "group X 2 x1 x2 x3",
        "group Y any y1 y2",
        "group both all X Y",
        "quorum both",
    ]
).encode()


def cosigned(**times):
    async def note():
        found = await sign_text(TEXT, [LOG], TIME)
        for name, time in times.items():
            found = found.extended((await sign_text(TEXT, [KEYS[name]], time)).signatures)
        return found.encode()

    return asyncio.run(note())


@pytest.mark.parametrize(
    ("times", "earliest"),
    [
        ({"x1": 100, "x2": 200, "y1": 50}, 200),
        ({"x1": 100, "x2": 200, "x3": 300, "y1": 50}, 200),
        ({"x1": 100, "x2": 200, "y1": 500, "y2": 400}, 400),
        ({"x1": 300, "x2": 300, "x3": 100, "y2": 1}, 300),
    ],
)
def test_the_time_of_a_quorum_is_the_earliest_at_which_it_was_met(times, earliest):
    found = parse_log_policy(POLICY).verify(cosigned(**times))
    assert found.time == datetime.fromtimestamp(earliest, UTC)
    assert found.witnesses == {name: datetime.fromtimestamp(time, UTC) for name, time in times.items()}
    assert found.signed.checkpoint == STATE


@pytest.mark.parametrize("times", [{}, {"x1": 1, "y1": 1}, {"x1": 1, "x2": 1, "x3": 1}, {"y1": 1, "y2": 1}])
def test_too_few_witnesses(times):
    with pytest.raises(WitnessQuorumError, match="'both' is not met for size 8") as caught:
        parse_log_policy(POLICY).verify(cosigned(**times))
    assert not caught.value.retryable


def test_a_cosignature_of_a_known_witness_has_to_fit():
    data = cosigned(x1=100, x2=200, y1=50)
    bad = NoteSignature(KEYS["y2"].key.name, KEYS["y2"].key.key_id, bytes(72)).encode().encode()
    with pytest.raises(CheckpointError, match="does not fit"):
        parse_log_policy(POLICY).verify(data + bad)
    stranger = LocalNoteSigner("stranger.example", bytes(32), COSIGNATURE)
    with_stranger = data + sign(LOG, stranger).split(b"\n\n")[1].split(b"\n")[1] + b"\n"
    assert parse_log_policy(POLICY).verify(with_stranger).time is not None


def test_an_ml_dsa_witness_counts_and_one_without_time_has_none():
    text = f"log {LOG.key.encode()}\nwitness w {PQ.key.encode()}\nquorum w\n"
    policy = parse_log_policy(text.encode())
    assert policy.verify(sign(LOG, PQ)).time == datetime.fromtimestamp(TIME, UTC)
    assert policy.verify(sign(LOG, PQ, time=0)).time is None
    assert policy.is_met(["w"])
    assert not policy.is_met([])


def test_no_quorum_needs_no_witness():
    policy = sole_policy(LOG.key.encode())
    assert policy.verify(sign(LOG)).time is None
    assert policy.is_met([])
    with pytest.raises(StorageConfigurationError):
        sole_policy()
    with pytest.raises(StorageConfigurationError, match="kind 4"):
        sole_policy(WITNESS.key.encode())


W1 = f"witness a {WITNESS.key.encode()}"
TWIN = VerifierKey("twin.example", COSIGNATURE, WITNESS.key.public).encode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "has none"),
        ("quorum none\nquorum none", "line 2.*second quorum"),
        ("quorum", "line 1"),
        ("quorum a", "line 1.*no earlier line"),
        (f"quorum a\n{W1}", "line 1.*no earlier line"),
        (f"{W1}\n{W1}", "line 2.*taken"),
        (f"{W1}\nwitness b {TWIN}", "line 2.*earlier witness"),
        (f"witness none {TWIN}", "line 1.*taken"),
        (f"witness a {LOG.key.encode()}", "line 1.*kind 1"),
        (f"log {WITNESS.key.encode()}", "line 1.*kind 4"),
        (
            f"log {LOG.key.encode()}\nlog {VerifierKey('other', 1, LOG.key.public).encode()}",
            "line 2.*earlier log",
        ),
        ("log a+b+c", "line 1.*vkey"),
        ("log", "line 1"),
        ("witness a", "line 1"),
        (f"{W1}\ngroup a any a", "line 2.*taken"),
        (f"{W1}\ngroup g any a a", "line 2.*in a group already"),
        (f"{W1}\ngroup g any a\ngroup h any a", "line 3.*in a group already"),
        (f"{W1}\ngroup g any b", "line 2.*no earlier line"),
        (f"{W1}\ngroup g any none", "line 2.*no earlier line"),
        (f"{W1}\ngroup g any", "line 2"),
        (f"{W1}\ngroup g 0 a", "line 2.*from 1 to 1"),
        (f"{W1}\ngroup g 01 a", "line 2.*from 1 to 1"),
        (f"{W1}\ngroup g 2 a", "line 2.*from 1 to 1"),
        (f"{W1}\ngroup g some a", "line 2.*from 1 to 1"),
        ("logs x", "line 1.*starts with none"),
        ("quorum none\r", "line 1.*control"),
        ("quorum none\0", "line 1.*control"),
        ("#" * (1024 * 1024 + 1), "at most"),
    ],
)
def test_what_is_not_a_policy(text, why):
    with pytest.raises(StorageConfigurationError, match=f"(?s){why}"):
        parse_log_policy(text.encode())


def test_names_are_octets():
    text = b"witness \xff\xe2\x84\xaa " + WITNESS.key.encode().encode() + b"\nquorum \xff\xe2\x84\xaa\n"
    assert len(parse_log_policy(text).witnesses) == 1
    with pytest.raises(StorageConfigurationError):
        parse_log_policy(text.replace(b"quorum \xff\xe2\x84\xaa", b"quorum \xffK"))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_policy_or_refused(data):
    try:
        parse_log_policy(data)
    except StorageConfigurationError:
        return


# Entries.

ADMIT = StatementAdmission(material.TRUST, clock=lambda: material.NOW)
ENVELOPE = material.issue()


def test_our_entry():
    pae, data = ADMIT(encode_envelope(ENVELOPE))
    assert pae.hex() == "f892c9d122f0180bc77d889d3bbc04518871913f9aeb7a45fcfba2b16fd4866a"
    assert len(data) == 416
    assert hash_leaf(data).hex() == "8d3615abb297bcaf0991a5120f59f35089360487c8272980da01813d0a3428e3"
    entry = parse_entry(data)
    assert (entry.kind, entry.proof_id, entry.data) == ("issue", material.ID, data)


def test_the_subject_may_be_left_out():
    quiet = StatementAdmission(material.TRUST, clock=lambda: material.NOW, log_subjects=False)
    _, data = quiet(encode_envelope(ENVELOPE))
    assert parse_entry(data).subject is None
    assert b"subject" not in data


def test_revocations_and_tombstones_and_key_rings_are_logged():
    proof = verify_signed(ENVELOPE, material.TRUST, now=material.NOW)
    for kind, word in (("revocation", "revoke"), ("erasure", "erase")):
        envelope = material.seal(encode_notice(make_notice(kind, proof, at=material.NOW)))
        entry = ADMIT.entry(envelope)
        assert (entry.kind, entry.proof_id, entry.subject) == (word, material.ID, None)
        assert parse_entry(entry.data) == entry
    newer = TrustStore(2, material.TRUST.keys)
    entry = ADMIT.entry(material.seal(encode_trust_statement(newer), material.ROOT))
    assert (entry.kind, entry.proof_id) == ("keyring", None)
    assert parse_entry(entry.data) == entry


def test_the_signature_that_is_logged_is_one_that_verified():
    stranger = material.issue(material.STRANGER)
    both = replace(ENVELOPE, signatures=(*stranger.signatures, *ENVELOPE.signatures))
    assert ADMIT.entry(both).sig == ENVELOPE.signatures[0].sig
    false = replace(stranger.signatures[0], keyid=ENVELOPE.signatures[0].keyid)
    for signatures in ((false, *ENVELOPE.signatures), (replace(ENVELOPE.signatures[0], keyid=""), false)):
        entry = ADMIT.entry(replace(ENVELOPE, signatures=signatures))
        assert entry.sig == ENVELOPE.signatures[0].sig
        assert entry.keyid == material.SIGNER.public_key.keyid


def test_what_does_not_verify_is_not_logged():
    for envelope in (material.issue(material.STRANGER), replace(ENVELOPE, payload=b"{}")):
        with pytest.raises(ProofError):
            ADMIT.entry(envelope)
    with pytest.raises(ProofError):
        ADMIT(b"not an envelope")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"issue"', b'"other"'),
        (b'"pae":"sha256:', b'"pae":"sha512:'),
        (b'{"keyid"', b'{ "keyid"'),
        (b'"sig":"', b'"sig":"!'),
        (material.ID.encode(), b"1"),
        (b'["sha256', b'["sha256:","sha256'),
        (b'"keyid":"sha256', b'"keyid":{"a":"sha256'),
    ],
)
def test_what_is_not_an_entry(old, new):
    _, data = ADMIT(encode_envelope(ENVELOPE))
    with pytest.raises(LogEntryError):
        parse_entry(data.replace(old, new, 1))


def test_a_plain_entry_comes_back():
    entry = LogEntry("erase", bytes(32), "key", b"sig")
    assert parse_entry(entry.data) == entry


# Proof files.

ENTRIES = [b"%d" % number for number in range(7)]
LEAVES = [hash_leaf(each) for each in ENTRIES]
SEVEN = Checkpoint(ORIGIN, 7, root(LEAVES))
PATH = [root(LEAVES[start:end]) for start, end in inclusion_ranges(5, 7)]
PROOF = encode_log_proof(5, PATH, sign(LOG, WITNESS, text=SEVEN.text))
WITH_WITNESS = parse_log_policy(f"log {LOG.key.encode()}\n{W1}\nquorum a\n".encode())


def test_a_proof_verifies_offline():
    found = verify_log_proof(PROOF, entry=ENTRIES[5], policy=WITH_WITNESS)
    assert found.signed.checkpoint == SEVEN
    assert found.time == datetime.fromtimestamp(TIME, UTC)
    extra = PROOF.replace(b"index", b"extra AAAA\nindex", 1)
    assert parse_log_proof(extra) == parse_log_proof(PROOF)


def test_it_is_a_proof_of_that_entry_only():
    with pytest.raises(LogInclusionError, match="another root"):
        verify_log_proof(PROOF, entry=ENTRIES[4], policy=WITH_WITNESS)
    for old, new in ((b"index 5", b"index 4"), (b"index 5", b"index 7")):
        with pytest.raises(LogInclusionError):
            verify_log_proof(PROOF.replace(old, new), entry=ENTRIES[5], policy=WITH_WITNESS)


def test_the_checkpoint_of_a_proof_has_to_count():
    stranger = LocalNoteSigner(ORIGIN, bytes(32))
    proof = encode_log_proof(5, PATH, sign(stranger, text=SEVEN.text))
    with pytest.raises(CheckpointError):
        verify_log_proof(proof, entry=ENTRIES[5], policy=WITH_WITNESS)
    alone = encode_log_proof(5, PATH, sign(LOG, text=SEVEN.text))
    with pytest.raises(WitnessQuorumError):
        verify_log_proof(alone, entry=ENTRIES[5], policy=WITH_WITNESS)


HASH = base64.b64encode(bytes(32)) + b"\n"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"@v1", b"@v2", "not a log proof"),
        (b"index 5", b"index 05", "line 2"),
        (b"index 5", b"index -5", "line 2"),
        (b"index 5", b"at 5", "line 2"),
        (b"index 5", b"extra !\nindex 5", "line 2"),
        (b"index 5\n", b"index 5\nAAAA\n", "line 3"),
        (b"index 5\n", b"index 5\n" + HASH * 64, "line 66"),
        (b"\n\n", b"\n", "line 6"),
        (b"index 5", b"index 5 \xff", "not a log proof"),
    ],
)
def test_what_is_not_a_proof_file(old, new, why):
    with pytest.raises(LogInclusionError, match=why):
        parse_log_proof(PROOF.replace(old, new, 1))


def test_a_proof_file_is_bounded():
    with pytest.raises(LogInclusionError, match="at most"):
        parse_log_proof(PROOF + bytes(384 * 1024))


def test_the_empty_log_has_a_checkpoint():
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(empty.text) == empty


def test_what_a_broken_signer_returns_is_a_checkpoint_error():
    class Broken(LocalNoteSigner):
        async def sign(self, message):
            return bytes(64)

    with pytest.raises(CheckpointError, match="does not fit"):
        asyncio.run(sign_text(TEXT, [Broken(ORIGIN, bytes(32))], TIME))


def test_a_note_is_extended_without_repeating_lines():
    note = Note("a\n", (NoteSignature("a", bytes(4), b"1"),))
    assert note.extended(note.signatures) == note
