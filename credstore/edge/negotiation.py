"""Which content coding a request gets. Pure.

Source: RFC 9110 §12.5.3 (Accept-Encoding), §12.4.2 (quality values), §8.4.1 (codings).
"""

from __future__ import annotations

import re

IDENTITY = "identity"
_ELEMENT = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*(?:;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*"
)
_ALIASES = {"x-gzip": "gzip", "x-compress": "compress"}
_UNNAMED = 0.0001
"""Quality of `identity` if the request does not mention it: acceptable, after everything mentioned."""


def choose_coding(accepted: str | None, stored: str | None, *, decodable: bool) -> str | None:
    """The coding to respond in, or None if the request accepts none of those available.

    Args:
        accepted: Value of Accept-Encoding, or None where it is absent.
        stored: Coding of the stored bytes that may be sent unchanged, or None.
        decodable: Whether the plain bytes can be sent.

    What is stored wins if both have the same quality. Without the header, the plain bytes are sent: any
    coding would be allowed then, but programs that do not send it do not decode anything.
    """
    if accepted is None:
        return IDENTITY if decodable else stored
    named = _qualities(accepted)
    other = named.get("*")
    candidates: list[tuple[float, str]] = []
    if stored is not None:
        candidates.append((named.get(stored, other or 0.0), stored))
    if decodable:
        candidates.append((named.get(IDENTITY, _UNNAMED if other is None else other), IDENTITY))
    best: tuple[float, str] | None = None
    for each in candidates:
        if each[0] > 0 and (best is None or each[0] > best[0]):
            best = each
    return None if best is None else best[1]


def _qualities(accepted: str) -> dict[str, float]:
    """The quality by coding, in lower case; invalid elements are skipped."""
    found: dict[str, float] = {}
    for element in accepted.split(","):
        match = _ELEMENT.fullmatch(element)
        if match is not None:
            name = match[1].lower()
            found[_ALIASES.get(name, name)] = 1.0 if match[2] is None else float(match[2])
    return found
