"""Where a bucket is: scheme, host, path and signing region, and where it is after a correction. Pure.

Rules of this file: a host is computed from the configuration alone. What a server says about the
right region only selects among AWS's own hosts (P25); it never names one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from credstore.config.registry import cloud_named
from credstore.config.stores import S3FamilyConfig
from credstore.wire.urls import encode_path

_AWS_HOST = re.compile(r"s3(?:[.-][a-z0-9-]+)?\.amazonaws\.com(?:\.cn)?")
_AWS_VARIANT = re.compile(r"(s3-fips\.dualstack|s3-fips|s3\.dualstack)\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?")
_ACCELERATED = re.compile(r"s3-accelerate(?:\.dualstack)?\.amazonaws\.com")
"""The same for all regions."""
_AWS_REGION = re.compile(r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_CHINA = "cn-"


@dataclass(frozen=True, slots=True)
class Place:
    """Where requests for one bucket go.

    Attributes:
        origin: `https://host[:port]`, with or without the bucket in the host.
        base: Percent-encoded path of the bucket: empty, or `/bucket`.
        region: The region to sign for.
    """

    origin: str
    base: str
    region: str

    def path(self, key: str | None) -> str:
        """Percent-encoded path of an object, or of the bucket itself for None."""
        if key is None:
            return self.base or "/"
        return f"{self.base}{encode_path('/' + key)}"


def place_of(config: S3FamilyConfig) -> Place:
    """Where the configuration, which has checked itself, puts the bucket."""
    region = config.resolved_region
    endpoint = urlsplit(config.resolved_endpoint)
    if config.resolved_addressing == "virtual":
        return Place(f"{endpoint.scheme}://{config.bucket}.{endpoint.netloc}", "", region)
    return Place(f"{endpoint.scheme}://{endpoint.netloc}", encode_path(f"/{config.bucket}"), region)


def is_elsewhere(config: S3FamilyConfig) -> bool:
    """Whether the endpoint is not the cloud's own, so that its word for what the cloud does is not there."""
    row = cloud_named(config.cloud)
    host = urlsplit(config.resolved_endpoint).hostname or ""
    return row is None or not any(host == each or host.endswith(f".{each}") for each in row.hosts)


def corrected_place(place: Place, config: S3FamilyConfig, region: str | None) -> Place | None:
    """Where the bucket is if the hint is right, or None where that cannot be computed.

    Args:
        place: Where the bucket was looked for.
        config: The configuration.
        region: The hint, as received from the server.

    Returns:
        The same kind of AWS host in that region, within AWS's partition; for one that is for all regions, and
        for any other endpoint, only the signing region changes, never the host.
    """
    if region is None or region == place.region or not _AWS_REGION.fullmatch(region):
        return None
    host = urlsplit(config.resolved_endpoint).netloc
    if _ACCELERATED.fullmatch(host):
        return replace(place, region=region)
    variant = _AWS_VARIANT.fullmatch(host)
    if variant is None and not _AWS_HOST.fullmatch(host):
        return (
            None if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else replace(place, region=region)
        )
    if region.startswith(_CHINA) != place.region.startswith(_CHINA):
        return None
    service = "s3" if variant is None else variant[1]
    target = f"{service}.{region}.amazonaws.com" + (".cn" if region.startswith(_CHINA) else "")
    virtual = f"{config.bucket}." if config.resolved_addressing == "virtual" else ""
    return Place(f"https://{virtual}{target}", place.base, region)
