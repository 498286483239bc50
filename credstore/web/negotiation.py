"""Whether a reader wants a page or a document for programs. Pure.

Source: RFC 9110 §12.5.1 (Accept), §12.4.2 (quality values).
"""

from __future__ import annotations

import re

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_JSON = re.compile(r"application/(?:json|[a-z0-9.-]+\+json)")
_QUALITY = re.compile(r"[ \t]*q[ \t]*=[ \t]*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)


def prefers_html(accept: str) -> bool:
    """Whether a reader names HTML, and likes it no less than JSON, as browsers do.

    Args:
        accept: The Accept header; ranges such as */* name nothing, so programs get what they always got.

    >>> prefers_html("text/html,application/xml;q=0.9,*/*;q=0.8"), prefers_html("*/*"), prefers_html("")
    (True, False, False)
    """
    html = document = 0.0
    for element in accept.lower().split(","):
        kind, *parameters = element.split(";")
        found = [match for match in map(_QUALITY.fullmatch, parameters) if match is not None]
        quality = float(found[0][1]) if found else 1.0
        name = kind.strip()
        if name in _HTML:
            html = max(html, quality)
        elif _JSON.fullmatch(name):
            document = max(document, quality)
    return html > 0 and html >= document
