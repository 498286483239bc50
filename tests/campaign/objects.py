"""Mutated stored objects: whatever is changed in what a store holds, no reader is given other bytes."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from unittest import mock

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from credstore import ClientSide, KeyRing, LocalConfig, LocalKey, LocalStorageProvider
from credstore.driver.reader import ObjectReader
from credstore.encryption import DataKey
from credstore.errors import ErrorCode, StorageDecryptionError, StorageError
from credstore.pipeline import envelope
from credstore.pipeline.envelope import Opener, Sealer
from credstore.pipeline.header import Binding, parse_header
from credstore.proofs.format.bundle import verify_bundle
from credstore.proofs.format.errors import ProofError
from credstore.proofs.format.policy import verify_proof
from credstore.proofs.format.signing import PublicKey
from credstore.proofs.format.trust import TrustStore
from tests.campaign.trial import Campaign, Trial
from tests.pipeline.mutants import changed
from tests.proofs.material import KEY, NOW, P256, P256_KEY, SIGNER, bundle, issue
from tests.proofs.mutants import RICH, mutate, mutate_record
from tests.provider.support import Spy, over

CHUNK = 4096
DATA_KEY = DataKey(bytes(range(32)), key_id="local-1", wrapped=bytes(range(40)))
PLACE = Binding("store", "claims/a.json", "ab" * 16)
SIZES = (0, 1, 700, CHUNK, CHUNK + 1, 3 * CHUNK)
POLICY = ClientSide(KeyRing(LocalKey(bytes(range(32)))), store_id="tests", chunk_size=CHUNK)
TEXT = b'{"claim": "' + b"signed " * 900 + b'"}'
PROOFS = [(issue(signer, **RICH), TrustStore(1, (key,))) for signer, key in ((SIGNER, KEY), (P256, P256_KEY))]
"""Records, each with the keys that are trusted."""
Check = Callable[[random.Random], Awaitable[str | None]]
"""Changes one stored object; what was accepted with other bytes, or None."""


def _sealed(size: int, key: str = PLACE.key) -> tuple[bytes, bytes]:
    plain = random.Random(size).randbytes(size)
    sealer = Sealer(
        DATA_KEY, PLACE._replace(key=key), salt=bytes(range(32)), chunk_size=CHUNK, plain_size=size
    )
    return plain, sealer.seal(plain)


def envelopes() -> Check:
    """Encrypted bytes by themselves, given out chunk by chunk."""
    made = [_sealed(size) for size in SIZES]
    others = [_sealed(size, "other")[1] for size in SIZES]

    async def check(chance: random.Random) -> str | None:
        plain, stored = chance.choice(made)
        mutant = changed(stored, chance, others)
        given = b""
        try:
            found = parse_header(mutant, complete=True)
            assert found is not None
            opener = Opener(found, DATA_KEY, PLACE)
            for start in range(found.size, len(mutant), 5000):
                given += opener.feed(mutant[start : start + 5000])
            given += opener.finish()
        except StorageDecryptionError:
            return None if plain.startswith(given) else "other bytes were given out before the refusal"
        return "a changed object was decrypted"

    return check


async def _accepted(read: Awaitable[bytes | None], plain: bytes) -> str | None:
    try:
        found = await read
    except StorageError:
        return None
    return None if found == plain else f"accepted with other bytes: {found!r:.60}"


async def stored(stack: AsyncExitStack, *, recorded: bool, **options: object) -> Check:
    """Objects of a provider over memory.

    Args:
        stack: Closes the provider.
        recorded: Whether the store records the SHA-256 of what it holds.
        options: Of `store`.
    """
    driver = Spy()
    policy = POLICY if options.pop("encrypt", False) else None
    store = await stack.enter_async_context(over(driver, encryption=policy))
    await store.store("a", TEXT, **options)
    await store.store("b", TEXT[::-1], **options)
    objects = driver.objects.by_key
    good, other = objects["a"], objects["b"]
    assert good.info.digest is not None

    async def check(chance: random.Random) -> str | None:
        mutant = changed(good.data, chance, [other.data])
        info = replace(good.info, size=len(mutant), digest=good.info.digest if recorded else None)
        objects["a"] = replace(good, data=mutant, info=info)
        if chance.random() < 0.5:
            return await _accepted(store.retrieve("a"), TEXT)

        async def streamed() -> bytes:
            async with store.open("a") as reader:
                return b"".join([chunk async for chunk in reader])

        return await _accepted(streamed(), TEXT)

    return check


async def files(trial: Trial, stack: AsyncExitStack) -> Check:
    """Objects of a local store, changed as no clock shows."""
    root = trial.folder / "store"
    config = LocalConfig(path=str(root), fsync=False)
    store = await stack.enter_async_context(LocalStorageProvider(config))
    for key, compress in (("plain", False), ("gzip", "gzip"), ("zstd", "zstd")):
        await store.store(key, TEXT, compress=compress)
    good = {key: (root / key).read_bytes() for key in ("plain", "gzip", "zstd")}

    async def check(chance: random.Random) -> str | None:
        key = chance.choice(list(good))
        path = root / key
        moment = path.stat().st_mtime_ns
        mutant = changed(good[key], chance, [good["plain"], good["gzip"]])
        if chance.random() < 0.5:
            mutant = mutant[: len(good[key])].ljust(len(good[key]), b"\0")
        if mutant == good[key]:
            return None
        path.write_bytes(mutant)
        os.utime(path, ns=(moment, moment))
        try:
            return await _accepted(store.retrieve(key), TEXT)
        finally:
            path.write_bytes(good[key])
            os.utime(path, ns=(moment, moment))

    return check


def records() -> Check:
    """Signed records."""

    async def check(chance: random.Random) -> str | None:
        envelope_, trust = chance.choice(PROOFS)
        try:
            verify_proof(mutate_record(chance, envelope_), trust, now=NOW)
        except ProofError:
            return None
        return "a changed record was accepted"

    return check


def bundles() -> Check:
    """Bundles: a hint or white space may change, what is said and by whom may not."""

    async def check(chance: random.Random) -> str | None:
        envelope_, trust = chance.choice(PROOFS)
        try:
            proof = verify_bundle(mutate(chance, bundle(envelope_)), trust, now=NOW).proof
        except ProofError:
            return None
        return None if proof.envelope.digest == envelope_.digest else "a bundle that says something else"

    return check


class _NoTags:
    """AES-GCM whose tags are not looked at."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.encrypt = AESGCM(key).encrypt

    def decrypt(self, nonce: bytes, data: bytes, _bound: bytes) -> bytes:
        counter = modes.CTR(nonce + b"\0\0\0\2")
        return Cipher(algorithms.AES(self._key), counter).decryptor().update(bytes(data)[:-16])


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """A check left out."""
    cryptography, refuse = envelope._cryptography, ObjectReader._refuse

    def without_tags():
        return cryptography()._replace(aead=_NoTags)

    def without_digest(self, what, code):
        if code != ErrorCode.DIGEST_MISMATCH:
            refuse(self, what, code)

    patches = {
        "no-tags": (envelope, "_cryptography", without_tags),
        "no-digest": (ObjectReader, "_refuse", without_digest),
        "no-signature": (PublicKey, "is_signature", lambda *_: True),
    }
    if name is None:
        yield
    else:
        with mock.patch.object(*patches[name]):
            yield


