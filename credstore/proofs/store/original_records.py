"""Finding records of the original service on the provider: by id where they may be, by hash once imported."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Literal, TypeAlias

from credstore.concurrency import map_in_order
from credstore.encryption import Secret
from credstore.errors import StorageCodecError, StorageConfigurationError
from credstore.model import Progress, StorageItem
from credstore.pipeline.codec import decode
from credstore.proofs.format.canonical import encode_json, parse_json
from credstore.proofs.format.errors import ProofError, ProofFormatError
from credstore.proofs.format.fields import read_object, read_text
from credstore.proofs.format.ids import is_proof_id
from credstore.proofs.format.original import (
    LARGEST_LEGACY,
    LegacyHomes,
    LegacyProof,
    derive_legacy_key,
    looks_like_legacy,
    parse_legacy,
)
from credstore.proofs.store.evidence import AT_ONCE
from credstore.proofs.store.layout import INDEX_BODY, LARGEST_MARKER
from credstore.proofs.store.model import LegacyImport
from credstore.proofs.store.repository import ProofObjects
from credstore.provider.provider import StorageProvider
from credstore.threads import in_pool

_MOST_NAMED = 1000
_OLDEST = "proof_"
"""How the names of the oldest store's files begin."""
_OLDEST_KEY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}/[^/]+/proof_[0-9]+_[^/.]+\.[A-Za-z0-9.]+")
"""Its names below the prefix, `YYYY-MM-DD/<manifest id>/proof_<milliseconds>_<random>.<extension>`."""
_GZIP = b"\x1f\x8b\x08"
"""RFC 1952 §2.3.1: the magic bytes, and the one method; no JSON begins like this."""
_Outcome = Literal["read", "known", "differing", "skipped", "unopened", "ours"]
_Keep: TypeAlias = Callable[[str, LegacyProof, bytes], Awaitable[_Outcome]]
"""What to do with a record: its key, what it says, and its bytes as stored."""


