"""Classes of files: what a file is, by its name, and how it is therefore stored. Pure.

The first rule that fits decides: the caller's globs, then the end of the name, then its media type. A file
that no rule knows has no class, and is stored as it is.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

from credstore.arguments import typed_request
from credstore.artifacts.layout import Kind
from credstore.model import Codec

Tier = Literal["usual", "cool"]
"""The store's usual class, or the one for what is seldom read, where it has such a one."""
COOL = ("STANDARD_IA", "NEARLINE", "Cool")
"""Names of that class: Amazon's and its relatives', Google's, Azure's."""
LEAST_COOL = 128 * 1024
"""Bytes; a smaller object costs as much as one of this size there (Amazon S3, "Storage classes")."""
PLAIN = "application/octet-stream"


class FileClass(StrEnum):
    """What a file is."""

    AI_MODEL = "AI_MODEL"
    DATASET = "DATASET"
    CONFIG = "CONFIG"
    LOG = "LOG"
    BACKUP = "BACKUP"
    DOCUMENT = "DOCUMENT"
    IMAGE = "IMAGE"
    AUDIO = "AUDIO"
    VIDEO = "VIDEO"


@typed_request
@dataclass(frozen=True, slots=True)
class ClassOptions:
    """How the files of a class are stored.

    Attributes:
        compress: The codec, or False for bytes that would not become smaller. What is compressed in itself
            by the end of its name is never compressed again.
        tier: Which of the store's classes of storage.
        content_type: Media type; None takes it from the name.
        retain_for: How long no one may remove what `put` stores; None locks nothing. It does not hold for
            versions, which `prune` removes.
    """

    compress: Codec | Literal[False] = False
    tier: Tier = "usual"
    content_type: str | None = None
    retain_for: timedelta | None = None


