"""The demo's last chapters: a record encrypted before it leaves, and a signed proof about a picture."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from credstore.cli.demo.samples import make_picture
from credstore.cli.output import human_size
from credstore.encryption import ClientSide
from credstore.extras import is_installed
from credstore.keyring.local import LocalKey
from credstore.keyring.ring import KeyRing

if TYPE_CHECKING:
    from credstore.proofs import ProofStore
    from credstore.provider.provider import StorageProvider

Say = Callable[[str], None]
Check = Callable[[str, bool], None]
Fetch = Callable[[str, str], tuple[int, str, bytes]]
ISSUER = "https://news.example"
LIFE = 86_400.0
"""Seconds the proof is valid, and at most its link works."""


async def show_encryption(store: StorageProvider, root: Path, content: bytes, say: Say, check: Check) -> None:
    """Store a record encrypted, look for it in the file, read it back, delete it.

    Args:
        store: A local store without encryption of its own.
        root: Where its files are.
        content: The record.
        say: Prints a line for a person.
        check: Notes what was compared.
    """
    policy = ClientSide(KeyRing(LocalKey(secrets.token_bytes(32))), store_id="credstore-demo")
    key = "sealed/record.json"
    await store.store(key, content, compress="gzip", encryption=policy)
    stored = await asyncio.to_thread((root / key).read_bytes)
    words = (b"c2pa", b"Example Newsroom")
    hidden = all(word in content and word not in stored for word in words)
    check("the encrypted file shows nothing of the record", hidden)
    same = await store.retrieve(key, encryption=policy) == content
    check("the key opens it again", same)
    say(f"stored {human_size(len(stored))}; it starts with {stored[:24].hex(' ')}")
    say(f"the key opens it again: {'the same' if same else 'DIFFERENT'} {human_size(len(content))}")
    check("it can be deleted without the key", await store.delete(key) is True)


async def show_proof(store: StorageProvider, fetch: Fetch, say: Say, check: Check) -> None:
    """Issue a proof for a picture, find it, verify it offline and by its link; then change one byte.

    Args:
        store: A local store whose links are being served; it stays open.
        fetch: (url, accepted encoding) -> status, encoding, body.
        say: Prints a line for a person.
        check: Notes what was compared.
    """
    from credstore.proofs import (
        AssetDigest,
        LocalSigner,
        ProofAssetMismatchError,
        ProofError,
        ProofSignatureError,
        ProofStore,
        TrustStore,
        encode_trust_store,
        parse_trust_store,
        trust_key,
        verify_bundle,
        verify_proof,
    )

    picture = make_picture("lighthouse", 48)
    signer = LocalSigner.generate()
    key = trust_key(signer.public_key, issuers=[ISSUER], valid_from=datetime.now(UTC))
    keys_json = encode_trust_store(TrustStore(1, (key,)))
    say(f"lighthouse.png, {human_size(len(picture))}; a new key signs for {ISSUER}:")
    say(f"  {signer.public_key.keyid}")

    trust = parse_trust_store(keys_json)
    async with ProofStore(store, trust=trust, signer=signer, close_provider=False) as proofs:
        issued = await proofs.issue(picture, media_type="image/png", expires_in=LIFE)
        say(f"issued   proof {issued.proof_id}")
        digest = hashlib.sha256(picture).hexdigest()
        found = await proofs.find_by_hash(digest)
        check("the picture's hash finds the proof", [each.proof_id for each in found] == [issued.proof_id])
        say(f"found    by sha256 {digest}")
        bundle = await proofs.export(issued.proof_id)
        link = await proofs.link(issued.proof_id, LIFE)
        await _find_stripped(proofs, say, check)

    def verified(bundle: bytes, asset: bytes) -> ProofError | None:
        """With neither store nor network: the bundle, the picture, and keys.json."""
        measured = AssetDigest.of(asset)
        try:
            verify_bundle(bundle, trust, now=datetime.now(UTC), asset=measured)
        except ProofError as error:
            return error
        return None

    refusal = verified(bundle, picture)
    check("the exported proof verifies offline", refusal is None)
    say(f"verified offline, from an exported file of {human_size(len(bundle))}: {_yes(refusal)}")

    status, _, body = await asyncio.to_thread(fetch, str(link), "identity")
    check("the proof's link opens", status == 200)  # noqa: PLR2004 - found
    opened = verify_proof(body, trust, now=datetime.now(UTC), asset=AssetDigest.of(picture))
    check("what the link returns verifies", opened.record == issued.record)
    say(f"opened   its temporary link: {status}, {human_size(len(body))}, verified")

    changed = bytearray(picture)
    changed[len(changed) // 2] ^= 1
    refusal = verified(bundle, bytes(changed))
    check("a changed picture is refused", isinstance(refusal, ProofAssetMismatchError))
    say(f"changed  one byte of the picture: {_yes(refusal)}")
    refusal = verified(_forge(bundle), picture)
    check("a changed proof is refused", isinstance(refusal, ProofSignatureError))
    say(f"changed  one letter of the proof: {_yes(refusal)}")


async def _find_stripped(proofs: ProofStore, say: Say, check: Check) -> None:
    """Issue a proof for a picture, and find it again by a small copy without metadata."""
    if not is_installed("perceptual"):
        say("not shown: a stripped photo found again; it needs the extra `perceptual`")
        return
    from io import BytesIO

    from PIL import Image

    from credstore.proofs.bindings import BindingIndex

    index = BindingIndex(proofs)
    original = make_picture("harbour", 128)
    proof = await index.issue(original, media_type="image/png", expires_in=LIFE)
    with Image.open(BytesIO(original)) as picture:
        small = picture.convert("RGB").resize((picture.width // 2, picture.height // 2))
    stripped = BytesIO()
    small.save(stripped, "JPEG", quality=60)
    matches = await index.find_similar(stripped.getvalue())
    found = [each.proof.proof_id for each in matches] == [proof.proof_id]
    check("a stripped photo is found again", found)
    say(f"stripped harbour.png: half its size, JPEG, no metadata: {'found again' if found else 'NOT FOUND'}")


def _forge(bundle: bytes) -> bytes:
    """The bundle with another first letter in the signature."""
    head, mark, tail = bundle.partition(b'"sig":"')
    return head + mark + (b"B" if tail.startswith(b"A") else b"A") + tail[1:]


def _yes(refusal: Exception | None) -> str:
    return "yes" if refusal is None else f"refused ({type(refusal).__name__})"
