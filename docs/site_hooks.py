"""What `make docs` does besides MkDocs: links to files outside the site, and a look at what was built.

A page may link to a file of the repository that is not a page. The site then links to the file where the project
is kept, if it is in the checkout, and the build fails if it is not. A page that would fetch a script, a style
sheet, a font or a picture from another host fails the build, too, since the site is read without network.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from posixpath import normpath
from typing import Any

LOG = logging.getLogger("mkdocs.plugins.credstore")  # A warning of MkDocs, by which a strict build fails.
ROOT = Path(__file__).parents[1]
SOURCE = "https://github.com/credstore/credstore/blob/main/"
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|audio|video)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|prefetch|preconnect|icon|modulepreload))[^>]*"
    r"\bhref=[\"']?(?:https?:)?//[^>]*>"
    r"|url\([\"']?(?:https?:)?//[^)]*\)|@import\s+[\"'](?:https?:)?//[^\"']*"
)


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Links to files that are not part of the site lead to the project."""
    here = page.file.src_uri.rpartition("/")[0]

    def led(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        inside = normpath(f"{here}/{target}" if here else target)
        if files.get_file_from_path(inside) is not None:
            return match[0]
        outside = normpath(f"docs/{inside}")
        if outside.startswith("..") or not (ROOT / outside).exists():
            LOG.warning("%s: %s is neither a page nor a file of the project", page.file.src_uri, target)
            return match[0]
        return f"]({SOURCE}{outside}{anchor})"

    parts = FENCE.split(markdown)
    parts[::2] = [LINK.sub(led, part) for part in parts[::2]]
    return "".join(parts)


def on_post_build(config: Any) -> None:
    """Nothing that was built fetches from another host."""
    from mkdocs.exceptions import PluginError

    for path in sorted(Path(config.site_dir).rglob("*")):
        if path.suffix in {".html", ".css"}:
            found = FETCHED.search(path.read_text(encoding="utf-8"))
            if found:
                raise PluginError(f"{path.relative_to(config.site_dir)} would fetch {found[0][:120]}")
