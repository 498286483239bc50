"""Finding records of the original service on the provider: by id where they may be, by hash once imported."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import aclosing
from typing import Literal

from credstore.concurrency import map_in_order
from credstore.encryption import Secret
from credstore.errors import StorageCodecError, StorageConfigurationError
from credstore.model import StorageItem
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

_MOST_NAMED = 1000
_OLDEST = "proof_"
"""How the names of the oldest store's files begin."""
_OLDEST_KEY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}/[^/]+/proof_[0-9]+_[^/.]+\.[A-Za-z0-9.]+")
"""Its names below the prefix, `YYYY-MM-DD/<manifest id>/proof_<milliseconds>_<random>.<extension>`."""
_GZIP = b"\x1f\x8b\x08"
"""RFC 1952 §2.3.1: the magic bytes, and the one method; no JSON begins like this."""
_Outcome = Literal["read", "skipped", "unopened", "ours"]


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
        data = await self._fetch(key)
        return None if data is None else parse_legacy(data, await self._key_for(data))

    async def _fetch(self, key: str) -> bytes | None:
        """The JSON of a record; the oldest store kept it as gzip without saying so anywhere.

        Raises:
            ProofFormatError: More bytes than a record has, or gzip that does not decompress.
        """
        data = await self.objects.fetch(key, LARGEST_LEGACY)
        if data is None or not data.startswith(_GZIP):
            return data
        try:
            return await asyncio.to_thread(decode, "gzip", data, max_size=LARGEST_LEGACY)
        except StorageCodecError as error:
            raise ProofFormatError("a record in gzip that does not decompress", key=key) from error

    async def _key_for(self, data: bytes) -> Secret | None:
        """The key, made from the passphrase when the first encrypted record is met."""
        passphrase = self.homes.passphrase
        if self._key is None and passphrase is not None and b'"ciphertext"' in data:
            async with self._deriving:
                if self._key is None:
                    self._key = await asyncio.to_thread(derive_legacy_key, passphrase)
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
        counts: Counter[_Outcome] = Counter()
        unopened: list[str] = []
        prefixes = [self.homes.prefix] if self.homes.files is None else [self.homes.files, self.homes.prefix]
        # One of them may be inside the other; what was seen is written once more, harmlessly.
        if any(self.homes.prefix != each and self.homes.prefix.startswith(each) for each in prefixes):
            prefixes.remove(self.homes.prefix)
        for prefix in dict.fromkeys(prefixes):
            async with aclosing(
                map_in_order(self.objects.scan(prefix), self._import, at_once=AT_ONCE)
            ) as done:
                async for key, found in done:
                    counts[found] += 1
                    if found == "unopened" and len(unopened) < _MOST_NAMED:
                        unopened.append(key)
        return LegacyImport(
            read=counts["read"],
            skipped=counts["skipped"],
            unopened=counts["unopened"],
            unopened_keys=tuple(unopened),
        )

    async def _import(self, item: StorageItem) -> tuple[str, _Outcome]:
        key, layout = item.key, self.objects.layout
        if key.startswith(layout.prefix):
            return key, "ours"
        name = key.rpartition("/")[2].removesuffix(".json")
        is_named = is_proof_id(name) or name.startswith(_OLDEST)
        is_oldest = key.startswith(self.homes.prefix) and _OLDEST_KEY.fullmatch(key, len(self.homes.prefix))
        data = None
        try:
            data = await self._fetch(key) if is_oldest or key.endswith(".json") else None
            if data is None:
                return key, "skipped"
            legacy = parse_legacy(data, await self._key_for(data))
        except (ProofError, StorageConfigurationError):
            looks = is_named or (data is not None and looks_like_legacy(data))
            return key, "unopened" if looks else "skipped"
        if not is_proof_id(legacy.proof_id):
            return key, "unopened"
        name = layout.legacy_asset(legacy.sha256) + legacy.proof_id
        await self.objects.put_legacy(layout.legacy(legacy.proof_id), encode_json({"key": key}))
        await self.objects.put_legacy(name, INDEX_BODY)
        return key, "read"
