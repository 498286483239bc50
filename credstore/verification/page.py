"""A verdict as a page or a badge for people, without scripts and without anything from elsewhere. Pure.

Rules of this file: everything that came from a file is escaped. The page says what the command line says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from credstore.verification.evidence import AssetVerdict, Evidence, Whole

_COLOURS: Mapping[Whole, tuple[str, str]] = {
    "verified": ("#1a7f37", "verified"),
    "untrusted": ("#9a6700", "intact, signer not trusted"),
    "failed": ("#cf222e", "failed"),
    "nothing": ("#57606a", "nothing to verify"),
}


def rows(verdict: AssetVerdict) -> list[tuple[str, str]]:
    """The verdict as names and values for people."""
    found: list[tuple[str, str]] = [("verdict", _COLOURS[verdict.state][1]), ("file", verdict.name)]
    if verdict.digest is not None:
        found.append(("whole file", f"sha256:{verdict.digest.sha256.hex()}, {verdict.digest.size} bytes"))
    if verdict.media_type is not None:
        found.append(("type", verdict.media_type))
    found += [("warning", each) for each in verdict.warnings]
    for each in verdict.evidence:
        found += _evidence_rows(each)
    for used in verdict.lists:
        date = used.date or "of an unknown date"
        sha = f", sha256:{used.sha256[:16]}…" if used.sha256 else ""
        found.append(
            (f"list of {used.purpose}", f"{used.name}, {date}{sha}, from {used.source or 'the caller'}")
        )
    for left in verdict.unchecked:
        settled = f" (settled by {left.settled_by})" if left.settled_by else ""
        found.append(("not checked", f"{left.what}{settled}"))
    found.append(("checked at", f"{verdict.checked_at:%Y-%m-%d %H:%M:%SZ}, by this machine's clock"))
    return found


def _evidence_rows(each: Evidence) -> Iterable[tuple[str, str]]:
    yield each.kind, f"{each.state}, {each.place}"
    if each.who is not None:
        yield "  who", each.who
    if each.what:
        yield "  what", ", ".join(each.what)
    if each.when is not None:
        yield "  when", f"{each.when:%Y-%m-%d %H:%M:%SZ}, says {each.clock}"
    for reason in each.reasons:
        yield "  why", reason


def html_page(verdict: AssetVerdict) -> str:
    """A page of HTML, complete in itself."""
    colour, words = _COLOURS[verdict.state]
    lines = "\n".join(
        f"<tr><th scope=row>{escape(name.strip())}</th><td>{escape(value)}</td></tr>"
        for name, value in rows(verdict)
    )
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(verdict.name)}: {escape(words)}</title>\n<style>body{{font:16px/1.5 sans-serif;"
        "margin:2rem auto;max-width:60rem;padding:0 1rem}table{border-collapse:collapse}"
        "th{text-align:left;vertical-align:top;padding:.2rem 1rem .2rem 0;white-space:nowrap}"
        f"td{{overflow-wrap:anywhere}}h1{{color:{colour}}}</style></head>\n"
        f"<body><h1>{escape(words)}</h1>\n<table>\n{lines}\n</table></body></html>\n"
    )


def svg_badge(verdict: AssetVerdict) -> str:
    """A badge of SVG: the state and who says so."""
    colour, words = _COLOURS[verdict.state]
    who = next((each.who for each in verdict.evidence if each.state == "trusted" and each.who), "")
    text = escape(f"{words}: {who}" if who else words)
    width = 24 + 8 * len(f"{words}: {who}" if who else words)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="28" role="img" aria-label="{text}">'
        f'<rect width="{width}" height="28" rx="4" fill="{colour}"/>'
        f'<text x="12" y="19" font-family="sans-serif" font-size="14" fill="#fff">{text}</text></svg>\n'
    )
