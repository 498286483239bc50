"""Public URLs: where anyone may fetch an object that is public, on the CDN or at the provider.

Pure. Forms from providers.md §1.3. A public URL grants nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from credstore.config.clouds import (
    BackblazeConfig,
    CommonConfig,
    LocalConfig,
    MemoryConfig,
    R2Config,
    S3FamilyConfig,
    SpacesConfig,
)

_UNRESERVED = re.compile(r"[A-Za-z0-9/\-_.~]*")
PublicUrl = Callable[[str], str]
"""From a key to the object's public URL."""


def public_url(config: CommonConfig) -> PublicUrl:
    """The function from key to public URL for one store.

    Args:
        config: `cdn_url` wins over the provider's own form. Its path is kept, a trailing slash
            makes no difference.

    Returns:
        A function whose result is percent-encoded and puts exactly one slash before the key.
    """
    base = (config.cdn_url or origin_base(config)).rstrip("/")

    def locate(key: str) -> str:
        # Most keys stand for themselves, and `quote` costs more than to see that.
        return f"{base}/{key if _UNRESERVED.fullmatch(key) else quote(key, safe='/-_.~')}"

    return locate


def origin_base(config: CommonConfig) -> str:
    """Base of the provider's own public form, without a CDN."""
    if isinstance(config, LocalConfig):
        return "file://" + quote(config.root)
    if isinstance(config, MemoryConfig):
        return f"memory://{quote(config.name, safe='')}"
    if isinstance(config, R2Config) and config.public_url:
        return config.public_url
    if isinstance(config, BackblazeConfig) and config.download_url:
        return f"{config.download_url.rstrip('/')}/file/{quote(config.bucket, safe='')}"
    if isinstance(config, SpacesConfig) and config.cdn:
        return f"https://{config.bucket}.{config.resolved_region}.cdn.digitaloceanspaces.com"
    if isinstance(config, S3FamilyConfig):
        return bucket_base(config)
    return ""


def locatable(config: CommonConfig) -> bool:
    """Whether public URLs lead to a CDN, and not to the provider's own API or a disk."""
    if isinstance(config, R2Config) and config.public_url:
        return True
    return config.cdn_url is not None or (isinstance(config, SpacesConfig) and config.cdn)


def bucket_base(config: S3FamilyConfig) -> str:
    """The bucket at the S3 endpoint, in the host or in the path."""
    endpoint = config.resolved_endpoint
    if config.resolved_addressing == "path":
        return f"{endpoint}/{quote(config.bucket, safe='')}"
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{config.bucket}.{host}"
