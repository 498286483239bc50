"""The verification page as HTML. Pure, but for the page's own files.

Rules of this file: whatever is not markup is escaped where it is put in; the markup is in `site/`, and the
page's scripts make their cards of the same templates.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from html import escape
from string import Template

from credstore.web.report import PageReport, origin_of, page_words
from credstore.web.site_files import has_c2pa, site_file

HIDDEN = " hidden"


@dataclass(frozen=True, slots=True)
class PageParts:
    """What one page shows.

    Attributes:
        report: The verdict, or None on a page without a proof.
        bundle_href: Where the bundle is, a URL as seen from the page; None without a proof.
        bundle_name: The file name of the bundle.
        picture: Where the picture is, or None.
        base: What the names of the page's own files start with.
    """

    report: PageReport | None = None
    bundle_href: str | None = None
    bundle_name: str = ""
    picture: str | None = None
    base: str = ""


@cache
def _template(name: str) -> Template:
    return Template(site_file(name).decode())


def _filled(template: str, **texts: str) -> str:
    """Markup with texts in it, each escaped, in quotes or out of them."""
    return _template(template).substitute({name: escape(text) for name, text in texts.items()})


def content_policy(issuer: str | None) -> str:
    """The content security policy of a page: this site's own files, and the issuer's site for its keys.

    Source: W3C Content Security Policy Level 3. What `frame-ancestors` says can only be in a header.
    """
    scripts = "'self' 'wasm-unsafe-eval'" if has_c2pa() else "'self'"
    also = origin_of(issuer)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'self'; img-src 'self' blob:; "
        f"connect-src 'self'{'' if also is None else f' {also}'}; worker-src 'self'; base-uri 'none'; "
        "form-action 'none'"
    )


def render_page(parts: PageParts) -> str:
    """The whole page."""
    report = parts.report
    heading = "Verify a file" if report is None else "Where does this file come from?"
    issuer = None if report is None else report.issuer
    bundle = ""
    if parts.bundle_href is not None:
        bundle = _filled("bundle.html", href=parts.bundle_href, name=parts.bundle_name)
    # In a script element, only what looks like its end has to be written differently.
    words = json.dumps(page_words(), ensure_ascii=True).replace("<", "\\u003c")
    return _template("page.html").substitute(
        policy=escape(content_policy(issuer)),
        title=escape(heading if report is None else f"{report.title}: {heading}"),
        heading=escape(heading),
        base=escape(parts.base),
        issuer=escape(issuer or ""),
        manifests="yes" if has_c2pa() else "no",
        card="" if report is None else _card(report, parts.picture),
        bundle=bundle,
        empty_card=_card(PageReport("nothing", "", ""), None),
        empty_fact=_filled("fact.html", name="", value=""),
        empty_check=_filled("check.html", mark="open", word="", text=""),
        words=words,
    )


def _card(report: PageReport, picture: str | None) -> str:
    marks = page_words()["marks"]
    facts = "".join(_filled("fact.html", name=name, value=value) for name, value in report.facts)
    checks = "".join(
        _filled("check.html", mark=mark, word=marks[mark], text=text) for mark, text in report.checks
    )
    claims = "" if report.claims is None else json.dumps(report.claims, ensure_ascii=False, indent=2)
    return _template("card.html").substitute(
        state=escape(report.state),
        title=escape(report.title),
        summary=escape(report.summary),
        by=escape(report.by),
        no_picture=HIDDEN if picture is None else "",
        source="" if picture is None else f' src="{escape(picture)}"',
        facts=facts,
        checks=checks,
        no_claims=HIDDEN if report.claims is None else "",
        claims=escape(claims),
    )
