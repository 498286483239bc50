"""Trust stores with many keys, and trust stores from the web: pinned by a root key, never trusted at first sight."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from credstore.errors import (
    StorageConfigurationError,
    StorageConnectionError,
    StorageNotFoundError,
    StorageUnavailableError,
)
from credstore.proofs import (
    LocalSigner,
    ProofConflictError,
    ProofFormatError,
    ProofSignatureError,
    ProofUntrustedKeyError,
    TrustStore,
    fetch_trust_store,
    pinned_root,
    trust_key,
    verify_proof,
)
from credstore.proofs.format.dsse import MOST_TRIES, Envelope, Signature, encode_envelope
from credstore.proofs.format.trust import encode_trust_store
from credstore.proofs.format.trust_publication import encode_trust_statement
from credstore.proofs.trust_sources import WELL_KNOWN
from credstore.threads import in_pool
from tests.proofs.authorities import serving_files
from tests.proofs.material import (
    INDEPENDENT,
    ISSUER,
    KEY,
    NOW,
    OTHER_ISSUER,
    ROOT,
    ROOT_KEY,
    SIGNER,
    START,
    TRUST,
    issue,
    seal,
)
from tests.proofs.material import bundle as bundled
from tests.proofs.shelves import Shelf


def signers(count, first=1000):
    return [
        LocalSigner(Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big")))
        for number in range(first, first + count)
    ]


def keys_of(many, issuer):
    return tuple(trust_key(each.public_key, issuers=[issuer], valid_from=START) for each in many)


def renamed(envelope, keyid):
    return Envelope(envelope.payload, tuple(replace(each, keyid=keyid) for each in envelope.signatures))


@pytest.mark.parametrize("keyid", ["", "SHA256:abcd/efg=", KEY.keyid.upper(), "our build key"])
@pytest.mark.parametrize("place", [0, 20, 39])
def test_a_key_among_many_is_found_without_its_id(keyid, place):
    many = signers(40)
    trust = TrustStore(1, keys_of(many, ISSUER))
    envelope = renamed(issue(many[place]), keyid)
    proof = verify_proof(envelope, trust, now=NOW)
    assert proof.keyids == (many[place].public_key.keyid,)
    # The independent reader agrees.
    INDEPENDENT.verify(bundled(envelope), encode_trust_store(trust), NOW)


def test_keys_of_the_issuer_come_first():
    """However many others there are before them."""
    others, own = signers(900), signers(3, 5000)
    trust = TrustStore(1, (*keys_of(others, OTHER_ISSUER), *keys_of(own, ISSUER)))
    envelope = renamed(issue(own[2]), "")
    assert verify_proof(envelope, trust, now=NOW).keyids == (own[2].public_key.keyid,)


def test_not_tried_is_not_said_to_be_wrong():
    many = signers(MOST_TRIES + 10)
    trust = TrustStore(1, keys_of(many, ISSUER))
    with pytest.raises(ProofUntrustedKeyError, match="10 were not"):
        verify_proof(renamed(issue(many[-1]), ""), trust, now=NOW)
    assert verify_proof(issue(many[-1]), trust, now=NOW).keyids == (many[-1].public_key.keyid,)
    few = TrustStore(1, keys_of(many[:MOST_TRIES], ISSUER))
    with pytest.raises(ProofSignatureError):
        verify_proof(renamed(issue(many[-1]), ""), few, now=NOW)


def test_signatures_that_somebody_adds_do_not_use_up_what_is_tried():
    many = signers(100)
    trust = TrustStore(1, (*keys_of(many, ISSUER), KEY))
    good = issue(SIGNER)
    junk = tuple(Signature("", bytes([number]) * 64) for number in range(7))
    assert verify_proof(Envelope(good.payload, junk + good.signatures), trust, now=NOW).keyids == (KEY.keyid,)


def test_many_keys_are_tried_off_the_loop(monkeypatch):
    seen = []

    async def run():
        shelf = Shelf()
        proof = await shelf.open().issue(b"hello")
        many = signers(40)
        trust = TrustStore(1, (*keys_of(many, ISSUER), KEY))
        store = shelf.open(trust=trust)
        place = store._objects.layout.record(proof.proof_id)
        await store.provider.store(place, encode_envelope(renamed(proof.envelope, "")), compress=False)

        def noted(*arguments):
            seen.append(arguments[0])
            return in_pool(*arguments)

        monkeypatch.setattr("credstore.proofs.store.reading.in_pool", noted)
        assert (await store.get(proof.proof_id)).verified.keyids == (KEY.keyid,)

    asyncio.run(run())
    assert seen


def published(trust, *by):
    return encode_envelope(seal(encode_trust_statement(trust), *(by or (ROOT,))))


def fetch(url, pinned):
    return asyncio.run(fetch_trust_store(url, pinned, now=NOW))


def test_a_trust_store_is_fetched_and_kept_up_to_date():
    files = {}
    second = TRUST.retire(KEY.keyid, last_use=NOW)
    with serving_files(files) as url:
        with pytest.raises(StorageNotFoundError):
            fetch(url, TRUST)
        files[WELL_KNOWN] = published(TRUST)
        first = fetch(url, pinned_root(ROOT.public_key))
        assert first == TRUST
        assert fetch(f"{url}/", first) is first
        files[WELL_KNOWN] = published(second)
        newest = fetch(url, first)
        assert newest == second
        files["/keys"] = published(TRUST)
        with pytest.raises(ProofConflictError, match="version 1"):
            fetch(f"{url}/keys", newest)
        files["/keys"] = published(replace(second, keys=second.keys[:1]))
        with pytest.raises(ProofConflictError, match="another one"):
            fetch(f"{url}/keys", newest)


def test_nothing_is_trusted_at_first_sight():
    files = {WELL_KNOWN: published(TRUST)}
    thief = trust_key(SIGNER.public_key, issuers=[], usages=["root"], valid_from=START)
    with serving_files(files) as url:
        with pytest.raises(StorageConfigurationError, match="pinned"):
            fetch(url, TrustStore(1, (KEY,)))
        with pytest.raises(ProofUntrustedKeyError):
            fetch(url, pinned_root(SIGNER.public_key))
        # A key that the published trust store calls a root is none yet.
        files[WELL_KNOWN] = published(TrustStore(9, (thief,)), SIGNER)
        with pytest.raises(ProofUntrustedKeyError):
            fetch(url, TRUST)
        revoked = TrustStore(1, (replace(ROOT_KEY, valid_until=START),))
        files[WELL_KNOWN] = published(TrustStore(9, (KEY,)))
        with pytest.raises(ProofUntrustedKeyError):
            fetch(url, revoked)


def test_what_a_server_may_answer():
    with serving_files(
        {"/bad": b"<html>", "/down": 503, "/moved": 302, "/long": bytes(3 * 1024 * 1024)}
    ) as url:
        for path, expected in (
            ("/bad", ProofFormatError),
            ("/down", StorageUnavailableError),
            ("/moved", Exception),
            ("/long", StorageConnectionError),
        ):
            with pytest.raises(expected):
                fetch(url + path, TRUST)
    for wrong in ("http://example.org/", "ftp://example.org/", "keys.json", "https://me@example.org/"):
        with pytest.raises(StorageConfigurationError):
            fetch(wrong, TRUST)
