"""Public URLs: where anyone may fetch an object that is public, on the CDN or at the provider.

Rules of this file: it is the only owner of public URLs; nothing below the provider knows any. A public URL
grants no access by itself. Pure. Each provider's own form is its config's (`CommonConfig.public_base`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from credstore.config.settings import CommonConfig
from credstore.wire.urls import STEADY

_UNRESERVED = re.compile(r"[A-Za-z0-9/\-_.~]*")
_SAFE = f"/{STEADY}"
PublicUrl = Callable[[str], str]
"""From a key to the object's public URL."""


def public_url(config: CommonConfig, settle: Callable[[], CommonConfig] | None = None) -> PublicUrl:
    """The function from key to public URL for one store.

    Args:
        config: `cdn_url` takes precedence over the provider's own form. Its path is kept; a trailing slash
            makes no difference; the store's prefix follows it.
        settle: Returns the config whose place is fully known, where this one's is not; called for each
            URL that the place is needed for.

    Returns:
        A function whose result is percent-encoded, in the form that no client changes, and puts exactly
        one slash before prefix and key.
    """
    if settle is not None and config.cdn_url is None:

        def settled(key: str) -> str:
            locate = public_url(settle())
            return locate(key)

        return settled
    start = f"{(config.cdn_url or config.public_base).rstrip('/')}/{quote(config.prefix, safe=_SAFE)}"

    def locate(key: str) -> str:
        # Most keys need no quoting, and `quote` costs more than finding that out.
        return f"{start}{key if _UNRESERVED.fullmatch(key) else quote(key, safe=_SAFE)}"

    return locate
