"""Public trust lists: where they are published, fetching them, and what was saved of them.

Rules of this file: addresses are data, and none is confirmed before a list came from it. A list is saved only
if it can be read; its address, the date of fetching and the SHA-256 of its files are saved with it and shown
in every verdict. Nothing is fetched but by `update_lists`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from credstore.concurrency import in_thread
from credstore.errors import StorageConfigurationError, StorageError
from credstore.files import write_file
from credstore.proofs.c2pa.codes import an_object, objects
from credstore.proofs.c2pa.trust import C2paTrust, Purpose, TrustList

FetchFile: TypeAlias = Callable[[str], Awaitable[bytes | None]]
"""Fetches a file of up to 16 MiB; None where there is none."""
_INDEX = "lists.json"
_C2PA = "https://raw.githubusercontent.com/c2pa-org/conformance-public/refs/heads/main/trust-list"
_INTERIM = "https://contentcredentials.org/trust"


@dataclass(frozen=True, slots=True)
class PublicList:
    """A list that someone publishes.

    Attributes:
        name: Short, part of file names.
        title: What verdicts call it.
        purpose: What it is for.
        anchors: Address of its certificates.
        allowed: Address of certificates trusted themselves, or None.
        purposes: Address of a file of extended key usages, or None.
        form: "pem", or "jwks" for IPTC's list in JSON.
    """

    name: str
    title: str
    purpose: Purpose
    anchors: str
    allowed: str | None = None
    purposes: str | None = None
    form: Literal["pem", "jwks"] = "pem"


PUBLIC_LISTS: tuple[PublicList, ...] = (
    PublicList("c2pa-signers", "C2PA trust list", "signers", f"{_C2PA}/C2PA-TRUST-LIST.pem"),
    PublicList(
        "c2pa-timestamps", "C2PA time stamp trust list", "timestamps", f"{_C2PA}/C2PA-TSA-TRUST-LIST.pem"
    ),
    # Frozen at the end of 2025: cameras and programs that were certified before are on no other.
    PublicList(
        "interim",
        "interim trust list of Content Credentials",
        "signers",
        f"{_INTERIM}/anchors.pem",
        f"{_INTERIM}/allowed.pem",
        f"{_INTERIM}/store.cfg",
    ),
    PublicList(
        "iptc-news",
        "IPTC Origin Verified News Publishers List",
        "identities",
        "https://iptc.org/verified-news-publishers-list/list.json",
        form="jwks",
    ),
)
"""Not confirmed: addresses as publishers' documents and other programs name them, to be seen by fetching."""


@dataclass(frozen=True, slots=True)
class ListUpdate:
    """What became of one list.

    Attributes:
        name: Of the list.
        title: Of the list.
        source: Address.
        certificates: Number read, 0 where it failed.
        sha256: Of its files, or "".
        error: Why it was not saved, or None. What was saved before stays.
    """

    name: str
    title: str
    source: str
    certificates: int
    sha256: str
    error: str | None = None