@typed_request
@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a file by its name, and why.

    Attributes:
        path: As it was asked for.
        file_class: Its class, or None.
        rule: The rule that decided.
        compress: The codec, or False.
        content_type: Media type.
        storage_class: The store's name of the class of storage, from 128 KiB on; None for its usual one.
        retain_for: How long no one may remove it, or None.
        reasons: Why each of these is as it is, a sentence each.
    """

    path: str
    file_class: FileClass | None
    rule: str
    compress: Codec | Literal[False]
    content_type: str
    storage_class: str | None
    retain_for: timedelta | None
    reasons: tuple[str, ...]


DEFAULTS: Mapping[FileClass, ClassOptions] = MappingProxyType(
    {
        FileClass.AI_MODEL: ClassOptions(content_type=PLAIN),
        FileClass.DATASET: ClassOptions("zstd"),
        FileClass.CONFIG: ClassOptions("gzip"),
        FileClass.LOG: ClassOptions("zstd", "cool", "text/plain; charset=utf-8"),
        FileClass.BACKUP: ClassOptions("zstd", "cool"),
        FileClass.DOCUMENT: ClassOptions("gzip"),
        FileClass.IMAGE: ClassOptions(),
        FileClass.AUDIO: ClassOptions(),
        FileClass.VIDEO: ClassOptions(),
    }
)
KINDS: Mapping[Kind, FileClass] = MappingProxyType(
    {
        "dataset": FileClass.DATASET,
        "model": FileClass.AI_MODEL,
        "checkpoint": FileClass.AI_MODEL,
        "backup": FileClass.BACKUP,
        "archive": FileClass.LOG,
    }
)
"""Whose tier the packs of a kind of artifact have."""
_ENDS = {
    FileClass.AI_MODEL: "safetensors onnx pt pth ckpt gguf ggml h5 hdf5 keras tflite pb joblib mlmodel",
    FileClass.DATASET: "csv tsv jsonl ndjson parquet arrow feather avro orc npy npz tfrecord libsvm",
    FileClass.CONFIG: "json yaml yml toml ini cfg conf properties env xml",
    FileClass.LOG: "log out err trace",
    FileClass.BACKUP: "bak backup dump sql tar tgz zip 7z rar img iso sqlite db",
    FileClass.DOCUMENT: "pdf doc docx xls xlsx ppt pptx odt ods odp rtf txt md rst html htm epub tex",
    FileClass.IMAGE: "jpg jpeg png gif webp avif heic heif tif tiff bmp svg ico raw cr2 nef dng",
    FileClass.AUDIO: "mp3 wav flac ogg oga opus m4a aac wma aiff mid",
    FileClass.VIDEO: "mp4 m4v mov mkv webm avi mpg mpeg wmv flv",
}
_BY_END = {end: each for each, ends in _ENDS.items() for end in ends.split()}
_SQUEEZERS = frozenset({"gz", "zst", "bz2", "xz", "lz4", "br"})
"""Ends that say only how the file before them is compressed."""
_DENSE = (
    "tgz zip 7z rar parquet orc avro npz docx xlsx pptx odt ods odp epub pdf jpg jpeg png gif webp avif heic "
    "heif mp3 flac ogg oga opus m4a aac wma mp4 m4v mov mkv webm avi mpg mpeg wmv flv safetensors gguf"
)
_SQUEEZED = _SQUEEZERS.union(_DENSE.split())
"""Ends of files that are compressed in themselves, or too dense for it to be worth anything."""
_BY_MEDIA = {
    "image": FileClass.IMAGE,
    "audio": FileClass.AUDIO,
    "video": FileClass.VIDEO,
    "text": FileClass.DOCUMENT,
}


@dataclass(frozen=True, slots=True)
class Classes:
    """The rules of one manager.

    Attributes:
        rules: The caller's globs, over the whole path, and their classes; the first that fits decides.
        options: The caller's, instead of the defaults of a class.
    """

    rules: Mapping[str, FileClass] = field(default_factory=dict[str, FileClass])
    options: Mapping[FileClass, ClassOptions] = field(default_factory=dict[FileClass, ClassOptions])

    def of(self, path: str) -> tuple[FileClass | None, str]:
        """The class of a file, and the rule that decided."""
        for glob, found in self.rules.items():
            if fnmatchcase(path, glob):
                return FileClass(found), f"the glob {glob!r} of this manager"
        ends = _ends(path)
        # What rotates logs puts a number or date behind their names.
        while len(ends) > 1 and (ends[-1] in _SQUEEZERS or ends[-1].replace("-", "").isdigit()):
            ends.pop()
        if ends and ends[-1] in _BY_END:
            return _BY_END[ends[-1]], f"the end '.{ends[-1]}' of its name"
        media = mimetypes.guess_type(path)[0] or ""
        if (known := _BY_MEDIA.get(media.partition("/")[0])) is not None:
            return known, f"its media type {media}"
        return None, "no rule"

    def chosen(self, file_class: FileClass | None) -> ClassOptions:
        """How files of a class are stored."""
        if file_class is None:
            return ClassOptions()
        return self.options.get(file_class, DEFAULTS[file_class])

    def squeezes(self, path: str) -> bool:
        """Whether it is worth trying to compress the chunks of a file; those of an unknown one may be."""
        file_class, _ = self.of(path)
        if set(_ends(path)[-1:]) & _SQUEEZED:
            return False
        return file_class is None or self.chosen(file_class).compress is not False

    def storage_class(self, file_class: FileClass | None, available: Collection[str]) -> str | None:
        """The store's name of the class of storage; None for its usual one."""
        if self.chosen(file_class).tier == "usual":
            return None
        return next((each for each in COOL if each in available), None)

    def explain(self, path: str, available: Collection[str]) -> Explanation:
        """What is known of a file by its name, and why.

        Args:
            path: Segments joined by "/".
            available: The store's classes of storage.
        """
        file_class, rule = self.of(path)
        options = self.chosen(file_class)
        whose = (
            "nothing is known of this file"
            if file_class is None
            else f"this manager says so for {file_class}"
            if file_class in self.options
            else f"the default of {file_class}"
        )
        compress, why = options.compress, whose
        ends = _ends(path)
        if compress is not False and ends and ends[-1] in _SQUEEZED:
            compress, why = False, f"'.{ends[-1]}' is compressed already"
        guessed, coding = mimetypes.guess_type(path)
        content_type = options.content_type or (PLAIN if coding else guessed) or PLAIN
        named = whose if options.content_type else "by its name" if content_type == guessed else "not known"
        storage_class = self.storage_class(file_class, available)
        stored = whose
        if options.tier == "cool":
            stored += (
                ", where the store has no such class"
                if storage_class is None
                else f", from {LEAST_COOL // 1024} KiB on"
            )
        return Explanation(
            path,
            file_class,
            rule,
            compress,
            content_type,
            storage_class,
            options.retain_for,
            (
                f"class {file_class or 'none'}: {rule}",
                f"compress {compress or 'no'}: {why}",
                f"content type {content_type}: {named}",
                f"storage class {storage_class or 'usual'}: {stored}",
                f"retention {options.retain_for or 'none'}: {whose}",
            ),
        )


def _ends(path: str) -> list[str]:
    name = path.rsplit("/", 1)[-1].lower()
    return name.lstrip(".").split(".")[1:] or ([name[1:]] if name.startswith(".") else [])
