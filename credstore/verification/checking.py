"""Put together what is known of a file or folder.

Rules of this file: what is next to a file is found by names; nothing is fetched unless asked. Each kind of
evidence has its module; here they are called, and their findings are added up.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from credstore.arguments import typed
from credstore.artifacts.signing.bundle import SIGNATURE
from credstore.artifacts.signing.folders import verify_model
from credstore.concurrency import in_thread
from credstore.errors import (
    ErrorCode,
    StorageConfigurationError,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
)
from credstore.model import Storable
from credstore.proofs.c2pa.files import hold
from credstore.proofs.c2pa.trust import ListUse
from credstore.proofs.c2pa.verdict import Unchecked
from credstore.proofs.c2pa.verifying import Fetch
from credstore.proofs.format.errors import ProofAssetMismatchError, ProofError, ProofUntrustedKeyError
from credstore.proofs.format.manifest_links import LARGEST_MANIFEST
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.media_types import HEAD, find_contradiction, media_type_of
from credstore.proofs.store.proof_store import ProofStore
from credstore.threads import in_daemon
from credstore.verification.attestations import LARGEST, failure, judge_file
from credstore.verification.evidence import AssetVerdict, Evidence, clock_of
from credstore.verification.manifests import find_manifests
from credstore.verification.policy import VerificationPolicy

_NEXT_TO = (".sigstore", ".sigstore.json", ".bundle", ".intoto.json", ".intoto.jsonl", ".att", ".dsse.json")
_MOST_PROOFS = 50


@typed
async def check(
    asset: Storable,
    *,
    policy: VerificationPolicy | None = None,
    store: ProofStore | None = None,
    media_type: str | None = None,
    fetch: Fetch | None = None,
    now: datetime | None = None,
) -> AssetVerdict:
    """What `credstore.verify` does."""
    clock = datetime.now(UTC) if now is None else now
    if clock.tzinfo is None:
        raise StorageInvalidRequestError("`now` has a time zone")
    chosen = await in_thread(VerificationPolicy.usual) if policy is None else policy
    path = Path(os.fspath(asset)) if isinstance(asset, os.PathLike) else None
    if path is not None and await in_thread(path.is_dir):
        return await _folder(path, chosen, clock)
    async with hold(asset) as held:
        head = await in_thread(_head, held.file)
        source: Storable = asset if path is not None or isinstance(asset, bytes) else held.file
        return await _file(
            source,
            path,
            digest=held.digest,
            head=head,
            policy=chosen,
            store=store,
            media_type=media_type,
            fetch=fetch,
            now=clock,
        )


async def _file(
    source: Storable,
    path: Path | None,
    *,
    digest: AssetDigest,
    head: bytes,
    policy: VerificationPolicy,
    store: ProofStore | None,
    media_type: str | None,
    fetch: Fetch | None,
    now: datetime,
) -> AssetVerdict:
    named = None if path is None else mimetypes.guess_type(path.name)[0]
    said = media_type or named
    shown = media_type_of(head)
    warnings: list[str] = []
    if said is not None and (contradiction := find_contradiction(said, head)):
        warnings.append(f"{'the name' if media_type is None else 'it'} says otherwise: {contradiction}")
    evidence: list[Evidence] = []
    lists: dict[ListUse, None] = dict.fromkeys(policy.c2pa.uses())
    unchecked: dict[Unchecked, None] = {}
    for place, manifest in await in_thread(_sidecars, path):
        found = await find_manifests(
            source,
            policy,
            media_type=shown or said or "",
            manifest=manifest,
            place=place,
            fetch=fetch,
            now=now,
        )
        evidence += found.evidence
        lists.update(dict.fromkeys(found.lists))
        unchecked.update(dict.fromkeys(found.unchecked))
    for place, data in await in_thread(_next_to, path):
        evidence += await in_thread(judge_file, data, place, digest, policy, now)
    if store is None:
        unchecked[Unchecked("proofs in a store, by the file's digest or its looks", "naming a store")] = None
    else:
        proofs = await _proofs(store, digest)
        if not proofs and shown is not None and shown.startswith("image/"):
            try:
                proofs = await _similar(store, source)
            except StorageConfigurationError as error:
                if error.code != ErrorCode.EXTRA_MISSING:
                    raise
                unchecked[Unchecked("proofs of pictures that look like it", error.message)] = None
            except StorageInvalidRequestError as error:  # There is nothing that it could be recognised by.
                unchecked[Unchecked(f"proofs of pictures that look like it: {error.message}")] = None
        evidence += proofs
    warnings += _false_types(evidence, head)
    return AssetVerdict(
        "asset" if path is None else path.name,
        digest,
        shown or said,
        tuple(evidence),
        tuple(warnings),
        tuple(lists),
        tuple(unchecked),
        now,
    )


async def _folder(path: Path, policy: VerificationPolicy, now: datetime) -> AssetVerdict:
    signature = path / SIGNATURE
    evidence: tuple[Evidence, ...] = ()
    if await in_thread(signature.is_file):
        evidence = (await _model(path, policy),)
    unchecked = (Unchecked("files in the folder, one by one", "naming a file"),)
    return AssetVerdict(path.name, None, None, evidence, (), policy.c2pa.uses(), unchecked, now)


async def _model(path: Path, policy: VerificationPolicy) -> Evidence:
    refused: StorageError = ProofUntrustedKeyError(
        "no key of the policy has signed it" if policy.keys else "the policy has no keys to check it with"
    )
    for each in policy.keys:
        try:
            signed = await verify_model(path, each.key)
        except ProofUntrustedKeyError:
            continue
        except (ProofError, StorageIntegrityError, StorageNotFoundError) as error:
            return failure("model", SIGNATURE, error)
        what = (f"a model of {len(signed.resources)} files",)
        return Evidence("model", "trusted", SIGNATURE, who=each.name, what=what)
    return failure("model", SIGNATURE, refused, "untrusted")


async def _proofs(store: ProofStore, digest: AssetDigest) -> list[Evidence]:
    found: list[Evidence] = []
    for proof in (await store.find_by_hash(digest.sha256))[:_MOST_PROOFS]:
        verified = proof.verified
        size = proof.record.asset.size
        if size != digest.size:
            error = StorageIntegrityError(f"the proof says {size} bytes, but the file has {digest.size}")
            found.append(failure("proof", "the store", error))
            continue
        found.append(
            Evidence(
                "proof",
                "trusted",
                "the store",
                who=proof.record.issuer,
                what=(
                    "a proof of credstore",
                    *([proof.status.state] if proof.status.state != "valid" else []),
                ),
                when=verified.time,
                clock=clock_of(verified.time_source),
                details={"proof_id": proof.proof_id, "media_type": proof.record.media_type},
            )
        )
    return found


async def _similar(store: ProofStore, picture: Storable) -> list[Evidence]:
    """Proofs of pictures that look like this one: about other bytes, of which it may be a copy."""
    from credstore.proofs.bindings.finding import BindingIndex

    if (seek := getattr(picture, "seek", None)) is not None:
        await in_daemon(partial(cast("Callable[[int], int]", seek), 0))  # Others have read it.
    matches = await BindingIndex(store).find_similar(picture)
    found: list[Evidence] = []
    for match in matches:
        proof = match.proof
        error = ProofAssetMismatchError(
            f"proof {proof.proof_id} is about another file, which looks like this one ({match.score} of 100)"
        )
        details = {"proof_id": proof.proof_id, "score": match.score, "label": match.label}
        what = ("a proof of credstore about a picture that looks like it",)
        facts: dict[str, Any] = {"who": proof.record.issuer, "what": what, "when": proof.verified.time}
        clock = clock_of(proof.verified.time_source)
        found.append(failure("proof", "the store", error, "untrusted", clock=clock, details=details, **facts))
    return found


def _false_types(evidence: Sequence[Evidence], head: bytes) -> list[str]:
    """Media types in proofs that the bytes contradict: signed, and false."""
    found: list[str] = []
    for each in evidence:
        said = each.details.get("media_type")
        if isinstance(said, str) and (contradiction := find_contradiction(said, head)):
            found.append(f"a proof of {each.who} says otherwise: {contradiction}")
    return found


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    return head


def _sidecars(path: Path | None) -> list[tuple[str, bytes | None]]:
    """What is in the file, then manifests with its name; blocks."""
    found: list[tuple[str, bytes | None]] = [("", None)]
    if path is None:
        return found
    for name in dict.fromkeys((f"{path.name}.c2pa", f"{path.stem}.c2pa")):
        data = _small(path.with_name(name), LARGEST_MANIFEST)
        if data is not None and name != path.name:
            found.append((name, data))
    return found


def _next_to(path: Path | None) -> list[tuple[str, bytes]]:
    """Bundles with the file's name; blocks."""
    if path is None:
        return []
    names = [f"{path.name}{end}" for end in _NEXT_TO]
    try:
        with os.scandir(path.parent) as folder:
            names += sorted(
                entry.name
                for entry in folder
                if entry.name.startswith(f"{path.name}.") and entry.name.endswith(".credproof.json")
            )
    except OSError:
        return []
    found = ((name, _small(path.with_name(name), LARGEST)) for name in dict.fromkeys(names))
    return [(name, data) for name, data in found if data is not None]


def _small(path: Path, most: int) -> bytes | None:
    """A regular file, or None; one that is larger comes with one byte too much, and is then refused."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError:
        return None
