"""c2pa-python: its settings, one reading, one signing. Needs extra `c2pa`; its only importer.

Rules of this file: nothing here reaches a network, since an asset may name any URL and the library's defaults
would fetch it; the settings forbid that on every call. A time stamp is requested only from the address that
the caller gave. The library ignores names of settings that it does not know, so a test changes each one and
checks that it matters (`tests/proofs/test_c2pa_settings.py`). Everything here blocks: it is called in
threads.

The library has one set of anchors in effect: certificates given for time stamps also vouch for signers,
whatever `trust_kind` says. So each list gets a reading of its own, and `verdict.py` takes from it only its
own codes.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO, Any, Literal, TypeAlias

from credstore.errors import StorageInvalidRequestError
from credstore.extras import missing_extra
from credstore.proofs.c2pa.codes import an_object
from credstore.proofs.c2pa.credentials import Asking, ManifestCredential
from credstore.proofs.c2pa.trust import CLAIM_PURPOSES, TrustList

_OFFLINE = {"remote_manifest_fetch": False, "ocsp_fetch": False}
Kind: TypeAlias = Literal["manifest", "tsa", "cawg"]
"""What the library calls the purposes of a list."""
Found: TypeAlias = Literal["embedded", "given", "remote", "absent", "unsupported", "unreadable"]
_REMOTE = re.compile(r"^Remote: must fetch remote manifests from url (.*)$", re.DOTALL)
_ALGORITHMS = {"Ed25519": "ED25519"}
_LONGEST_WORDS = 300
# MiB of its own copies that the library keeps in memory instead of in temporary files; 512 by default, for
# each.
_IN_MEMORY = {"backing_store_memory_threshold_in_mb": 16}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the library found, with one list.

    Attributes:
        found: Where the manifest was; "absent" for an asset without one, "unsupported" for a type that has
            none, "unreadable" for a file that the library cannot parse.
        report: Its report, empty where nothing was read.
        certificates: By label of a manifest, what it says of the certificates: `crjson`'s `signature`.
        remote_url: Where the asset says that its manifest is, or None.
        words: The library's own, of an asset that it cannot read.
    """

    found: Found
    report: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    certificates: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict[str, Mapping[str, Any]], repr=False
    )
    remote_url: str | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Parent:
    """What is signed over: an earlier state of the asset with its own provenance.

    Attributes:
        media_type: Of the asset.
        manifest: Its manifest, where that is not in the asset.
    """

    media_type: str
    manifest: bytes | None = None


def reading_settings(trust: TrustList | None, kind: Kind) -> dict[str, Any]:
    """Settings for one reading: offline, and with this list only; None trusts no one."""
    purposes = CLAIM_PURPOSES if trust is None else trust.purposes
    settings: dict[str, Any] = {
        "verify": {**_OFFLINE, "verify_trust": True},
        "trust": {"trust_config": "\n".join(purposes)},
    }
    if trust is not None:
        anchors = {"trust_anchors": trust.anchors.decode(), "trust_kind": kind}
        if trust.allowed:
            anchors["allowed_list"] = trust.allowed.decode()
        settings["trust"]["anchors"] = [anchors]
    return settings


def signing_settings(*, thumbnail: bool) -> dict[str, Any]:
    """Settings for signing: offline, and the certificate's purposes checked."""
    return {
        "core": _IN_MEMORY,
        "verify": _OFFLINE,
        "trust": {"trust_config": "\n".join(CLAIM_PURPOSES)},
        "builder": {"thumbnail": {"enabled": thumbnail}},
    }


def require_library() -> None:
    """Refuse to continue without the library.

    Raises:
        StorageConfigurationError: The extra `c2pa` is missing, or its native library does not load.
    """
    try:
        importlib.import_module("c2pa")
    except (ImportError, OSError, RuntimeError) as error:
        raise missing_extra("c2pa", "C2PA manifests need") from error


