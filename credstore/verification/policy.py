"""Whom a verifier trusts, for every kind of evidence: one file in TOML.

Rules of this file: a policy trusts no one by itself. Paths in it are relative to the file; a name that is not
known is refused, since a slip there would trust less, or more, than was meant.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from credstore.artifacts.signing.keys import ModelKey
from credstore.errors import StorageConfigurationError
from credstore.extras import is_installed
from credstore.proofs.attestations.verifiers import sigstore_verifier
from credstore.proofs.c2pa.trust import C2paTrust, TrustList
from credstore.proofs.c2pa.verdict import Ingredients
from credstore.proofs.format.trust import TrustStore, parse_trust_store
from credstore.verification.lists import saved_lists

_LARGEST = 1024 * 1024
_TABLES = ("c2pa", "proofs", "keys", "sigstore")
_C2PA = ("ingredients", "snapshot", "saved", "signers", "timestamps", "identities")
_LIST = ("name", "file", "allowed", "purposes", "date", "source")
_PROOFS = ("trust", "threshold", "timestamps")
_KEY = ("name", "file")
_IDENTITY = ("identity", "issuer", "trusted_root")


@dataclass(frozen=True, slots=True)
class NamedKey:
    """A public key and what to call whoever has its private key."""

    name: str
    key: ModelKey


@dataclass(frozen=True, slots=True)
class SigstoreIdentity:
    """Who may have signed with a certificate of sigstore: an address, and who vouched for it.

    Attributes:
        identity: An e-mail address or a URI, such as that of a workflow.
        issuer: The OIDC issuer that confirmed it.
        trusted_root: In JSON, where that is not the public instance's.

    Raises:
        StorageConfigurationError: `trusted_root` is something else.
    """

    identity: str
    issuer: str
    trusted_root: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.trusted_root is not None and is_installed("sigstore"):
            sigstore_verifier(self.trusted_root)


@dataclass(frozen=True, slots=True)
class VerificationPolicy:
    """Whom to trust.

    Attributes:
        c2pa: Lists for manifests.
        ingredients: See `examine_manifests`.
        snapshot: Whether the lists inside `encypher-c2pa` count, where that is installed and a signer is on
            no other list.
        proofs: Trust store for credstore's own proofs, or None.
        threshold: How many keys must have signed such a proof.
        timestamps: Certificates of RFC 3161 authorities for such proofs, PEM, or empty.
        keys: For attestations, signatures and models.
        identities: Of sigstore.
    """

    c2pa: C2paTrust = field(default_factory=C2paTrust)
    ingredients: Ingredients = "any"
    snapshot: bool = False
    proofs: TrustStore | None = None
    threshold: int = 1
    timestamps: bytes = field(default=b"", repr=False)
    keys: tuple[NamedKey, ...] = ()
    identities: tuple[SigstoreIdentity, ...] = ()

    @classmethod
    def usual(cls, folder: Path | None = None) -> VerificationPolicy:
        """Public lists only: those that `credstore trust update` saved, and the snapshot in `encypher-c2pa`.

        Args:
            folder: Where lists are saved; by default the user's.
        """
        return cls(c2pa=saved_lists(folder), snapshot=True)

    @classmethod
    def from_toml(cls, path: Path) -> VerificationPolicy:
        """Read a policy file and the files that it names.

        Raises:
            StorageConfigurationError: It cannot be read, a name in it is not known, or a file does not load.
        """
        data = _read(path)
        try:
            document = tomllib.loads(data.decode())
        except ValueError as error:  # Also a number of more digits than Python reads.
            raise StorageConfigurationError(f"{path} is not TOML: {error}") from None
        except RecursionError:
            raise StorageConfigurationError(f"{path} is nested too deeply") from None
        _check(document, _TABLES, str(path))
        folder = path.parent
        c2pa = _table(document, "c2pa", _C2PA)
        proofs = _table(document, "proofs", _PROOFS)
        trust = _text(proofs, "trust", "proofs")
        times = _text(proofs, "timestamps", "proofs")
        own = C2paTrust(
            *(_lists(c2pa, purpose, folder) for purpose in ("signers", "timestamps", "identities"))
        )
        saved = saved_lists(None) if _flag(c2pa, "saved") else C2paTrust()
        ingredients = c2pa.get("ingredients", "any")
        if ingredients not in {"any", "trusted"}:
            raise StorageConfigurationError('c2pa.ingredients is "any" or "trusted"')
        threshold = proofs.get("threshold", 1)
        if type(threshold) is not int or not 1 <= threshold <= 8:  # noqa: PLR2004 - a proof has 8 signatures at most
            raise StorageConfigurationError("proofs.threshold is a whole number from 1 to 8")
        return cls(
            c2pa=C2paTrust(
                own.signers + saved.signers,
                own.timestamps + saved.timestamps,
                own.identities + saved.identities,
            ),
            ingredients=cast("Ingredients", ingredients),
            snapshot=_flag(c2pa, "snapshot"),
            proofs=None if trust is None else parse_trust_store(_read(folder / trust)),
            threshold=threshold,
            timestamps=b"" if times is None else _read(folder / times),
            keys=tuple(_array(document, "keys", _KEY, lambda each: _key(each, folder))),
            identities=tuple(_array(document, "sigstore", _IDENTITY, lambda each: _identity(each, folder))),
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(16 * _LARGEST + 1)
    except OSError as error:
        raise StorageConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    if len(data) > 16 * _LARGEST:
        raise StorageConfigurationError(f"{path} has more than 16 MiB")
    return data


def _check(table: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in table:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise StorageConfigurationError(f"{where}: {name!r} is not known; {hint}")


def _table(document: Mapping[str, Any], name: str, known: tuple[str, ...]) -> Mapping[str, Any]:
    table: object = document.get(name, {})
    if not isinstance(table, dict):
        raise StorageConfigurationError(f"{name} is a table: [{name}]")
    found = cast("dict[str, Any]", table)
    _check(found, known, f"[{name}]")
    return found


def _array(
    document: Mapping[str, Any], name: str, known: tuple[str, ...], make: Callable[[Mapping[str, Any]], Any]
) -> list[Any]:
    array: object = document.get(name, [])
    if not isinstance(array, list) or not all(isinstance(each, dict) for each in cast("list[object]", array)):
        raise StorageConfigurationError(f"{name} is an array of tables: [[{name}]]")
    made: list[Any] = []
    for each in cast("list[Mapping[str, Any]]", array):
        _check(each, known, f"[[{name}]]")
        made.append(make(each))
    return made


def _lists(c2pa: Mapping[str, Any], purpose: str, folder: Path) -> tuple[TrustList, ...]:
    def make(each: Mapping[str, Any]) -> TrustList:
        where = f"c2pa.{purpose}"
        file = _needed(each, "file", where)
        allowed, purposes = _text(each, "allowed", where), _text(each, "purposes", where)
        return TrustList.from_pem(
            _read(folder / file),
            allowed=b"" if allowed is None else _read(folder / allowed),
            purposes=None if purposes is None else _read(folder / purposes).decode(errors="replace"),
            name=_text(each, "name", where) or file,
            date=None if each.get("date") is None else str(each["date"]),
            source=_text(each, "source", where) or str(folder / file),
        )

    return tuple(_array(c2pa, purpose, _LIST, make))


def _key(each: Mapping[str, Any], folder: Path) -> NamedKey:
    file = _needed(each, "file", "keys")
    return NamedKey(_text(each, "name", "keys") or file, ModelKey(_read(folder / file)))


def _identity(each: Mapping[str, Any], folder: Path) -> SigstoreIdentity:
    file = _text(each, "trusted_root", "sigstore")
    return SigstoreIdentity(
        _needed(each, "identity", "sigstore"),
        _needed(each, "issuer", "sigstore"),
        None if file is None else _read(folder / file),
    )


def _text(table: Mapping[str, Any], name: str, where: str) -> str | None:
    value: object = table.get(name)
    if value is not None and not isinstance(value, str):
        raise StorageConfigurationError(f"{where}.{name} is text")
    return value


def _needed(table: Mapping[str, Any], name: str, where: str) -> str:
    value = _text(table, name, where)
    if not value:
        raise StorageConfigurationError(f"{where} needs {name}")
    return value


def _flag(table: Mapping[str, Any], name: str) -> bool:
    value: object = table.get(name, False)
    if not isinstance(value, bool):
        raise StorageConfigurationError(f"c2pa.{name} is true or false")
    return value
