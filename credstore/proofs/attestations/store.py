"""`AttestationStore`: other people's attestations on any provider, verified when they come and when they go.

Rules of this file: what is stored is byte for byte what came; names lead from subjects to it and are never
believed: what they lead to counts only if it verifies and itself names the subject and the predicate type.
Names are written before what they lead to, and removed before it, so that nothing that is there is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from credstore.arguments import given, typed_class
from credstore.concurrency import map_all, map_in_order
from credstore.errors import (
    ErrorCode,
    StorageAlreadyExistsError,
    StorageIntegrityError,
    StorageInvalidRequestError,
)
from credstore.model import StorageItem
from credstore.observe import Observer
from credstore.proofs.attestations.bundles import (
    LARGEST_ATTESTATION,
    ForeignBundle,
    Subject,
    parse_attestation,
)
from credstore.proofs.attestations.verifiers import AttestationVerifier
from credstore.proofs.format.errors import (
    ProofConflictError,
    ProofError,
    ProofIdMismatchError,
    ProofNotFoundError,
)
from credstore.proofs.store.layout import INDEX_BODY, PREFIX, Layout, checked_digest
from credstore.proofs.store.repository import IMMUTABLE, ProofObjects, proof_objects
from credstore.provider.call import Call, Lifetime
from credstore.provider.provider import StorageProvider
from credstore.provider.validation import check_prefix
from credstore.threads import in_daemon

MOST_NAMES = 10_000
MOST_FOUND = 1000
AT_ONCE = 16
_TRIES = 8
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Attestation:
    """An attestation that verified.

    Attributes:
        bundle: As it came, with its statement.
        signers: Ids of keys, or identities, that have signed.
        read_at: When it was read and verified, UTC.
    """

    bundle: ForeignBundle = field(repr=False)
    signers: tuple[str, ...]
    read_at: datetime

    @property
    def digest(self) -> bytes:
        """SHA-256 of the PAE: its name in the store."""
        return self.bundle.digest

    @property
    def data(self) -> bytes:
        """The bytes that came, and go out again."""
        return self.bundle.data

    @property
    def predicate_type(self) -> str | None:
        """What kind of statement it is; None for a payload that is not an in-toto statement."""
        return self.bundle.predicate_type

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What it is about."""
        return self.bundle.subjects


