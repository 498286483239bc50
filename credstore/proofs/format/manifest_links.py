"""How a C2PA manifest is hosted and found: its type, its headers, the link to it. Pure, and no extra needed.

A manifest is stored as it is, under a permanent public URL: readers ask for byte ranges, CDNs keep it, and a
URL that is written into an asset cannot be taken back. Sources: C2PA 2.x section "Embedding a Reference to an
External Manifest", RFC 8288 (web linking; `c2pa-manifest` is a registered relation), Fetch (CORS, CORP).
"""

from __future__ import annotations

import hashlib
import re

from credstore.errors import StorageInvalidRequestError
from credstore.model import SignedUrl, StoreOptions
from credstore.proofs.format.record import ManifestLink

MANIFEST_TYPE = "application/c2pa"
MANIFEST_RELATION = "c2pa-manifest"
LARGEST_MANIFEST = 16 * 1024 * 1024
_CACHE_CONTROL = "public, max-age=31536000, immutable"
_LONGEST_URL = 2048
_LONGEST_HEADER = 16 * 1024
# RFC 3986 section 2 without the fragment, which servers never see.
_URL = re.compile(r"https?://(?:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
# RFC 8288 section 3. Commas and semicolons may occur inside <...> and quotes.
_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TARGET = re.compile(r"[ \t,]*<([^<>]*)>[ \t]*")
_PARAMETER = re.compile(
    rf";[ \t]*(?:(?P<name>{_WORD})[ \t]*"
    rf'(?:=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_WORD})))?)?[ \t]*'
)
_END = re.compile(r"(?=,)|\Z")


def manifest_headers() -> dict[str, str]:
    """The response headers to serve a manifest with, so that any page and any CDN can use it."""
    return {
        "Content-Type": MANIFEST_TYPE,
        "Cache-Control": _CACHE_CONTROL,
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Link, ETag",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }


def manifest_options() -> StoreOptions:
    """The options to `StorageProvider.store` a manifest with: its type, cached for good, stored as it is."""
    return {"content_type": MANIFEST_TYPE, "cache_control": _CACHE_CONTROL, "compress": False}


def link_manifest(manifest: bytes, url: str | None = None) -> ManifestLink:
    """What a proof says about a manifest: its digest and size, and a hint where it is.

    Args:
        manifest: All its bytes, up to 16 MiB.
        url: Permanent, http or https; or None.

    Raises:
        StorageInvalidRequestError: The manifest is empty or too large, or the URL is not acceptable.
    """
    if not 0 < len(manifest) <= LARGEST_MANIFEST:
        raise StorageInvalidRequestError(
            f"a manifest has 1 to {LARGEST_MANIFEST} bytes, but this one has {len(manifest)}"
        )
    uri = None if url is None else check_manifest_url(url)
    return ManifestLink(hashlib.sha256(manifest).digest(), len(manifest), MANIFEST_TYPE, uri)


def check_manifest_url(url: str) -> str:
    """Return the URL if a manifest may be found there for good.

    Raises:
        StorageInvalidRequestError: Not http or https, longer than 2,048 characters, with unescaped
            characters or a fragment, or a temporary link.
    """
    if isinstance(url, SignedUrl):
        raise StorageInvalidRequestError(
            "a temporary link cannot lead to a manifest, which outlives it; give its permanent public URL"
        )
    if len(url) > _LONGEST_URL or not _URL.fullmatch(url):
        raise StorageInvalidRequestError(
            f"a manifest's URL is absolute, http or https, escaped, and has at most {_LONGEST_URL} characters"
        )
    return url


def link_header(url: str) -> str:
    """The value of the `Link` header of an asset's response, which leads readers to its manifest.

    Raises:
        StorageInvalidRequestError: The URL is not acceptable.
    """
    return f'<{check_manifest_url(url)}>; rel="{MANIFEST_RELATION}"; type="{MANIFEST_TYPE}"'


def find_manifest_url(header: str) -> str | None:
    """The target of the first link to a manifest in a `Link` header, verbatim; None if there is none.

    It may be relative to the asset's URL, and it is only a claim: whether to fetch it is up to the caller's
    own rules. Several headers of this name are joined with commas. What follows a malformed link is not read.
    """
    if len(header) > _LONGEST_HEADER:
        return None
    position = 0
    while target := _TARGET.match(header, position):
        position = target.end()
        parameters: dict[str, str] = {}
        while found := _PARAMETER.match(header, position):
            position = found.end()
            value = found["plain"] or re.sub(r"\\(.)", r"\1", found["quoted"] or "")
            # Section 3.3: of several `rel`, only the first counts.
            parameters.setdefault((found["name"] or "").lower(), value)
        if not _END.match(header, position):
            return None
        # A link with an anchor is about something other than the asset.
        if MANIFEST_RELATION in parameters.get("rel", "").lower().split() and "anchor" not in parameters:
            return target[1]
    return None
