"""The signature of a model: an in-toto Statement v1 in a DSSE envelope in a Sigstore bundle. Pure.

Rules of this file: what is written is what `model-signing` 1.1 writes with `sign key`, in canonical JSON;
what it writes with that is read, and nothing of a payload is believed before its signature fits. Resources
are sorted by the segments of their paths; the subject's digest is SHA-256 over the raw digests of all.

Source: OpenSSF Model Signing 1.0 (predicate `https://model_signing/signature/v1.0`), Sigstore bundle format
0.3, DSSE 1.0.2, in-toto Attestation Framework v1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from credstore.arguments import typed_request
from credstore.artifacts.names import stays_inside
from credstore.proofs.format.canonical import Json, encode_json, parse_json
from credstore.proofs.format.dsse import PAYLOAD_TYPE, encode_pae
from credstore.proofs.format.fields import (
    format_base64,
    read_base64,
    read_list,
    read_object,
    read_text,
    refuse,
)
from credstore.proofs.format.record import STATEMENT_TYPE, make_statement

SIGNATURE = "model.sig"
"""Name of the signature in the folder of a model, as `model-signing` calls it."""
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""What `model-signing` leaves out unless asked not to, on both sides."""
LARGEST_BUNDLE = 256 * 1024 * 1024
MOST_RESOURCES = 1_000_000
_LARGEST_SIGNATURE = 1024
_LONGEST_HINT = 128
_SHA256 = 32

Method = Literal["files", "shards"]
HashType = Literal["sha256", "blake2b"]
SIZES: Mapping[str, int] = {"sha256": 32, "blake2b": 64}
"""Bytes of a digest of each algorithm."""