def lists_folder() -> Path:
    """Where lists are saved: below `XDG_DATA_HOME`, or `~/.local/share`."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "credstore" / "trust-lists"


async def update_lists(
    fetch: FetchFile,
    *,
    folder: Path | None = None,
    lists: Iterable[PublicList] = PUBLIC_LISTS,
    now: datetime | None = None,
) -> list[ListUpdate]:
    """Fetch public lists and save those that can be read.

    Args:
        fetch: See `FetchFile`; a `StorageError` of it is that list's failure.
        folder: Where to save; by default `lists_folder`.
        lists: Which.
        now: The date to save with them.

    Raises:
        StorageConfigurationError: The folder cannot be written to.
    """
    place = folder or lists_folder()
    date = (now or datetime.now(UTC)).date().isoformat()
    done: list[ListUpdate] = []
    for each in lists:
        try:
            files, made = await _fetched(each, fetch, date)
        except StorageError as error:
            done.append(ListUpdate(each.name, each.title, each.anchors, 0, "", error.message))
            continue
        await in_thread(_save, place, each, files, made)
        count = made.used_as(each.purpose).certificates
        done.append(ListUpdate(each.name, each.title, each.anchors, count, made.sha256))
    return done


def saved_lists(folder: Path | None = None) -> C2paTrust:
    """The lists that were saved; none where none were.

    Raises:
        StorageConfigurationError: What was saved cannot be read, or was changed since.
    """
    place = folder or lists_folder()
    by_purpose: dict[str, list[TrustList]] = {"signers": [], "timestamps": [], "identities": []}
    for name, entry in _index(place).items():
        purpose = str(entry.get("purpose"))
        if purpose not in by_purpose:
            raise StorageConfigurationError(f"{place / _INDEX} has a list for {purpose!r}")
        anchors, allowed = (_file(place, f"{name}{end}") for end in (".pem", ".allowed.pem"))
        purposes = _file(place, f"{name}.cfg")
        made = TrustList.from_pem(
            anchors,
            allowed=allowed,
            purposes=purposes.decode(errors="replace") if purposes else None,
            name=str(entry.get("title")),
            date=str(entry.get("date")),
            source=str(entry.get("source")),
        )
        if made.sha256 != entry.get("sha256"):
            raise StorageConfigurationError(
                f"the saved list {name} was changed since; fetch it again: credstore trust update {name}"
            )
        by_purpose[purpose].append(made)
    return C2paTrust(
        tuple(by_purpose["signers"]), tuple(by_purpose["timestamps"]), tuple(by_purpose["identities"])
    )


async def _fetched(each: PublicList, fetch: FetchFile, date: str) -> tuple[dict[str, bytes], TrustList]:
    files: dict[str, bytes] = {}
    for end, address in ((".pem", each.anchors), (".allowed.pem", each.allowed), (".cfg", each.purposes)):
        if address is None:
            continue
        data = await fetch(address)
        if data is None:
            raise StorageConfigurationError(f"there is nothing at {address}")
        files[end] = data
    if each.form == "jwks":
        files[".pem"], files[".allowed.pem"] = _from_jwks(files[".pem"])
    made = TrustList.from_pem(
        files[".pem"],
        allowed=files.get(".allowed.pem", b""),
        purposes=files[".cfg"].decode(errors="replace") if ".cfg" in files else None,
        name=each.title,
        date=date,
        source=each.anchors,
    )
    return files, made


def _from_jwks(data: bytes) -> tuple[bytes, bytes]:
    """Certificates of IPTC's list: authorities, and those trusted themselves. Thumbprints alone are left out.

    Source: IPTC, "Origin Verified News Publishers List format".
    """
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError):
        raise StorageConfigurationError("the list is not JSON") from None
    anchors, allowed = [b""], [b""]
    for entity in objects(an_object(document).get("entities")):
        for key in objects(an_object(entity.get("jwks")).get("keys")):
            chain: object = key.get("x5c")
            if isinstance(chain, list) and chain:
                pem = _pem(str(cast("list[object]", chain)[0]))
                (anchors if entity.get("isCA") is True else allowed).append(pem)
    return b"".join(anchors), b"".join(allowed)


def _pem(text: str) -> bytes:
    if "BEGIN CERTIFICATE" in text:
        return text.encode("ascii", "replace") + b"\n"
    try:
        der = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def _index(place: Path) -> Mapping[str, Mapping[str, Any]]:
    data = _file(place, _INDEX)
    if not data:
        return {}
    try:
        index: object = json.loads(data)
    except (ValueError, RecursionError):
        index = None
    if not isinstance(index, dict) or not all(
        isinstance(each, dict) and name.replace("-", "").isalnum()
        for name, each in cast("dict[str, object]", index).items()
    ):
        raise StorageConfigurationError(f"{place / _INDEX} cannot be read; fetch the lists again")
    return cast("Mapping[str, Mapping[str, Any]]", index)


def _file(place: Path, name: str) -> bytes:
    try:
        return (place / name).read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StorageConfigurationError(f"cannot read {place / name}: {error.strerror or error}") from None


def _save(place: Path, each: PublicList, files: Mapping[str, bytes], made: TrustList) -> None:
    index = dict(_index(place))
    index[each.name] = {
        "title": each.title,
        "purpose": each.purpose,
        "source": each.anchors,
        "date": made.date,
        "sha256": made.sha256,
        "files": {end: hashlib.sha256(data).hexdigest() for end, data in files.items()},
    }
    try:
        place.mkdir(parents=True, exist_ok=True)
        for end, data in files.items():
            write_file(place / f"{each.name}{end}", data, replace=True)
        # Last, since it is what makes them count.
        write_file(place / _INDEX, json.dumps(index, indent=1, sort_keys=True).encode(), replace=True)
    except OSError as error:
        raise StorageConfigurationError(f"cannot write to {place}: {error.strerror or error}") from None
