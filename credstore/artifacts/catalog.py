"""Versions and tags of one artifact, read and verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from credstore.artifacts.classes import Classes
from credstore.artifacts.index import FileEntry, parse_index
from credstore.artifacts.layout import Kind, Layout, number_in
from credstore.artifacts.names import checked_name
from credstore.artifacts.statements import ArtifactVersion, Seals, StageChange, statement_digest
from credstore.concurrency import in_thread, map_all
from credstore.errors import ErrorCode, StorageIntegrityError, StorageNotFoundError
from credstore.provider.provider import StorageProvider

LARGEST_INDEX = 4 * 1024**3
"""Bytes; files of some 4 TB."""
_LARGEST_STATEMENT = 64 * 1024
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Catalog:
    """One artifact in a store.

    Attributes:
        provider: The store.
        seals: Verifies what is read.
        kind: Of the artifact.
        name: Of the artifact.
        layout: Its keys.
        classes: What files are, by their names.
    """

    provider: StorageProvider
    seals: Seals
    kind: Kind
    name: str
    layout: Layout
    classes: Classes

    @classmethod
    def of(
        cls, provider: StorageProvider, seals: Seals, root: str, kind: Kind, name: str, *, classes: Classes
    ) -> Catalog:
        """The artifact of this kind and name, whether it is there or not.

        Raises:
            StorageInvalidRequestError: This cannot be a name.
        """
        layout = Layout(f"{root}{kind}/{checked_name(kind, name)}/")
        return cls(provider, seals, kind, name, layout, classes)

    async def numbers(self) -> list[int]:
        """Numbers of the versions, ascending."""
        return await self._numbers(self.layout.versions)

    async def _numbers(self, prefix: str) -> list[int]:
        found = [number_in(prefix, item.key) async for item in self.provider.scan(prefix)]
        return sorted(number for number in found if number is not None)

    async def statement(self, number: int) -> bytes:
        """The signed statement of a version, not verified yet.

        Raises:
            StorageNotFoundError: The version does not exist (code "VERSION_NOT_FOUND").
        """
        key = self.layout.version(number)
        data = await self.provider.retrieve(key, max_size=_LARGEST_STATEMENT)
        if data is None:
            raise self.missing(f"version {number}")
        return data

    def missing(self, what: str) -> StorageNotFoundError:
        """The error for what is not there."""
        return StorageNotFoundError(
            f"the {self.kind} {self.name!r} has no {what}", code=ErrorCode.VERSION_NOT_FOUND
        )

    async def version(self, number: int) -> ArtifactVersion:
        """What the verified statement of a version says.

        Raises:
            StorageNotFoundError: The version does not exist.
            ProofError: Its signature is not in order.
            StorageIntegrityError: It is about another version.
        """
        return self.seals.open_version(await self.statement(number), self.kind, self.name, number)

    async def versions(self, numbers: Iterable[int]) -> list[ArtifactVersion]:
        """As `version`, for several; without those that a prune has removed meanwhile."""
        found = await map_all(list(numbers), self._version_or_none, at_once=_AT_ONCE)
        return [each for each in found if each is not None]

    async def _version_or_none(self, number: int) -> ArtifactVersion | None:
        try:
            return await self.version(number)
        except StorageNotFoundError as error:
            if error.code != ErrorCode.VERSION_NOT_FOUND:
                raise
            return None

    async def latest(self) -> ArtifactVersion | None:
        """The version with the largest number, or None."""
        while numbers := await self.numbers():
            # Only if there is a later one by now, a prune has removed it.
            if (found := await self._version_or_none(numbers[-1])) is not None:
                return found
        return None

    async def tags(self) -> dict[str, int]:
        """All tags with the number of the version each names, verified."""
        prefix = self.layout.tags
        names = [item.key.removeprefix(prefix) async for item in self.provider.scan(prefix)]
        found = await map_all(names, self._number_or_none, at_once=_AT_ONCE)
        # A tag may have been removed since it was listed.
        return {tag: number for tag, number in zip(names, found, strict=True) if number is not None}

    async def _number_or_none(self, tag: str) -> int | None:
        try:
            number, _ = await self._tag(tag)
        except StorageNotFoundError as error:
            if error.code != ErrorCode.VERSION_NOT_FOUND:
                raise
            return None
        return number

    async def _tag(self, tag: str) -> tuple[int, bytes]:
        data = await self.provider.retrieve(self.layout.tags + tag, max_size=_LARGEST_STATEMENT)
        if data is None:
            raise self.missing(f"tag {tag!r}")
        return self.seals.open_tag(data, self.kind, self.name, tag)

    async def stages(self) -> list[tuple[StageChange, bytes]]:
        """All changes of stage, in their order, verified, with their statements.

        Raises:
            ProofError: A signature is not in order.
            StorageIntegrityError: One was removed that has a later one, or moved.
        """
        numbers = await self._numbers(self.layout.stages)
        if numbers != list(range(1, len(numbers) + 1)):
            raise StorageIntegrityError(f"a change of the stages of the model {self.name!r} is missing")
        statements = await map_all(numbers, self._stage, at_once=_AT_ONCE)
        found: list[tuple[StageChange, bytes]] = []
        previous: bytes | None = None
        for number, data in zip(numbers, statements, strict=True):
            found.append((self.seals.open_stage(data, self.name, number, previous), data))
            previous = data
        return found

    async def _stage(self, number: int) -> bytes:
        key = self.layout.stage(number)
        data = await self.provider.retrieve(key, max_size=_LARGEST_STATEMENT)
        if data is None:
            raise StorageIntegrityError("a change of stage was removed while it was being read", key=key)
        return data

    async def pinned(self) -> frozenset[int]:
        """Numbers of the versions that have a tag or are in a stage."""
        tagged = frozenset((await self.tags()).values())
        if self.kind != "model":
            return tagged
        return tagged | stages_now(change for change, _ in await self.stages()).keys()

    async def find(self, wanted: int | str | None) -> ArtifactVersion:
        """The version with this number or tag; the latest for None.

        Raises:
            StorageNotFoundError: There is none.
            ProofError: A signature is not in order.
            StorageIntegrityError: A statement is about something else.
        """
        if wanted is None:
            latest = await self.latest()
            if latest is None:
                raise self.missing("version")
            return latest
        if isinstance(wanted, int):
            return await self.version(wanted)
        number, digest = await self._tag(checked_name("tag", wanted))
        statement = await self.statement(number)
        if statement_digest(statement) != digest:
            raise StorageIntegrityError(
                f"the tag {wanted!r} belongs to another version {number}, which is no longer there"
            )
        return self.seals.open_version(statement, self.kind, self.name, number)

    async def files(self, version: ArtifactVersion) -> tuple[FileEntry, ...]:
        """The files of a version, verified.

        Raises:
            StorageIntegrityError: Its index is missing, or not what was signed.
        """
        key = self.layout.indexes + version.index
        data = await self.provider.retrieve(key, max_size=LARGEST_INDEX)
        if data is None:
            raise StorageIntegrityError(
                f"the index of version {version.version} of the {self.kind} {self.name!r} is missing", key=key
            )
        return await in_thread(_verified, data, version.digest)


def stages_now(changes: Iterable[StageChange]) -> dict[int, StageChange]:
    """The last change of each version that is in a stage, by its number."""
    last = {change.version: change for change in changes}
    return {number: change for number, change in last.items() if change.stage is not None}


def _verified(data: bytes, digest: bytes) -> tuple[FileEntry, ...]:
    if hashlib.sha256(data).digest() != digest:
        raise StorageIntegrityError(
            "the index of the version is not what was signed", code=ErrorCode.DIGEST_MISMATCH
        )
    return parse_index(data)