@typed_request
@dataclass(frozen=True, slots=True)
class SignedModel:
    """What a signature says of a model.

    Attributes:
        name: Of the folder that was signed; anyone may have renamed it since.
        digest: SHA-256 over the digests of all resources: 32 bytes.
        resources: Digest of each file by its path, or of each part of one by `path:start:end`.
        method: Whether resources are whole files, or parts of at most `shard_size` bytes.
        hash_type: Their algorithm.
        ignored: Paths that are not part of the model, with all below them.
        shard_size: Bytes, for the method "shards".
    """

    name: str
    digest: bytes
    resources: Mapping[str, bytes]
    method: Method = "files"
    hash_type: HashType = "sha256"
    ignored: tuple[str, ...] = ()
    shard_size: int | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle as received; nothing about it is verified.

    Attributes:
        payload: The bytes that were signed.
        sig: The signature, DER.
        hint: SHA-256, in hex, of the PEM of the key that is said to have signed; "" in old ones.
    """

    payload: bytes
    sig: bytes
    hint: str

    @property
    def pae(self) -> bytes:
        """The message of the signature."""
        return encode_pae(PAYLOAD_TYPE, self.payload)


def is_ignored(name: str, ignored: Iterable[str]) -> bool:
    """Whether a path is one of these, or below one."""
    return any(name == each or name.startswith(f"{each}/") for each in ignored)


def encode_model(name: str, digests: Mapping[str, bytes], ignored: Iterable[str] = ()) -> bytes:
    """The statement about a model's files, to be signed.

    Args:
        name: Of the model.
        digests: SHA-256 of every file by its path; those that are ignored are left out.
        ignored: Paths that are not part of the model, besides `SIGNATURE` and `GIT_PATHS`.
    """
    without = (SIGNATURE, *ignored, *GIT_PATHS)
    names = sorted((each for each in digests if not is_ignored(each, without)), key=_segments)
    root = hashlib.sha256(b"".join(digests[each] for each in names)).hexdigest()
    resources: list[Json] = [
        {"name": each, "algorithm": "sha256", "digest": digests[each].hex()} for each in names
    ]
    predicate: dict[str, Json] = {
        "serialization": {
            "method": "files",
            "hash_type": "sha256",
            "allow_symlinks": False,
            "ignore_paths": list(without),
        },
        "resources": resources,
    }
    return encode_json(make_statement(name, {"sha256": root}, PREDICATE_TYPE, predicate))


def _segments(name: str) -> list[str]:
    return name.split("/")


def encode_bundle(payload: bytes, sig: bytes, hint: str) -> bytes:
    """The bytes of a `model.sig`."""
    return encode_json(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": format_base64(payload),
                "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": format_base64(sig), "keyid": ""}],
            },
        }
    )


def parse_bundle(data: bytes) -> Bundle:
    """Read a `model.sig` without verifying anything.

    Raises:
        ProofFormatError: Not such a bundle, or one that a certificate or Sigstore's service has signed.
    """
    members = read_object(
        parse_json(data, limit=LARGEST_BUNDLE),
        "the bundle",
        needs=("mediaType", "verificationMaterial", "dsseEnvelope"),
    )
    if members["mediaType"] != BUNDLE_TYPE:
        refuse("mediaType", f"is not {BUNDLE_TYPE}")
    material = read_object(members["verificationMaterial"], "verificationMaterial")
    if "publicKey" not in material:
        refuse("verificationMaterial", "has no publicKey: only bundles signed by a key are verified here")
    hint = read_object(material["publicKey"], "publicKey").get("hint") or ""
    envelope = read_object(
        members["dsseEnvelope"], "dsseEnvelope", needs=("payload", "payloadType", "signatures")
    )
    if envelope["payloadType"] != PAYLOAD_TYPE:
        refuse("payloadType", f"is not {PAYLOAD_TYPE}")
    (signature,) = read_list(envelope["signatures"], "signatures", least=1, most=1)
    sig = read_object(signature, "a signature", needs=("sig",))["sig"]
    return Bundle(
        read_base64(envelope["payload"], "payload", most=LARGEST_BUNDLE, url_safe=True),
        read_base64(sig, "sig", most=_LARGEST_SIGNATURE, url_safe=True),
        read_text(hint, "publicKey.hint", longest=_LONGEST_HINT) if hint else "",
    )


def read_model(payload: bytes) -> SignedModel:
    """What a payload says whose signature fits.

    Raises:
        ProofFormatError: Not a statement about a model, or one that contradicts itself.
    """
    statement = read_object(
        parse_json(payload, limit=LARGEST_BUNDLE),
        "the statement",
        needs=("_type", "subject", "predicateType", "predicate"),
    )
    if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
        refuse("the statement", f"is not an in-toto statement with a predicate {PREDICATE_TYPE}")
    (subject,) = read_list(statement["subject"], "subject", least=1, most=1)
    about = read_object(subject, "subject", needs=("name", "digest"))
    root = read_object(about["digest"], "subject.digest", needs=("sha256",))["sha256"]
    predicate = read_object(statement["predicate"], "predicate", needs=("serialization", "resources"))
    how = read_object(predicate["serialization"], "serialization", needs=("method", "hash_type"))
    method, hash_type = how["method"], how["hash_type"]
    # The command line says "blake2", what is signed the hash function's own name.
    hash_type = "blake2b" if hash_type == "blake2" else hash_type
    shard_size = _shard_size(how) if method == "shards" else None
    if isinstance(hash_type, str):
        hash_type = hash_type.partition("-sharded-")[0]
    if method not in {"files", "shards"} or hash_type not in SIZES:
        refuse("serialization", "is not by files or shards, hashed with SHA-256 or BLAKE2b")
    resources: dict[str, bytes] = {}
    for each in read_list(predicate["resources"], "resources", most=MOST_RESOURCES):
        name, digest = _resource(each, cast("HashType", hash_type), sharded=method == "shards")
        if name in resources:
            refuse("resources", "has a name twice")
        resources[name] = digest
    found = hashlib.sha256(b"".join(resources.values())).digest()
    if root != found.hex():
        refuse("subject.digest", "is not that of the resources")
    ignored = read_list(how.get("ignore_paths", []), "ignore_paths", most=MOST_RESOURCES)
    return SignedModel(
        about["name"] if isinstance(about["name"], str) else "",
        found,
        resources,
        cast("Method", method),
        cast("HashType", hash_type),
        tuple(each for each in ignored if isinstance(each, str) and stays_inside(each)),
        shard_size,
    )


def _shard_size(how: dict[str, Json]) -> int:
    size = how.get("shard_size")
    if not isinstance(size, int | float) or isinstance(size, bool) or size != int(size) or size < 1:
        refuse("shard_size", "is not a number of bytes")
    return int(size)


def _resource(value: Json, hash_type: HashType, *, sharded: bool) -> tuple[str, bytes]:
    members = read_object(value, "a resource", needs=("name", "algorithm", "digest"))
    name, algorithm, digest = members["name"], members["algorithm"], members["digest"]
    if not isinstance(name, str) or not isinstance(algorithm, str) or not isinstance(digest, str):
        refuse("a resource", "does not have a name, an algorithm and a digest")
    path = name.rsplit(":", 2)[0] if sharded else name
    # "." is a model that is one file.
    if path != "." and not stays_inside(path):
        refuse("a resource", "is named by a path that leads elsewhere")
    if algorithm.partition("-sharded-")[0] != hash_type:
        refuse("a resource", "has another algorithm than its model")
    try:
        decoded = bytes.fromhex(digest)
    except ValueError:
        decoded = b""
    if len(decoded) != SIZES[hash_type]:
        refuse("a resource", "has a digest of another length than its algorithm's")
    return name, decoded
