"""Trust stores: which public keys a verifier trusts, for which issuers, uses and times. Pure.

A trust store comes from the caller's configuration and is the only trust anchor: a key found in an envelope,
in a bundle or stored with the proofs is never one. Old public keys stay in it for ever, so that old proofs
stay valid, judged at the time of their signature.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, cast, get_args

from credstore.arguments import typed, typed_class
from credstore.errors import StorageConfigurationError
from credstore.proofs.format.canonical import Json, encode_json, parse_json
from credstore.proofs.format.errors import ProofAlgorithmError, ProofFormatError
from credstore.proofs.format.fields import (
    LONGEST_ISSUER,
    format_base64,
    format_time,
    read_base64,
    read_list,
    read_object,
    read_size,
    read_text,
    read_time,
    read_uri,
    refuse,
)
from credstore.proofs.format.signing import LARGEST_SPKI, PublicKey
from credstore.times import checked_instant

Usage = Literal["proof", "revoke", "log", "root"]
LARGEST_TRUST_STORE = 1024 * 1024
MOST_KEYS = 1000
MOST_ISSUERS = 100
GRACE = timedelta(minutes=5)
"""How long after its last use a retired key stays valid: by how much clocks may differ."""


@typed_class
@dataclass(frozen=True, slots=True)
class KeyRevocation:
    """The revocation of a key that others may have.

    Attributes:
        at: When that was said.
        invalid_since: Signatures count only where trusted time shows them to be older than this.
    """

    at: datetime
    invalid_since: datetime


@typed_class
@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key and what it is trusted for.

    Attributes:
        public_key: The key.
        issuers: Whose statements it may sign, as exact strings.
        usages: `proof` issues, `revoke` revokes and erases, `root` signs trust stores and revokes
            for every issuer, `log` signs checkpoints.
        valid_from: First instant of its window.
        valid_until: Last instant of its window, or None while it is open.
        revoked: Set once it is compromised.
    """

    public_key: PublicKey
    issuers: frozenset[str]
    usages: frozenset[Usage]
    valid_from: datetime
    valid_until: datetime | None = None
    revoked: KeyRevocation | None = None

    @property
    def keyid(self) -> str:
        """Id of the public key."""
        return self.public_key.keyid

    def is_within(self, time: datetime) -> bool:
        """Whether `time` is in the window, both ends included."""
        return self.valid_from <= time and (self.valid_until is None or time <= self.valid_until)


@typed_class
@dataclass(frozen=True, slots=True)
class TrustStore:
    """The keys a verifier trusts. Changes make a new store with the next version.

    Attributes:
        version: 1 or more; a later store has a larger one.
        keys: Each public key once.
    """

    version: int
    keys: tuple[TrustedKey, ...]

    def __post_init__(self) -> None:
        if len({key.public_key.spki for key in self.keys}) != len(self.keys):
            raise StorageConfigurationError("a key is in the trust store twice")

    def find(self, keyid: str) -> TrustedKey | None:
        """The key with this id, or None."""
        for key in self.keys:
            if key.public_key.keyid == keyid:
                return key
        return None

    def add(self, key: TrustedKey) -> TrustStore:
        """The next version, with one more key.

        Raises:
            StorageConfigurationError: The key is already there.
        """
        return TrustStore(self.version + 1, (*self.keys, key))

    def rotate(self, keyid: str, successor: PublicKey, *, at: datetime) -> TrustStore:
        """The next version: `successor` takes over at `at`, and the old key ends 5 minutes later.

        Publish it before `at`, sign with the new key from `at` on, then destroy the old private key.

        Raises:
            StorageConfigurationError: No such key, the successor is already there, or `at` has no zone or is
                at an end of the calendar.
        """
        old = self._at(keyid)
        new = TrustedKey(successor, old.issuers, old.usages, at)
        return TrustStore(self.version + 1, (*self.retire(keyid, last_use=at).keys, new))

    def retire(self, keyid: str, *, last_use: datetime) -> TrustStore:
        """The next version: the key's window ends 5 minutes after its last use; what it signed stays valid.

        Raises:
            StorageConfigurationError: No such key, or `last_use` has no zone or is at an end of the calendar.
        """
        old = self._at(keyid)
        end = checked_instant("last_use", last_use, StorageConfigurationError) + GRACE
        return self._with(
            replace(old, valid_until=end if old.valid_until is None else min(end, old.valid_until))
        )

    def revoke(self, keyid: str, *, at: datetime, invalid_since: datetime) -> TrustStore:
        """The next version: the key counts only for what trusted time shows to be older than `invalid_since`.

        Raises:
            StorageConfigurationError: No such key.
        """
        return self._with(replace(self._at(keyid), revoked=KeyRevocation(at, invalid_since)))

    def _at(self, keyid: str) -> TrustedKey:
        key = self.find(keyid)
        if key is None:
            raise StorageConfigurationError(f"the trust store has no key {keyid[:80]!r}")
        return key

    def _with(self, changed: TrustedKey) -> TrustStore:
        keys = tuple(changed if key.keyid == changed.keyid else key for key in self.keys)
        return TrustStore(self.version + 1, keys)