def read(
    asset: IO[bytes], media_type: str, manifest: bytes | None, trust: TrustList | None, kind: Kind
) -> Reading:
    """Read what an asset carries, or a manifest with its asset.

    Args:
        asset: Seekable; read from its start.
        media_type: Only a hint where the first bytes show the type; "" for unknown.
        manifest: The manifest store, if it is not to be looked for in the asset.
        trust: The one list of this reading.
        kind: What for.

    Raises:
        StorageConfigurationError: The extra is missing.
    """
    require_library()
    import c2pa

    asset.seek(0)
    url: str | None = None
    try:
        with (
            c2pa.Context.from_dict(reading_settings(trust, kind)) as context,
            c2pa.Reader(media_type or None, asset, manifest, context) as reader,
        ):
            report = json.loads(reader.json())
            certificates = _certificates(reader.crjson())
            url = reader.get_remote_url()
            embedded = reader.is_embedded()
    except c2pa.C2paError as error:
        return _unread(error)
    except (ValueError, RecursionError, TypeError, AttributeError, KeyError) as error:
        return Reading("unreadable", words=type(error).__name__)
    if not _is_report(report):
        return Reading("unreadable", words="the library's report has another form")
    found: Found = "given" if manifest is not None else ("embedded" if embedded else "remote")
    return Reading(found, report, certificates, url)


def _unread(error: Exception) -> Reading:
    import c2pa

    text = str(error)
    if remote := _REMOTE.match(text):
        return Reading("remote", remote_url=remote[1])
    if isinstance(error, c2pa.C2paError.ManifestNotFound):
        return Reading("absent")
    if isinstance(error, c2pa.C2paError.NotSupported):
        return Reading("unsupported")
    return Reading("unreadable", words=in_one_line(text))


def _is_report(report: object) -> bool:
    """Whether the parts that a verdict needs are there; whatever else is missing reads as absent."""
    known = an_object(report)
    results = an_object(known.get("validation_results")).get("activeManifest")
    return isinstance(results, dict) and known.get("active_manifest") in an_object(known.get("manifests"))


def _certificates(text: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for manifest in json.loads(text)["manifests"]:
        signature = manifest.get("signature")
        if isinstance(signature, dict):
            found[str(manifest["label"])] = signature
    return found


def sign(
    source: IO[bytes],
    target: IO[bytes],
    media_type: str,
    definition: str,
    *,
    settings: dict[str, Any],
    credential: ManifestCredential,
    asking: Asking,
    embed: bool,
    remote_url: str | None,
    parent: Parent | None,
    timestamp_url: str | None,
) -> bytes:
    """Sign a manifest over `source`, write the asset that it binds to `target`, and return the manifest.

    Raises:
        StorageInvalidRequestError: The library makes none; its words say why.
        StorageConfigurationError: The extra is missing.
    """
    require_library()
    import c2pa

    algorithm = c2pa.C2paSigningAlg[_ALGORITHMS.get(credential.algorithm, credential.algorithm)]
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Builder(definition, context) as builder,
            c2pa.Signer.from_callback(asking, algorithm, credential.chain.decode(), timestamp_url) as signer,
        ):
            if not embed:
                builder.set_no_embed()
            if remote_url is not None:
                builder.set_remote_url(remote_url)
            if parent is not None:
                _add_parent(builder, source, parent)
            source.seek(0)
            return builder.sign(signer, media_type, source, target)
    except Exception as error:
        # The library's message is about the caller's own asset, definition and certificates.
        raise StorageInvalidRequestError(
            f"no manifest can be made for this: {in_one_line(str(error))}"
        ) from error


def _add_parent(builder: Any, source: IO[bytes], parent: Parent) -> None:
    import c2pa

    builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
    ingredient: dict[str, Any] = {"title": "the asset before", "relationship": "parentOf"}
    if parent.manifest is not None:
        name = "parent.c2pa"
        builder.add_resource(name, BytesIO(parent.manifest))
        ingredient["manifest_data"] = {"format": "application/c2pa", "identifier": name}
        ingredient["format"] = parent.media_type
    source.seek(0)
    builder.add_ingredient(json.dumps(ingredient), parent.media_type, source)


def in_one_line(words: str) -> str:
    """The library's words, short and printable."""
    return "".join(each for each in " ".join(words.split()) if each.isprintable())[:_LONGEST_WORDS]
