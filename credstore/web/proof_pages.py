"""`ProofPages`: proofs of a store as pages for people and bundles for programs, a part of a `WebApp`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from credstore.arguments import typed_class
from credstore.proofs.format.bundle import BUNDLE_TYPE, BundleReport, bundle_name, verify_bundle
from credstore.proofs.format.errors import ProofError, ProofNotFoundError
from credstore.proofs.format.ids import is_proof_id
from credstore.proofs.format.logged import CheckLog
from credstore.proofs.format.policy import unsafe_allow_expired, unsafe_allow_revoked
from credstore.proofs.format.record import AssetDigest
from credstore.proofs.format.timestamp import TimestampAuthorities
from credstore.proofs.format.trust import encode_trust_store
from credstore.proofs.store.proof_store import ProofStore
from credstore.web.app import Answer
from credstore.web.markup import PageParts, content_policy, render_page
from credstore.web.negotiation import prefers_html
from credstore.web.pictures import ENDS, Pictures, StoredPictures, picture_end
from credstore.web.report import (
    PageReport,
    fill,
    page_words,
    report_of,
    report_of_error,
    report_of_none,
    shown_time,
)
from credstore.web.site_files import content_type, served_files, site_file

ANY_STATE = unsafe_allow_expired(unsafe_allow_revoked())
"""Expired and revoked proofs are shown, too: as such."""
MOST_FOUND = 20
"""Maximum number of proofs of one asset that are named."""
KEYS, POLICY = "keys.json", "log-policy.txt"
_DIGEST = re.compile(r"find/([0-9a-f]{64})\.json")
_HEADERS = {
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class ProofPage:
    """All that is shown of one proof.

    Attributes:
        proof_id: Its id.
        report: The verdict.
        bundle: The bundle's bytes, or None where the proof is refused.
        picture: The name of its picture, or None.
        sha256: Digest of the asset in hex, or None where the proof is refused.
        status: HTTP status.
    """

    proof_id: str
    report: PageReport
    bundle: bytes | None = None
    picture: str | None = None
    sha256: str | None = None
    status: int = 200


@typed_class
class ProofPages:
    """Pages about the proofs of a store: a page for whoever accepts HTML, the bundle for others.

    `/ID` is either, `/ID.html` and `/ID.credproof.json` are one each, and `/` is a page to verify files on.
    Everything a page loads comes from here. Requests cost the store what `export` does, and a picture or a
    search its own; put a cache in front where strangers come.
    """

    def __init__(
        self,
        store: ProofStore,
        *,
        check_log: CheckLog | None = None,
        log_policy: bytes | None = None,
        authorities: TimestampAuthorities | None = None,
        pictures: str | Pictures | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        place: str = "server",
    ) -> None:
        """Show these proofs.

        Args:
            store: Where they are, with the keys that count; not closed here. Its trust store is public here.
            check_log: Verifies where a proof is in a log, such as `log.LogCheck`.
            log_policy: The policy of `check_log` as a file, for browsers; public here.
            authorities: Whose timestamps count.
            pictures: Prefix of the pictures in the store, as `StoredPictures` has it, or whatever finds them.
            clock: Returns the current time, with a time zone.
            place: "server" or "folder": who has made the checks.

        Raises:
            StorageInvalidRequestError: `pictures` is not a prefix of keys.
        """
        self._store = store
        self._check_log = check_log
        self._log_policy = log_policy
        self._authorities = authorities
        self._pictures = StoredPictures(store.provider, pictures) if isinstance(pictures, str) else pictures
        self._clock = clock
        self._place = place

    async def answer(self, path: str, query: str) -> Answer | None:
        """As `negotiate`, for a reader that says nothing about types."""
        return await self.negotiate(path, query, "")

    async def negotiate(self, path: str, query: str, accept: str) -> Answer | None:
        """A page, a bundle, a picture, or one of the page's files; None where there is nothing.

        Args:
            path: "/…", decoded.
            query: Ignored.
            accept: The Accept header.

        Raises:
            StorageError: The store failed.
        """
        del query
        name = path.removeprefix("/")
        if name in served_files():
            return served_file(name)
        if path == "/":
            return html_answer(PageParts())
        head, dot, end = name.partition(".")
        if is_proof_id(head):
            return await self._about(head, dot + end, accept)
        return await self._beside(name)

    async def _beside(self, name: str) -> Answer | None:
        if name == KEYS:
            return _file(encode_trust_store(self._store.trust), "application/json")
        if name == POLICY and self._log_policy is not None:
            return _file(self._log_policy, "text/plain; charset=utf-8")
        digest = _DIGEST.fullmatch(name)
        if digest is None:
            return None
        found = await self.find(bytes.fromhex(digest[1]))
        return _file(json.dumps({"proofs": found}).encode(), "application/json") if found else None

    async def find(self, sha256: bytes) -> list[str]:
        """The ids of the proofs of an asset, valid ones first, then newest first.

        Raises:
            StorageError: The store failed, or there are too many.
        """
        proofs = await self._store.find_by_hash(sha256, policy=ANY_STATE)
        proofs.sort(key=lambda proof: proof.status.state != "valid")
        return [proof.proof_id for proof in proofs[:MOST_FOUND]]

    async def _about(self, proof_id: str, end: str, accept: str) -> Answer | None:
        if end == ".credproof.json" or (end == "" and not prefers_html(accept)):
            with suppress(ProofNotFoundError):
                bundle = await self._store.export(proof_id)
                return _file(bundle, BUNDLE_TYPE, vary=end == "")
            return None
        if end in {"", ".html"}:
            shown = await self.page(proof_id)
            return html_answer(page_parts(shown), status=shown.status, vary=end == "")
        return await self.picture(proof_id, end) if end in ENDS.values() else None

    async def page(self, proof_id: str, *, pictured: bool = True) -> ProofPage:
        """Everything that is shown of a proof.

        Args:
            proof_id: Its id.
            pictured: Whether to look for its picture.

        Raises:
            StorageError: The store failed.
        """
        now = self._clock()
        by = fill(page_words()["by"][self._place], at=shown_time(now))
        try:
            bundle = await self._store.export(proof_id)
        except ProofNotFoundError:
            return ProofPage(proof_id, replace(report_of_none(), by=by), status=404)
        except ProofError as error:
            return ProofPage(proof_id, replace(report_of_error(error), by=by))
        try:
            verified = self._verified(bundle, now, None)
            finder = self._pictures if pictured else None
            picture = None if finder is None else await finder.find(verified.proof.record)
            if picture is not None:
                measured = verified.proof.record.asset
                verified = self._verified(bundle, now, AssetDigest(measured.sha256, measured.size))
        except ProofError as error:
            return ProofPage(proof_id, replace(report_of_error(error), by=by), bundle)
        report = replace(report_of(verified, asset=picture is not None), by=by)
        name = None if picture is None else f"{proof_id}{picture}"
        return ProofPage(proof_id, report, bundle, name, verified.proof.record.asset.sha256.hex())

    def _verified(self, bundle: bytes, now: datetime, asset: AssetDigest | None) -> BundleReport:
        return verify_bundle(
            bundle,
            self._store.trust,
            now=now,
            asset=asset,
            authorities=self._authorities,
            check_log=self._check_log,
            policy=ANY_STATE,
        )

    async def picture(self, proof_id: str, end: str) -> Answer | None:
        """The picture of a proof, under a name that ends as its type does.

        Raises:
            StorageError: The store failed.
        """
        if self._pictures is None:
            return None
        try:
            proof = await self._store.get(proof_id, policy=ANY_STATE)
        except ProofError:
            return None
        data = await self._pictures.read(proof.record)
        if data is None or picture_end(data, proof.record) != end:
            return None
        return _file(data, next(kind for kind, each in ENDS.items() if each == end))


def page_parts(page: ProofPage) -> PageParts:
    """A page with its bundle and its picture next to it."""
    name = bundle_name(page.proof_id)
    return PageParts(page.report, None if page.bundle is None else name, name, page.picture)


def html_answer(parts: PageParts, *, status: int = 200, vary: bool = False) -> Answer:
    """A page with its headers."""
    issuer = None if parts.report is None else parts.report.issuer
    headers = {**_HEADERS, "content-security-policy": f"{content_policy(issuer)}; frame-ancestors 'none'"}
    if vary:
        headers["vary"] = "accept"
    body = render_page(parts).encode()
    return Answer(status=status, body=body, content_type="text/html; charset=utf-8", headers=headers)


def served_file(name: str) -> Answer:
    """One of the page's own files."""
    kind = content_type(name) or "application/octet-stream"
    headers = {**_HEADERS, "cache-control": "public, max-age=300"}
    # A worker has a policy of its own; without one, it could reach any site.
    headers["content-security-policy"] = (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'"
    )
    return Answer(body=site_file(name), content_type=kind, headers=headers)


def _file(body: bytes, kind: str, *, vary: bool = False) -> Answer:
    headers = {**_HEADERS, "cross-origin-resource-policy": "cross-origin", "access-control-allow-origin": "*"}
    if vary:
        headers["vary"] = "accept"
    return Answer(body=body, content_type=kind, headers=headers)
