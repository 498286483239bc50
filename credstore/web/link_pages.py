"""`ProofLinkPages`: whoever follows the temporary link of a proof with a browser sees its page."""

from __future__ import annotations

import base64

from credstore.arguments import typed_class
from credstore.edge.pages import PAGE_FILES, LinkPages, PageResponse
from credstore.proofs.format.bundle import BUNDLE_TYPE, bundle_name
from credstore.proofs.store.layout import PREFIX, Layout
from credstore.web.app import Answer
from credstore.web.markup import PageParts
from credstore.web.negotiation import prefers_html
from credstore.web.proof_pages import KEYS, POLICY, ProofPages, html_answer
from credstore.web.site_files import served_files


@typed_class
class ProofLinkPages(LinkPages):
    """Pages for `serve_links`: a link grants one record, so its page holds the bundle and no picture."""

    def __init__(self, pages: ProofPages, *, prefix: str = PREFIX) -> None:
        """Show these proofs.

        Args:
            pages: Of the store whose links are served.
            prefix: Of the proof store.

        Raises:
            StorageInvalidRequestError: The prefix is malformed.
        """
        self._pages = pages
        self._layout = Layout(prefix)

    async def file(self, name: str) -> PageResponse | None:
        """See `LinkPages`; pictures and searches are for pages that are public.

        Raises:
            StorageError: The store failed.
        """
        if name not in served_files() and name not in {KEYS, POLICY}:
            return None
        answer = await self._pages.answer(f"/{name}", "")
        return None if answer is None else _response(answer)

    async def page(self, key: str, accept: str) -> PageResponse | None:
        """See `LinkPages`.

        Raises:
            StorageError: The store failed.
        """
        proof_id = self._layout.parse_record(key)
        if proof_id is None or not prefers_html(accept):
            return None
        page = await self._pages.page(proof_id, pictured=False)
        href = None
        if page.bundle is not None:
            href = f"data:{BUNDLE_TYPE};base64,{base64.b64encode(page.bundle).decode()}"
        parts = PageParts(page.report, href, bundle_name(proof_id), base=PAGE_FILES)
        return _response(html_answer(parts, status=page.status, vary=True))


def _response(answer: Answer) -> PageResponse:
    headers = {
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "x-robots-tag": "noindex, nofollow",
        **(answer.headers or {}),
        "content-type": answer.content_type,
    }
    return PageResponse(answer.status, headers, answer.body)
