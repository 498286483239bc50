"""The verification pages as files, for any bucket, CDN or web server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from credstore.proofs.format.errors import ProofNotFoundError
from credstore.web.markup import PageParts, render_page
from credstore.web.proof_pages import KEYS, POLICY, ProofPages, page_parts
from credstore.web.site_files import content_type, served_files, site_file

HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class SiteFile:
    """One file of the folder.

    Attributes:
        name: Its path in the folder, with slashes.
        data: All of it.
        content_type: What a server has to call it; by the end of the name, most do.
    """

    name: str
    data: bytes
    content_type: str


async def folder_files(pages: ProofPages, proof_ids: Iterable[str]) -> AsyncGenerator[SiteFile, None]:
    """The files of a folder with a page for each of these proofs, and one to verify files on.

    Args:
        pages: Of the store that has them.
        proof_ids: Whose pages to make.

    Raises:
        ProofNotFoundError: There is no such proof.
        StorageError: The store failed.
    """
    for name in sorted(served_files()):
        yield SiteFile(name, site_file(name), content_type(name) or "application/octet-stream")
    yield SiteFile("index.html", render_page(PageParts()).encode(), HTML)
    digests: dict[str, None] = {}
    for proof_id in proof_ids:
        page = await pages.page(proof_id)
        if page.status != 200:  # noqa: PLR2004 - HTTP's OK
            raise ProofNotFoundError(f"there is no proof {proof_id}", key=proof_id)
        yield SiteFile(f"{proof_id}.html", render_page(page_parts(page)).encode(), HTML)
        if page.sha256 is not None:
            digests[page.sha256] = None
        beside = (f"{proof_id}.credproof.json", page.picture)
        for name in (each for each in beside if each is not None):
            if (file := await _file(pages, name)) is not None:
                yield file
    for name in (KEYS, POLICY, *(f"find/{each}.json" for each in digests)):
        if (file := await _file(pages, name)) is not None:
            yield file


async def _file(pages: ProofPages, name: str) -> SiteFile | None:
    """What the server would respond with."""
    answer = await pages.answer(f"/{name}", "")
    return None if answer is None else SiteFile(name, answer.body, answer.content_type)