async def _main(trial: Trial) -> None:
    async with AsyncExitStack() as stack:
        checks: dict[str, tuple[int, Check]] = {
            "encrypted bytes": (24, envelopes()),
            "encrypted objects": (8, await stored(stack, recorded=False, encrypt=True)),
            "encrypted and compressed": (
                8,
                await stored(stack, recorded=False, encrypt=True, compress="zstd"),
            ),
            "gzip with a digest": (8, await stored(stack, recorded=True, compress="gzip")),
            "zstd with a digest": (8, await stored(stack, recorded=True, compress="zstd")),
            "plain with a digest": (8, await stored(stack, recorded=True)),
            "files with a digest": (4, await files(trial, stack)),
            "signed records": (16, records()),
            "proof bundles": (16, bundles()),
        }
        names = list(checks)
        weights = [weight for weight, _ in checks.values()]
        for unit in trial.units():
            chance = trial.chance(unit)
            (name,) = chance.choices(names, weights)
            trial.counts[name] += 1
            problem = await checks[name][1](chance)
            trial.ended(unit, problem and f"{name}: {problem}")


def run(trial: Trial) -> None:
    """Change so many stored objects and read each."""
    with planted(trial.plant):
        asyncio.run(_main(trial))


CAMPAIGN = Campaign(
    name="objects",
    unit="mutated objects",
    about=(
        "Stored bytes are changed: bits flipped, bytes cut, repeated, overwritten and moved, parts of other objects "
        "spliced in, whole objects exchanged. That is done to encrypted objects (as bytes, and through a provider "
        "whose store records no digest), to compressed and plain objects with a recorded SHA-256, to files of a "
        "local store whose time is set back, to signed records and to proof bundles. Each is read, at once or as a "
        "stream: other bytes than those that were stored are never accepted, and of a refused encrypted object "
        "nothing but authentic bytes is given out."
    ),
    sizes={"quick": 2_000, "ci": 50_000, "campaign": 200_000, "release": 1_000_000},
    run=run,
    plants={"no-tags": 200, "no-digest": 400, "no-signature": 200},
)