@typed
def trust_key(
    public_key: PublicKey,
    *,
    issuers: Iterable[str],
    usages: Collection[Usage] = ("proof", "revoke"),
    valid_from: datetime,
    valid_until: datetime | None = None,
) -> TrustedKey:
    """One entry for a trust store, checked as when read from a file.

    Raises:
        StorageConfigurationError: An issuer is not an absolute URI, a usage is unknown, the window ends
            before it starts, or a time has no time zone.
    """
    key = TrustedKey(public_key, frozenset(issuers), frozenset(usages), valid_from, valid_until)
    trust = TrustStore(1, (key,))
    return parse_trust_store(encode_trust_store(trust)).keys[0]


@typed
def parse_trust_store(data: bytes) -> TrustStore:
    """Read `keys.json`: strict JSON, which need not be canonical; unknown members are errors.

    Raises:
        StorageConfigurationError: Not a trust store; the message names what is wrong.
        ProofAlgorithmError: A key of an unknown scheme, or one that must not be used.
    """
    try:
        return read_trust_store(parse_json(data, limit=LARGEST_TRUST_STORE))
    except ProofFormatError as error:
        raise StorageConfigurationError(f"not a valid trust store: {error.message}") from None


@typed
def encode_trust_store(trust: TrustStore) -> bytes:
    """Write `keys.json`, canonical.

    Raises:
        StorageConfigurationError: A time has no time zone, or a string has a lone surrogate.
    """
    try:
        return encode_json(trust_store_members(trust))
    except ProofFormatError as error:
        raise StorageConfigurationError(f"this trust store cannot be written: {error.message}") from None


def trust_store_members(trust: TrustStore) -> dict[str, Json]:
    """A trust store as a JSON object."""
    return {"version": trust.version, "keys": [_key_members(key) for key in trust.keys]}


def _key_members(key: TrustedKey) -> dict[str, Json]:
    members: dict[str, Json] = {
        "keyid": key.keyid,
        "publicKey": format_base64(key.public_key.spki),
        "scheme": key.public_key.scheme,
        "issuers": cast("list[Json]", sorted(key.issuers)),
        "usages": cast("list[Json]", sorted(key.usages)),
        "validFrom": format_time(key.valid_from),
    }
    if key.valid_until is not None:
        members["validUntil"] = format_time(key.valid_until)
    if key.revoked is not None:
        members["revoked"] = {
            "at": format_time(key.revoked.at),
            "invalidSince": format_time(key.revoked.invalid_since),
        }
    return members


def read_trust_store(value: Json) -> TrustStore:
    """Read a parsed trust store; `parse_trust_store` is for bytes.

    Raises:
        ProofFormatError: Not a trust store.
        ProofAlgorithmError: A key of an unknown scheme, or one that must not be used.
    """
    members = read_object(value, "the trust store", needs=("version", "keys"), may=())
    entries = read_list(members["keys"], "keys", most=MOST_KEYS)
    keys = tuple(_read_key(entry, f"keys[{place}]") for place, entry in enumerate(entries))
    if len({key.public_key.spki for key in keys}) != len(keys):
        refuse("keys", "has a key twice")
    return TrustStore(read_size(members["version"], "version", least=1), keys)


def _read_key(value: Json, place: str) -> TrustedKey:
    members = read_object(
        value,
        place,
        needs=("keyid", "publicKey", "scheme", "issuers", "usages", "validFrom"),
        may=("validUntil", "revoked"),
    )
    spki = read_base64(members["publicKey"], f"{place}.publicKey", most=LARGEST_SPKI)
    try:
        public_key = PublicKey(read_text(members["scheme"], f"{place}.scheme", longest=64), spki)
    except ProofAlgorithmError as error:
        raise ProofAlgorithmError(f"{place}: {error.message}") from None
    if members["keyid"] != public_key.keyid:
        refuse(f"{place}.keyid", "is not the digest of its publicKey")
    issuers = [
        read_uri(each, f"{place}.issuers", longest=LONGEST_ISSUER)
        for each in read_list(members["issuers"], f"{place}.issuers", most=MOST_ISSUERS)
    ]
    usages = read_list(members["usages"], f"{place}.usages", least=1, most=len(get_args(Usage)))
    if not all(each in get_args(Usage) for each in usages):
        refuse(f"{place}.usages", f"has values other than {', '.join(get_args(Usage))}")
    key = TrustedKey(
        public_key,
        frozenset(issuers),
        cast("frozenset[Usage]", frozenset(cast("list[str]", usages))),
        read_time(members["validFrom"], f"{place}.validFrom"),
        read_time(members["validUntil"], f"{place}.validUntil") if "validUntil" in members else None,
        _read_revocation(members["revoked"], f"{place}.revoked") if "revoked" in members else None,
    )
    if key.valid_until is not None and key.valid_until < key.valid_from:
        refuse(f"{place}.validUntil", "is before validFrom")
    return key


def _read_revocation(value: Json, place: str) -> KeyRevocation:
    members = read_object(value, place, needs=("at", "invalidSince"), may=())
    return KeyRevocation(
        read_time(members["at"], f"{place}.at"), read_time(members["invalidSince"], f"{place}.invalidSince")
    )