class LegacyRecords:
    """Reads the original service's records."""

    def __init__(self, objects: ProofObjects, homes: LegacyHomes) -> None:
        """Read nothing yet.

        Args:
            objects: The store's objects.
            homes: Where the records are.
        """
        self.objects = objects
        self.homes = homes
        self._key = homes.key
        self._deriving = asyncio.Lock()

    async def find(self, proof_id: str) -> LegacyProof | None:
        """The record of a checked id, or None.

        Raises:
            ProofFormatError: What is there is not such a record, or has another id.
        """
        for key in self.homes.keys(proof_id):
            found = await self._read(key)
            if found is not None:
                return self._of(found, proof_id)
        pointer = await self.objects.fetch(self.objects.layout.legacy(proof_id), LARGEST_MARKER)
        if pointer is None:
            return None
        members = read_object(parse_json(pointer, limit=LARGEST_MARKER), "the pointer", needs=("key",))
        found = await self._read(read_text(members["key"], "key", longest=1024))
        return None if found is None else self._of(found, proof_id)

    def _of(self, found: LegacyProof, proof_id: str) -> LegacyProof:
        if found.proof_id != proof_id:
            raise ProofFormatError(f"a record with an id other than {proof_id}")
        return found

    async def _read(self, key: str) -> LegacyProof | None:
        data = await _unpacked(await self.objects.fetch(key, LARGEST_LEGACY), key)
        return None if data is None else parse_legacy(data, await self._key_for(data))

    async def _key_for(self, data: bytes) -> Secret | None:
        """The key, made from the passphrase when the first encrypted record is met."""
        passphrase = self.homes.passphrase
        if self._key is None and passphrase is not None and b'"ciphertext"' in data:
            async with self._deriving:
                if self._key is None:
                    self._key = await in_pool(derive_legacy_key, passphrase)
        return self._key

    async def find_by_hash(self, sha256: bytes) -> list[LegacyProof]:
        """The imported records that name an asset."""
        found: list[LegacyProof] = []
        for name in await self.objects.names(self.objects.layout.legacy_asset(sha256)):
            if is_proof_id(name):
                legacy = await self.find(name)
                if legacy is not None and legacy.sha256 == sha256:
                    found.append(legacy)
        return found

    async def import_all(self) -> LegacyImport:
        """Write a pointer and an index name for each record; see `ProofStore.import_legacy`."""

        async def point(key: str, legacy: LegacyProof, _: bytes) -> _Outcome:
            await self._lead(legacy, key)
            return "read"

        return await self._each(self.objects, point, None)

    async def copy_all(
        self, source: StorageProvider, *, dry_run: bool, progress: Progress | None
    ) -> LegacyImport:
        """Bring each record here, byte for byte; see `ProofStore.import_legacy_from`."""
        objects, layout = self.objects, self.objects.layout

        async def bring(_: str, legacy: LegacyProof, data: bytes) -> _Outcome:
            place = layout.legacy_copy(legacy.proof_id)
            known = await objects.fetch(place, LARGEST_LEGACY)
            if known is not None and known != data:
                return "differing"
            if dry_run:
                return "read" if known is None else "known"
            if known is None:
                await objects.put_legacy(place, data)
            # Also for a known one: an earlier import may have stopped here.
            await self._lead(legacy, place)
            return "read" if known is None else "known"

        theirs = ProofObjects(source, layout, objects.clock)
        return await self._each(theirs, bring, progress)

    async def _lead(self, legacy: LegacyProof, key: str) -> None:
        """Let id and hash lead to a record."""
        layout = self.objects.layout
        await self.objects.put_legacy(layout.legacy(legacy.proof_id), encode_json({"key": key}))
        await self.objects.put_legacy(layout.legacy_asset(legacy.sha256) + legacy.proof_id, INDEX_BODY)

    async def _each(self, objects: ProofObjects, keep: _Keep, progress: Progress | None) -> LegacyImport:
        counts: Counter[_Outcome] = Counter()
        named: dict[_Outcome, list[str]] = {"unopened": [], "differing": []}
        prefixes = [self.homes.prefix] if self.homes.files is None else [self.homes.files, self.homes.prefix]
        # One of them may be inside the other; what was seen is written once more, harmlessly.
        if any(self.homes.prefix != each and self.homes.prefix.startswith(each) for each in prefixes):
            prefixes.remove(self.homes.prefix)
        for prefix in dict.fromkeys(prefixes):
            look = partial(self._look, objects, keep)
            async with aclosing(map_in_order(objects.scan(prefix), look, at_once=AT_ONCE)) as done:
                async for key, found in done:
                    counts[found] += 1
                    if found in named and len(named[found]) < _MOST_NAMED:
                        named[found].append(key)
                    if progress is not None:
                        progress(counts.total(), None)
        return LegacyImport(
            read=counts["read"] + counts["known"],
            skipped=counts["skipped"],
            unopened=counts["unopened"],
            unopened_keys=tuple(named["unopened"]),
            known=counts["known"],
            differing_keys=tuple(named["differing"]),
        )

    async def _look(self, objects: ProofObjects, keep: _Keep, item: StorageItem) -> tuple[str, _Outcome]:
        key = item.key
        if key.startswith(objects.layout.prefix):
            return key, "ours"
        name = key.rpartition("/")[2].removesuffix(".json")
        is_named = is_proof_id(name) or name.startswith(_OLDEST)
        is_oldest = key.startswith(self.homes.prefix) and _OLDEST_KEY.fullmatch(key, len(self.homes.prefix))
        data = stored = None
        try:
            if is_oldest or key.endswith(".json"):
                stored = await objects.fetch(key, LARGEST_LEGACY)
                data = await _unpacked(stored, key)
            if data is None or stored is None:
                return key, "skipped"
            legacy = parse_legacy(data, await self._key_for(data))
        except (ProofError, StorageConfigurationError):
            looks = is_named or (data is not None and looks_like_legacy(data))
            return key, "unopened" if looks else "skipped"
        if not is_proof_id(legacy.proof_id):
            return key, "unopened"
        return key, await keep(key, legacy, stored)


async def _unpacked(data: bytes | None, key: str) -> bytes | None:
    """The JSON of a record; the oldest store kept it as gzip without saying so anywhere.

    Raises:
        ProofFormatError: Gzip that does not decompress, or is more than a record has.
    """
    if data is None or not data.startswith(_GZIP):
        return data
    try:
        return await in_pool(decode, "gzip", data, max_size=LARGEST_LEGACY)
    except StorageCodecError as error:
        raise ProofFormatError("a record in gzip that does not decompress", key=key) from error
