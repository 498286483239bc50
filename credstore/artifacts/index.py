"""The index of a version: its files, and where each chunk of them is. JSON Lines; pure.

The first line names the format and the packs. Then comes a line for each file, symbolic link and empty
folder, an object, with the member "type" for the latter two. That of a file is followed by one for each of
its chunks, an array: SHA-256 in hex, number of the pack, first byte in it, bytes there, bytes when
decompressed (Zstandard, RFC 8878; equal numbers mean stored as it is). The SHA-256 of all of this is signed,
so it is read only after that was compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast, get_args

from credstore.artifacts.layout import pack_session
from credstore.artifacts.names import LONGEST_PATH, folders_of, is_file_name
from credstore.errors import StorageIntegrityError, StorageInvalidRequestError

FORMAT = "credstore.index/1"
LARGEST_CHUNK = 1024 * 1024
"""Bytes; more than any version of credstore cuts."""
_DIGEST = 32
EntryType = Literal["file", "link", "folder"]
_CHUNK_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of bytes of one or more files.

    Attributes:
        digest: SHA-256 of its bytes.
        pack: Name of the pack it is in.
        offset: Its first byte there.
        stored: Bytes there.
        size: Bytes when decompressed.
    """

    digest: bytes
    pack: str
    offset: int
    stored: int
    size: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of a version, or a symbolic link or empty folder, which have no bytes.

    Attributes:
        name: Relative path, segments joined by "/".
        size: Bytes.
        digest: SHA-256 of its bytes.
        mode: Permission bits.
        modified: Nanoseconds since 1970.
        chunks: What it consists of, in order.
        type: What it is.
        target: Where a link leads, as it says itself.
    """

    name: str
    size: int
    digest: bytes
    mode: int
    modified: int
    chunks: tuple[Chunk, ...]
    type: EntryType = "file"
    target: str = ""


def encode_index(files: Iterable[FileEntry]) -> bytes:
    """The bytes of an index, as stored."""
    packs: dict[str, int] = {}
    lines: list[str] = []
    for file in files:
        members: dict[str, object] = {
            "name": file.name,
            "size": file.size,
            "sha256": file.digest.hex(),
            "mode": file.mode,
            "modified": file.modified,
        }
        if file.type != "file":
            members["type"] = file.type
        if file.type == "link":
            members["target"] = file.target
        lines.append(json.dumps(members, ensure_ascii=False, separators=(",", ":")))
        lines += [
            f'["{each.digest.hex()}",{packs.setdefault(each.pack, len(packs))},'
            f"{each.offset},{each.stored},{each.size}]"
            for each in file.chunks
        ]
    head = json.dumps({"format": FORMAT, "packs": list(packs)}, separators=(",", ":"))
    return "\n".join((head, *lines, "")).encode()


def parse_index(data: bytes) -> tuple[FileEntry, ...]:
    """Read an index.

    Raises:
        StorageIntegrityError: Not an index of this version, or one that names a file outside its folder.
    """
    try:
        return tuple(_files(data))
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise StorageIntegrityError(f"the index of the version cannot be read: {error}") from None


def check_index(data: bytes, files: Iterable[FileEntry]) -> None:
    """Whether readers find in an index the files that it was made of; one at a time, to save memory.

    Raises:
        StorageInvalidRequestError: They would refuse it, or see something else.
    """
    try:
        for read, meant in zip(_files(data), files, strict=True):
            if read != meant:
                _refuse(f"{meant.name[:200]!r} would come back as something else")
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise StorageInvalidRequestError(f"these files cannot be kept as they are: {error}") from None


def _files(data: bytes) -> Iterator[FileEntry]:
    lines = iter(data.decode().split("\n"))
    head = json.loads(next(lines))
    if head["format"] != FORMAT:
        _refuse(f"its format is not {FORMAT}")
    packs = [each for each in cast("list[str]", head["packs"]) if pack_session(each)]
    if len(packs) != len(head["packs"]):
        _refuse("it names an invalid pack")
    members: dict[str, Any] | None = None
    chunks: list[Chunk] = []
    seen: set[str] = set()
    above: set[str] = set()
    for line in lines:
        value: Any = json.loads(line) if line else None
        if line.startswith("["):
            if members is None:
                _refuse("a chunk is of no file")
            chunks.append(_chunk(value, packs))
            continue
        if members is not None:
            yield _file(members, tuple(chunks), seen, above)
        members, chunks = value, []
    if members is not None:
        _refuse("its last line is cut")


def _file(members: dict[str, Any], chunks: tuple[Chunk, ...], seen: set[str], above: set[str]) -> FileEntry:
    """One of the entries.

    Args:
        members: Its line.
        chunks: Of its bytes.
        seen: Names of those before it.
        above: The folders that those are in.
    """
    name: str = members["name"]
    if not is_file_name(name) or name in seen:
        _refuse("it names a file that is outside its folder, or twice")
    seen.add(name)
    folders = folders_of(name)
    # Below a link it would be somewhere else.
    if name in above or not seen.isdisjoint(folders):
        _refuse("it has something below a link, a file or an empty folder")
    above.update(folders)
    file = FileEntry(
        name,
        _number(members["size"]),
        _digest(members["sha256"]),
        _number(members["mode"]) & 0o777,
        _number(members["modified"]),
        chunks,
        _type(members.get("type", "file")),
        _target(members.get("target", "")),
    )
    if (file.type == "link") != bool(file.target) or (file.type != "file" and chunks):
        _refuse("something other than a file has bytes, or a link leads nowhere")
    if sum(chunk.size for chunk in chunks) != file.size:
        _refuse("a file is not as long as its chunks")
    return file


def _chunk(fields: list[Any], packs: list[str]) -> Chunk:
    if len(fields) != _CHUNK_FIELDS:
        _refuse("a chunk does not have five fields")
    pack, offset, stored, size = (_number(each) for each in fields[1:])
    if not 1 <= stored <= size <= LARGEST_CHUNK:
        _refuse(f"a chunk does not have 1 to {LARGEST_CHUNK} bytes")
    return Chunk(_digest(fields[0]), packs[pack], offset, stored, size)


def _type(value: object) -> EntryType:
    if value not in get_args(EntryType):
        _refuse("it has something that is neither a file nor a link nor a folder")
    return cast("EntryType", value)


def _target(value: object) -> str:
    if not isinstance(value, str) or "\0" in value or len(value.encode()) > LONGEST_PATH:
        _refuse("a link leads to what cannot be a path")
    return value


def _digest(text: str) -> bytes:
    digest = bytes.fromhex(text)
    if len(digest) != _DIGEST:
        _refuse("a digest does not have 32 bytes")
    return digest


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        _refuse("a number is not one, or out of range")
    return value


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)
