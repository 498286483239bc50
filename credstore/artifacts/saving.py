"""Saving a version: cut, reuse, pack, store, sign, make visible.

Order is everything here: the lease before the parent is read, packs before the index, the index before the
statement, whose conditional creation is the one step that makes the version visible.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace

from credstore.artifacts.catalog import LARGEST_INDEX, REFUSED, Catalog
from credstore.artifacts.classes import KINDS, LEAST_COOL, PLAIN
from credstore.artifacts.index import Chunk, FileEntry, check_index, encode_index
from credstore.artifacts.layout import MOST_VERSIONS
from credstore.artifacts.leases import drop_lease, is_leased, prune_is_announced, take_lease
from credstore.artifacts.packs import Pack, Packer
from credstore.artifacts.sources import Cut, CutFile, SourceFile, cut_bytes
from credstore.artifacts.statements import ArtifactVersion
from credstore.concurrency import in_thread, map_in_order
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageConflictError,
    StorageError,
    StorageInvalidRequestError,
    StorageQuotaExceededError,
)
from credstore.model import Progress, StorageResult, StoreOptions
from credstore.proofs.format.canonical import Json

_AT_ONCE = 2
_BATCH = 4 * 1024 * 1024
_TRIES = 100
_PARENTS = 8
"""How many of the last versions are tried for chunks to reuse."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What a version has besides the files that were found.

    Attributes:
        details: What is signed about it.
        file: Makes one more file, its name and bytes, from all the others; None for none.
        read: What readers do with such a version, its files and the bytes of that file, before they take it;
            raises what they would.
    """

    details: Mapping[str, Json] = field(default_factory=dict[str, Json])
    file: Callable[[Sequence[FileEntry]], Awaitable[tuple[str, bytes]]] | None = None
    read: Callable[[ArtifactVersion, Sequence[FileEntry], bytes], object] | None = None


NOTHING = Addition()


class Saving:
    """One save of one artifact."""

    def __init__(
        self,
        catalog: Catalog,
        files: list[SourceFile],
        progress: Progress | None,
        more: Addition = NOTHING,
    ) -> None:
        """Plan it; nothing is sent.

        Args:
            catalog: The artifact.
            files: What to save.
            progress: Called with (bytes read, bytes in total).
            more: What the version has besides.
        """
        self._catalog = catalog
        self._files = files
        self._more = more
        self._progress = progress
        self._session = secrets.token_hex(16)
        self._packer = Packer(self._session)
        self._known: dict[bytes, Chunk] = {}
        self._entries: list[FileEntry] = []
        self._made = b""
        self._total = sum(file.size for file in files)
        self._done = 0
        self._settled = True

    async def run(self) -> ArtifactVersion:
        """Save the version.

        Raises:
            StorageConflictError: The save took so long that a prune took it for dead; nothing is visible.
            ProofError: Readers with the same trust store would refuse the version.
            StorageError: Anything else. Unless `applied` is "maybe", no version was made.
        """
        catalog = self._catalog
        self._catalog.seals.check_signs()
        try:
            await take_lease(catalog, self._session)
            parent = await self._parent()
            async with aclosing(map_in_order(self._packs(), self._store_pack, at_once=_AT_ONCE)) as stored:
                async for _ in stored:
                    pass
            described = await self._describe(parent)
            if self._more.read is not None:
                await in_thread(self._more.read, described, self._entries, self._made)
            version = await self._commit(described)
        except BaseException:
            if self._settled:
                await self._clean_up()
            raise
        with suppress(StorageError):  # The version is there; a later prune takes the lease for abandoned.
            await drop_lease(catalog, self._session)
        return version

    async def _parent(self) -> ArtifactVersion | None:
        """The last version that can be read, whose chunks are known from now on.

        Nothing but what is stored again depends on it: a version that the trust store refuses, or one without
        its index, must not keep a folder from being saved.
        """
        for number in reversed((await self._catalog.numbers())[-_PARENTS:]):
            try:
                for version in await self._catalog.versions([number]):
                    await self._reuse(version)
                    return version
            except REFUSED:
                continue
        return None

    async def _reuse(self, parent: ArtifactVersion) -> None:
        """Know the chunks of the parent; those of a pack that was lost are stored again."""
        there = await self._pack_sizes()
        for file in await self._catalog.files(parent):
            for chunk in file.chunks:
                if chunk.offset + chunk.stored <= there.get(chunk.pack, 0):
                    self._known[chunk.digest] = chunk

    async def _pack_sizes(self) -> dict[str, int]:
        prefix = self._catalog.layout.packs
        # An encrypted object is larger than what is in it, never smaller.
        return {
            item.key.removeprefix(prefix): item.size async for item in self._catalog.provider.scan(prefix)
        }

    async def _is_whole(self) -> bool:
        """Whether everything that the version needs is there."""
        needed = {chunk.pack for file in self._entries for chunk in file.chunks}
        index = self._catalog.layout.indexes + self._session
        return needed <= (await self._pack_sizes()).keys() and await self._catalog.provider.exists(index)

    async def _check_committed(self, key: str) -> None:
        """Find out whether a prune took this save for dead between the last look and the commit."""
        catalog = self._catalog
        try:
            if await is_leased(catalog, self._session):
                return
            if await prune_is_announced(catalog):
                raise self._too_late()
            if await self._is_whole():
                return
            # Its packs stay for the next prune: another save may have reused them meanwhile.
            await catalog.provider.delete(key)
        except StorageError as error:
            error.applied = "maybe"  # The version is visible, and maybe not whole.
            raise
        raise self._too_late()

    async def _check_packs(self) -> None:
        if not await self._is_whole():
            raise StorageConflictError(
                "packs that the version needs were removed while it was being saved; save again",
                retryable=True,
            )

    async def _packs(self) -> AsyncGenerator[Pack, None]:
        for source in self._files:
            if source.type != "file":
                self._entries.append(_without_bytes(source))
                continue
            squeeze = self._catalog.classes.squeezes(source.name)
            file = CutFile(source, self._known.__contains__)
            chunks: list[Chunk] = []
            try:
                while cuts := await in_thread(file.next, _BATCH):
                    for full in await in_thread(self._take, cuts, chunks, squeeze=squeeze):
                        yield full
                    self._done += sum(cut.size for cut in cuts)
                    if self._progress is not None:
                        self._progress(self._done, self._total)
            finally:
                file.close()
            self._entries.append(
                FileEntry(source.name, file.size, file.digest, file.mode, file.modified, tuple(chunks))
            )
        if self._more.file is not None:
            name, data = await self._more.file(self._entries)
            self._made = data
            chunks = []
            cuts = await in_thread(cut_bytes, data, self._known.__contains__)
            for full in await in_thread(self._take, cuts, chunks, squeeze=True):
                yield full
            modified = int(self._catalog.seals.now().timestamp() * 1000) * 1_000_000
            digest = hashlib.sha256(data).digest()
            self._entries.append(FileEntry(name, len(data), digest, 0o644, modified, tuple(chunks)))
            self._done += len(data)
        if (last := self._packer.take()) is not None:
            yield last

    def _take(self, cuts: list[Cut], chunks: list[Chunk], *, squeeze: bool) -> list[Pack]:
        full: list[Pack] = []
        for cut in cuts:
            chunk = self._known.get(cut.digest)
            if chunk is None:
                # What was not known when it was read has its data.
                chunk, pack = self._packer.add(cut.digest, cut.data or b"", squeeze=squeeze)
                self._known[cut.digest] = chunk
                if pack is not None:
                    full.append(pack)
            chunks.append(chunk)
        return full

    async def _store_pack(self, pack: Pack) -> StorageResult:
        catalog = self._catalog
        options: StoreOptions = {"content_type": PLAIN, "compress": False}
        chosen = catalog.classes.storage_class(
            KINDS[catalog.kind], catalog.provider.capabilities.storage_classes
        )
        if chosen is not None and len(pack.data) >= LEAST_COOL:
            options["storage_class"] = chosen
        return await catalog.provider.store(catalog.layout.packs + pack.name, pack.data, **options)

    async def _describe(self, parent: ArtifactVersion | None) -> ArtifactVersion:
        """Store the index; what the version will say, but for its number."""
        catalog = self._catalog
        index = await in_thread(encode_index, self._entries)
        if len(index) > LARGEST_INDEX:
            raise StorageInvalidRequestError(f"the index of the version would have {len(index)} bytes")
        await in_thread(check_index, index, self._entries)
        await catalog.provider.store(
            catalog.layout.indexes + self._session,
            index,
            content_type="application/jsonl",
            compress="zstd",
        )
        return ArtifactVersion(
            catalog.kind,
            catalog.name,
            0,
            catalog.seals.now(),
            sum(entry.type == "file" for entry in self._entries),
            self._done,
            self._packer.stored,
            None if parent is None else parent.version,
            self._session,
            hashlib.sha256(index).digest(),
            catalog.seals.check_signs(),
            self._more.details,
        )

    async def _commit(self, described: ArtifactVersion) -> ArtifactVersion:
        """Make the version visible, under the next number that no other save has."""
        catalog = self._catalog
        for _ in range(_TRIES):
            await self._check_packs()
            if not await is_leased(catalog, self._session):
                raise self._too_late()
            numbers = await catalog.numbers()
            version = replace(described, version=(numbers[-1] if numbers else 0) + 1)
            if version.version > MOST_VERSIONS:
                raise StorageQuotaExceededError(f"there can be no more than {MOST_VERSIONS} versions")
            statement = await catalog.seals.seal_version(version)
            key = catalog.layout.version(version.version)
            self._settled = False
            try:
                await catalog.provider.store(
                    key, statement, content_type="application/json", compress=False, if_absent=True
                )
            except StorageAlreadyExistsError:
                self._settled = True  # Another save was faster; this one becomes the version after it.
                continue
            except StorageError as error:
                self._settled = error.applied == "no"
                raise
            await self._check_committed(key)
            return version
        raise StorageConflictError(
            f"the {catalog.kind} {catalog.name!r} gets new versions faster than this one could be added",
            retryable=True,
        )

    def _too_late(self) -> StorageConflictError:
        return StorageConflictError(
            "the save took so long that a prune took it for abandoned; save again, and prune with a longer "
            "`abandoned_after`",
            retryable=True,
        )

    async def _clean_up(self) -> None:
        """Remove what no version will need; a later prune removes what this leaves behind."""
        catalog, layout = self._catalog, self._catalog.layout
        try:
            packs = [item.key async for item in catalog.provider.scan(f"{layout.packs}{self._session}-")]
            await catalog.provider.batch_delete([*packs, layout.indexes + self._session])
            await drop_lease(catalog, self._session)
        except StorageError:
            return  # Why the save failed is what the caller needs to know.


def _without_bytes(source: SourceFile) -> FileEntry:
    digest = hashlib.sha256(source.target.encode()).digest()
    return FileEntry(source.name, 0, digest, source.mode, source.modified, (), source.type, source.target)
