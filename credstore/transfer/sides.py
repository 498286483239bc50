"""What a transfer needs of either end: the protocol that folders and stores both keep."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from credstore.concurrency import in_thread, opened_in_thread
from credstore.errors import ErrorCode, StorageIntegrityError
from credstore.model import StoreOptions
from credstore.transfer.filters import Filter
from credstore.transfer.mapping import Held
from credstore.transfer.plan import Entry, Facts

MTIME = "mtime"
"""Metadata name of the time a file was modified, in Unix seconds with a fraction, as rclone writes it.
Source: rclone.org, "Modification times" of its S3, Azure and Google back ends."""
SMALL = 1024 * 1024
"""Bytes up to which a file is read at once."""
Depth: TypeAlias = Literal["facts", "digest", "read"]
"""How closely to look: at what is recorded, also at bytes where no digest is recorded, or at the bytes."""
Flow: TypeAlias = Callable[[int], Awaitable[None]]
"""Awaited with the size of each piece that was read: counts it, and waits where there is a limit."""


def seconds(nanoseconds: int) -> float:
    """Unix seconds of nanoseconds, rounded the same way everywhere, so that equal times stay equal."""
    return nanoseconds / 10**9


def mtime_text(nanoseconds: int) -> str:
    """Unix time as metadata has it.

    >>> mtime_text(1_700_000_000_000_000_001), mtime_text(-1)
    ('1700000000.000000001', '-0.000000001')
    """
    sign, count = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    return f"{sign}{count // 10**9}.{count % 10**9:09d}"


def mtime_of(text: str | None) -> int | None:
    """Nanoseconds since 1970 of what `mtime_text`, or rclone, wrote; None of anything else.

    >>> mtime_of("1700000000.5"), mtime_of("yesterday"), mtime_of("-0.000000001")
    (1700000000500000000, None, -1)
    """
    if text is None or not text.isascii():
        return None
    number = text.removeprefix("-")
    whole, _, fraction = number.partition(".")
    if not whole.isdigit() or len(whole) > 11 or not (fraction or "0").isdigit():  # noqa: PLR2004 - the year 5138
        return None
    count = int(whole) * 10**9 + int(fraction[:9].ljust(9, "0"))
    return -count if text.startswith("-") else count


@dataclass(slots=True)
class Content:
    """One object or file on its way, decoded.

    Attributes:
        tag: Of the state that is read; empty where it is no longer the one that was listed.
        size: Plain bytes, or None where that is only known at the end.
        data: Its bytes, all at once, as a file, or as a stream.
        digest: SHA-256 of the plain bytes; of a stream, once it was read to its end.
        modified: When it was made, Unix nanoseconds, or None.
        options: What is stored with it.
        lost: What could not be carried this far.
        settled: Raises if the source has changed since it was opened.
    """

    tag: str
    size: int | None
    data: bytes | Path | AsyncIterator[bytes]
    digest: bytes | None
    modified: int | None
    options: StoreOptions
    settled: Callable[[], Awaitable[None]]
    lost: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Written:
    """What is at the destination now.

    Attributes:
        version: As `Entry.version` of a listing will have it; empty where that is unknown.
        digest: SHA-256 that source and destination were verified to have.
        tag: Of the source, as `Content.tag`.
        lost: What could not be carried.
    """

    version: str
    digest: bytes | None
    tag: str
    lost: tuple[str, ...] = ()


class Side(Protocol):
    """One end of a transfer.

    Attributes:
        label: For messages.
        identity: The same for the same place, in any process; names its journal.
        ordered: Whether entries ascend by name.
        plain: Whether the sizes of a listing are those of plain bytes.
        sealed: The store id of its encryption on the client, with which sizes say nothing about what is in
            there; "" for none.
        branches: Whether it can hold `a` and `a/b`.
        only: Name of the one object that counts here, and what it is called; None where all do.
        held: What it calls the names that it cannot hold.
        empty_folders: Whether folders with nothing in them count.
    """

    label: str
    identity: str
    ordered: bool
    plain: bool
    sealed: str
    branches: bool
    only: tuple[str, str] | None
    held: Held
    empty_folders: bool

    async def folds(self) -> bool:
        """Whether it confuses names that differ only in case or in their form of Unicode."""
        ...

    def unfit(self, name: str) -> str | None:
        """Why it cannot hold a name, or None where it can."""
        ...

    def entries(self, wanted: Filter, *, destination: bool) -> AsyncGenerator[Entry, None]:
        """What is there, ascending by name where `ordered`; `refused` ones come in any order.

        Args:
            wanted: Leave out the others.
            destination: It may not exist yet; what earlier runs left behind is removed.

        Raises:
            StorageError: It cannot be listed.
        """
        ...

    async def look(self, entry: Entry, depth: Depth) -> Facts:
        """More about one of them.

        Raises:
            StorageError: It cannot be looked at.
        """
        ...

    async def prepare(self, entries: Sequence[Entry]) -> None:
        """Say which ones will be read next, so that what is small can be read together.

        What was prepared before and not read yet is forgotten.
        """
        ...

    def read(self, entry: Entry, flow: Flow) -> AbstractAsyncContextManager[Content]:
        """Open one of them, decoded.

        Raises:
            StorageError: It cannot be read, or, while reading, changed.
        """
        ...

    async def write(
        self, name: str, content: Content, *, if_absent: bool, verify: bool, flow: Flow
    ) -> Written:
        """Put content under a name, whole or not at all, and compare it with what was read.

        Raises:
            StorageAlreadyExistsError: `if_absent`, and there is something.
            StorageIntegrityError: What is there now is not what was read (code "COPY_DIFFERS").
            StorageError: Anything else.
        """
        ...

    async def below(self, name: str) -> int:
        """How many things there are in a folder that is where `name` is to be written."""
        ...

    async def make_way(self, name: str) -> None:
        """Remove empty folders that are where `name` is to be written; what has anything in it stays."""
        ...

    async def delete(self, entry: Entry) -> None:
        """Delete exactly this state of it; it is not an error that it is gone already.

        Raises:
            StoragePreconditionFailedError: It is in another state, and was kept.
            StorageError: Anything else.
        """
        ...


def pair_name(source: Side, destination: Side) -> str:
    """The same 32 hex digits for the same two places; nothing of where they are can be read from it."""
    pair = f"{source.identity} -> {destination.identity}"
    if source.sealed or destination.sealed:  # What was sent there in plain text is not what is there now.
        pair += f" encrypted as {source.sealed} -> {destination.sealed}"
    return hashlib.sha256(pair.encode(errors="surrogateescape")).hexdigest()[:32]


def differs() -> StorageIntegrityError:
    """The error of a copy that is not what was read."""
    return StorageIntegrityError(
        "the copy, read back, is not what was read from the source; the source was kept",
        code=ErrorCode.COPY_DIFFERS,
        applied="maybe",
    )


async def pieces_of(data: Path | AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The bytes of content, piece by piece."""
    if isinstance(data, Path):
        file = await opened_in_thread(data.open, "rb")
        try:
            while chunk := await in_thread(file.read, SMALL):
                yield chunk
        finally:
            await in_thread(file.close)
    else:
        async for chunk in data:
            yield chunk
