"""List prices, as data: each row with the date it was found and the page it is from.

Rules of this file: US dollars, without free tiers, volume discounts and taxes, for the region that the row
names; a GB is the provider's own, 10^9 or 2^30 bytes (`Price.unit`). What could not be confirmed has no row:
nothing here is a guess. docs/make_clouds.py puts these rows on the pages of clouds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

GB = 10**9
GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one class of one cloud costs.

    Attributes:
        cloud: Name of its row in the registry.
        storage_class: As `storage_class` of a write names it; "" for the one that is used without.
        title: For people.
        unit: Bytes of the GB that the prices below are for.
        storage: Dollars per GB and month.
        egress: Dollars per GB that leaves the cloud.
        writes: Dollars per 1,000 requests that write, copy or list.
        reads: Dollars per 1,000 requests that read.
        retrieval: Dollars per GB that is read, besides egress.
        least_days: Days for which an object is billed at least.
        least_size: Bytes with which an object is billed at least.
        monthly: Dollars per month that are due in any case.
        included: GB of storage that `monthly` includes.
        included_egress: GB of egress a month that `monthly` includes.
        free_egress: Egress a month that is free, as a multiple of what is stored; None for no limit to it.
        found: When the prices were found, or from when they hold.
        source: The page, or a copy of it.
    """

    cloud: str
    storage_class: str = ""
    title: str
    unit: int = GB
    storage: float
    egress: float
    writes: float
    reads: float
    retrieval: float = 0.0
    least_days: int = 0
    least_size: int = 0
    monthly: float = 0.0
    included: int = 0
    included_egress: int = 0
    free_egress: float | None = 0.0
    found: date
    source: str


_R2 = "developers.cloudflare.com/r2/pricing"
_GOOGLE = "Google, Cloud Storage pricing, as copied by api-evangelist/gcp-cloud-storage"
_GOOGLE_FOUND = date(2026, 9, 20)
TABLE: tuple[Price, ...] = (
    Price(
        cloud="s3",
        title="S3 Standard, us-east-1",
        storage=0.023,
        egress=0.09,
        writes=0.005,
        reads=0.0004,
        found=date(2026, 9, 25),
        source="aws.amazon.com/s3/pricing",
    ),
    Price(
        cloud="r2",
        title="R2 Standard",
        storage=0.015,
        egress=0.0,
        writes=0.0045,
        reads=0.00036,
        free_egress=None,
        found=date(2026, 10, 1),
        source=_R2,
    ),
    Price(
        cloud="r2",
        storage_class="STANDARD_IA",
        title="R2 Infrequent Access",
        storage=0.01,
        egress=0.0,
        writes=0.009,
        reads=0.0009,
        retrieval=0.01,
        least_days=30,
        free_egress=None,
        found=date(2026, 10, 1),
        source=_R2,
    ),
    Price(
        cloud="spaces",
        title="Spaces",
        unit=GIB,
        storage=0.02,
        egress=0.01,
        writes=0.0,
        reads=0.0,
        monthly=5.0,
        included=250,
        included_egress=1024,
        found=date(2026, 7, 13),
        source="DigitalOcean, Spaces pricing",
    ),
    Price(
        cloud="wasabi",
        title="Wasabi",
        unit=GIB,
        storage=0.0078,
        egress=0.0,
        writes=0.0,
        reads=0.0,
        least_days=90,
        least_size=4096,
        monthly=7.99,
        included=1024,
        free_egress=1.0,
        found=date(2026, 7, 1),
        source="Wasabi, pricing",
    ),
    Price(
        cloud="b2",
        title="B2",
        storage=0.00695,
        egress=0.01,
        writes=0.0,
        reads=0.0,
        free_egress=3.0,
        found=date(2026, 10, 1),
        source="Backblaze, B2 pricing",
    ),
    Price(
        cloud="gcs",
        title="Google Cloud Storage Standard, us-central1",
        unit=GIB,
        storage=0.020,
        egress=0.12,
        writes=0.005,
        reads=0.0004,
        found=_GOOGLE_FOUND,
        source=_GOOGLE,
    ),
    # Requests of the colder classes cost more; how much could not be confirmed, so there is no row for them.
)
NOT_FREE = frozenset({"s3", "r2", "spaces", "wasabi", "b2", "gcs", "azure"})
"""Clouds whose use costs something, whether or not the price is known."""


def price_of(cloud: str, storage_class: str | None = None) -> Price | None:
    """The row of a cloud and class; None where none could be confirmed."""
    wanted = storage_class or ""
    rows = [row for row in TABLE if row.cloud == cloud]
    return next((row for row in rows if row.storage_class == wanted), None)