@typed_class
class AttestationStore:
    """Attestations of others: DSSE envelopes, Sigstore bundles, in-toto, OpenSSF model signatures.

    Open it with `async with`, or close it with `aclose()`.
    """

    def __init__(
        self,
        provider: StorageProvider,
        *,
        verifier: AttestationVerifier,
        prefix: str = PREFIX,
        close_provider: bool = True,
        observers: Iterable[Observer] | None = None,
    ) -> None:
        """Keep attestations on a provider.

        Args:
            provider: Where they are; owned from now on, unless `close_provider` is False.
            verifier: Whose attestations count, such as `TrustedKeys` or `FulcioIdentities`.
            prefix: Leading part of all keys; may be that of a `ProofStore`.
            close_provider: Whether the store owns the provider.
            observers: Called with an `Event` after each verb; by default those of the provider.

        Raises:
            StorageInvalidRequestError: The prefix is malformed.
        """
        check_prefix(prefix, provider.capabilities.max_key_size)
        layout = Layout(prefix)
        self._verifier = verifier
        self._objects: ProofObjects = proof_objects(provider, layout, lambda: datetime.now(UTC), None)
        self._owned = close_provider
        seeing = provider.observers if observers is None else tuple(observers)
        self._lifetime = Lifetime.on(provider, seeing, "attestation store")

    async def add(self, data: bytes) -> Attestation:
        """Verify an attestation and store it, byte for byte; once this returns, its subjects lead to it.

        Args:
            data: An envelope or bundle in JSON, at most 16 MiB.

        Raises:
            ProofFormatError: It is neither.
            ProofSignatureError: It does not verify.
            ProofUntrustedKeyError: It is of someone whose attestations do not count.
            ProofConflictError: The same statement is there in other bytes, such as with another certificate.
            StorageError: The store failed; repeating it is harmless.

        Cost: 1 request, and 2 for each subject.
        """
        with self._call("add", mutation=True) as call:
            if not isinstance(data, bytes):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
                raise StorageInvalidRequestError(f"an attestation is bytes, not {given(data)}")
            found = await self._verified(data)
            digest = found.digest
            call.key = digest.hex()
            names = self._names(found.bundle)
            await map_all(names, self._put_name, at_once=AT_ONCE)
            await self._put(digest, data)
            # A removal may have taken them before this one came; one that takes them later removes it, too.
            await map_all(names, self._renew_name, at_once=AT_ONCE)
            return found

    async def _put(self, digest: bytes, data: bytes) -> None:
        place = self._place(digest)
        for _ in range(_TRIES):
            try:
                await self._objects.provider.store(
                    place,
                    data,
                    content_type=_JSON,
                    cache_control=IMMUTABLE,
                    compress=False,
                    if_absent=self._objects.conditional,
                )
            except StorageAlreadyExistsError:
                stored = await self._objects.fetch(place, LARGEST_ATTESTATION)
                if stored is None:
                    continue  # Removed meanwhile.
                if stored != data:
                    raise ProofConflictError(
                        f"the statement {digest.hex()} is stored already, in other bytes"
                    ) from None
            return
        raise ProofConflictError(
            f"the statement {digest.hex()} is added and removed by others again and again", retryable=True
        )

    async def get(self, digest: bytes | str) -> Attestation:
        """The attestation with a digest, verified.

        Args:
            digest: SHA-256 of its PAE: 32 bytes or 64 hex digits.

        Raises:
            ProofNotFoundError: There is none.
            ProofIdMismatchError: What is stored there is another one.
            ProofError: It does not verify, or does not count.
            StorageError: The store failed.

        Cost: 1 request.
        """
        with self._call("get", digest.hex() if isinstance(digest, bytes) else digest):
            return await self._read(checked_digest(digest))

    async def find(self, subject: bytes | str, predicate_type: str | None = None) -> list[Attestation]:
        """The attestations about a subject that verify, in the order of their digests.

        Args:
            subject: SHA-256 of what it is about: 32 bytes, 64 hex digits, or these after `sha256:`.
            predicate_type: Only those of this type; None for all.

        Raises:
            StorageInvalidRequestError: Not a digest; or more than 1,000 attestations or 10,000 names (code
                "TOO_MANY_PROOFS").
            StorageError: The store failed.

        Cost: 1 listing per 1,000 names, and 1 request for each.
        """
        with self._call("find") as call:
            sha256 = checked_digest(subject)
            prefix = self._subject(sha256)
            if not isinstance(predicate_type, str | None):  # pyright: ignore[reportUnnecessaryIsInstance] - callers without types
                raise StorageInvalidRequestError(f"a predicate type is text, not {given(predicate_type)}")
            if predicate_type is not None:
                prefix += _hashed(predicate_type) + "/"
            items = await self._objects.first(prefix, MOST_NAMES + 1)
            if len(items) > MOST_NAMES:
                raise _too_many(f"more than {MOST_NAMES} names")
            found: list[Attestation] = []

            async def look(item: StorageItem) -> Attestation | None:
                try:
                    named = checked_digest(item.key.rpartition("/")[2])
                    read = await self._read(named)
                except (ProofError, StorageIntegrityError, StorageInvalidRequestError):
                    return None  # Planted, damaged, or of someone who does not count.
                about = sha256 in [each.sha256 for each in read.subjects]
                right = predicate_type is None or read.predicate_type == predicate_type
                return read if about and right and item.key in self._names(read.bundle) else None

            async with aclosing(map_in_order(items, look, at_once=AT_ONCE)) as looked:
                async for each in looked:
                    if each is not None:
                        found.append(each)
                    if len(found) > MOST_FOUND:
                        raise _too_many(f"more than {MOST_FOUND} attestations")
            found.sort(key=lambda each: each.digest)
            call.attributes.update(attestations=len(found))
            return found

    async def remove(self, digest: bytes | str) -> bool:
        """Remove an attestation in every version, with the names that lead to it.

        Args:
            digest: SHA-256 of its PAE.

        Returns:
            Whether there was one; it need not verify.

        Raises:
            ProofFormatError: What is there is no attestation.
            StorageError: Some of it may still be there; remove it again.

        Cost: 1 request, and 2 deletions.
        """
        with self._call("remove", digest.hex() if isinstance(digest, bytes) else digest, mutation=True):
            sha256 = checked_digest(digest)
            place = self._place(sha256)
            data = await self._objects.fetch(place, LARGEST_ATTESTATION)
            if data is None:
                return False
            await self._objects.remove_all(self._names(parse_attestation(data)))
            await self._objects.remove_all([place])
            return True

    async def aclose(self) -> None:
        """Refuse further calls, wait for those under way, then close the provider if it is owned."""
        await self._lifetime.close(self._release)

    async def _release(self) -> None:
        if self._owned:
            await self._objects.provider.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._lifetime.closed else "open"
        return f"<AttestationStore {self._objects.layout.prefix} ({state})>"

    def _call(self, verb: str, key: object = None, *, mutation: bool = False) -> Call:
        name = key if isinstance(key, str) else None
        return Call(self._lifetime, f"attestation.{verb}", name, mutation=mutation)

    async def _verified(self, data: bytes) -> Attestation:
        def check() -> Attestation:
            bundle = parse_attestation(data)
            signers = self._verifier.verify(bundle)
            return Attestation(bundle, tuple(signers), self._objects.clock())

        # It may be megabytes of JSON, and a chain of certificates; the verifier may be a user's.
        return await in_daemon(check)

    async def _read(self, digest: bytes) -> Attestation:
        data = await self._objects.fetch(self._place(digest), LARGEST_ATTESTATION)
        if data is None:
            raise ProofNotFoundError(f"there is no attestation {digest.hex()}")
        found = await self._verified(data)
        if found.digest != digest:
            raise ProofIdMismatchError(f"this is attestation {found.digest.hex()}, moved or copied")
        return found

    async def _put_name(self, key: str) -> None:
        await self._objects.provider.store(key, INDEX_BODY, content_type=_JSON, compress=False)

    async def _renew_name(self, key: str) -> None:
        if not await self._objects.has(key):
            await self._put_name(key)

    def _place(self, digest: bytes) -> str:
        name = digest.hex()
        return f"{self._objects.layout.prefix}e/{name[:2]}/{name}.json"

    def _subject(self, sha256: bytes) -> str:
        name = sha256.hex()
        return f"{self._objects.layout.prefix}d/sha256/{name[:2]}/{name}/"

    def _names(self, bundle: ForeignBundle) -> list[str]:
        """The names that lead to an attestation, each once."""
        if bundle.predicate_type is None:
            return []
        end = f"{_hashed(bundle.predicate_type)}/{bundle.digest.hex()}"
        about = dict.fromkeys(each.sha256 for each in bundle.subjects if each.sha256 is not None)
        return [self._subject(sha256) + end for sha256 in about]


def _hashed(predicate_type: str) -> str:
    return hashlib.sha256(predicate_type.encode()).hexdigest()


def _too_many(what: str) -> StorageInvalidRequestError:
    return StorageInvalidRequestError(
        f"the subject has {what}; ask for one predicate type", code=ErrorCode.TOO_MANY_PROOFS
    )
