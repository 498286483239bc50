"""Versions and tags of one artifact, read and verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from credstore.artifacts.classes import Classes
from credstore.artifacts.index import FileEntry, parse_index
from credstore.artifacts.layout import MOST_VERSIONS, Kind, Layout, number_in
from credstore.artifacts.names import checked_name
from credstore.artifacts.statements import (
    LARGEST_STATEMENT,
    ArtifactVersion,
    Seals,
    StageChange,
    statement_digest,
)
from credstore.concurrency import in_thread, map_all
from credstore.errors import ErrorCode, StorageError, StorageIntegrityError, StorageNotFoundError
from credstore.proofs.format.errors import ProofError
from credstore.provider.provider import StorageProvider

LARGEST_INDEX = 4 * 1024**3
"""Bytes; files of some 4 TB."""
REFUSED = (ProofError, StorageIntegrityError)
"""What is wrong with what was stored, not with the store."""
_AT_ONCE = 8

E = TypeVar("E", bound=StorageError)


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
        if not 0 < number <= MOST_VERSIONS:
            raise self.missing(f"version with a number that is not from 1 to {MOST_VERSIONS}")
        data = await self._fetch(self.layout.version(number))
        if data is None:
            raise self.missing(f"version {number}")
        return data

    async def _fetch(self, key: str) -> bytes | None:
        try:
            return await self.provider.retrieve(key, max_size=LARGEST_STATEMENT)
        except StorageError as error:
            if error.code != ErrorCode.TOO_LARGE:
                raise
            raise StorageIntegrityError("it is too large for a signed statement", key=key) from error

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
        try:
            return self.seals.open_version(await self.statement(number), self.kind, self.name, number)
        except REFUSED as error:
            raise refused(error, self.kind, self.name, [number]) from error

    async def versions(self, numbers: Iterable[int]) -> list[ArtifactVersion]:
        """As `version`, for several; without those that a prune has removed meanwhile.

        Raises:
            ProofError: Signatures are not in order; the message has the numbers of all such versions.
            StorageIntegrityError: As that, for statements about other versions.
        """
        asked = list(numbers)
        found = await map_all(asked, self._version_or_refusal, at_once=_AT_ONCE)
        failed = {
            number: each for number, each in zip(asked, found, strict=True) if isinstance(each, REFUSED)
        }
        if failed:
            # To leave one out is not for us to decide: it may be the one that counts.
            first = next(iter(failed.values()))
            raise first if len(failed) == 1 else refused(_cause(first), self.kind, self.name, list(failed))
        return [each for each in found if isinstance(each, ArtifactVersion)]

    async def _version_or_refusal(
        self, number: int
    ) -> ArtifactVersion | ProofError | StorageIntegrityError | None:
        try:
            return await self._version_or_none(number)
        except REFUSED as error:
            return error

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
        try:
            data = await self._fetch(self.layout.tags + tag)
            if data is None:
                raise self.missing(f"tag {tag!r}")
            return self.seals.open_tag(data, self.kind, self.name, tag)
        except REFUSED as error:
            what = f"the tag {tag!r} of the {self.kind} {self.name!r}"
            raise named(error, what, "`untag` removes it") from error

    async def stages(self) -> list[tuple[StageChange, bytes]]:
        """All changes of stage, in their order, verified, with their statements.

        Raises:
            ProofError: A signature is not in order.
            StorageIntegrityError: One was removed that has a later one, or moved.
        """
        try:
            return await self._stages()
        except REFUSED as error:
            # What came before a change that is refused is not how it is: nothing of the history counts then.
            what = f"the history of the stages of the model {self.name!r}"
            raise named(error, what, "`remove_stages` removes all of it") from error

    async def stage_numbers(self) -> list[int]:
        """Numbers of the changes of stage, ascending, whether they count or not."""
        return await self._numbers(self.layout.stages)

    async def _stages(self) -> list[tuple[StageChange, bytes]]:
        numbers = await self.stage_numbers()
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
        data = await self._fetch(key)
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
        try:
            return self.seals.open_version(statement, self.kind, self.name, number)
        except REFUSED as error:
            raise refused(error, self.kind, self.name, [number]) from error

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


def refused(error: E, kind: Kind, name: str, numbers: Sequence[int]) -> E:
    """The same error, which says what versions were refused, and what to do about it."""
    return named(
        error,
        f"version{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))} of the {kind} {name!r}",
        "load others by their numbers, or remove one with `remove_version`",
    )


def named(error: E, what: str, way_out: str) -> E:
    """The same error, which says what was refused, and what to do about it."""
    return type(error)(f"{what}: {error.message}; {way_out}", **error.facts())


def _cause(error: E) -> E:
    """The error that was given a name."""
    cause = error.__cause__
    return cause if isinstance(cause, type(error)) else error


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
