"""Writes the facts on the pages of clouds, docs/clouds/: `python docs/make_clouds.py`.

A page is written by hand, except for what is between FACTS and END: what the cloud's row grants and what that stands
on, where it was tried, prices, and a report of `credstore check-provider` where there is one in docs/clouds/reports/.
The tables of clouds and prices on docs/clouds/index.md are made, too.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from credstore import load_report
from credstore.config.mapping import from_mapping
from credstore.config.registry import CLOUDS, Cloud
from credstore.driver.values import Capabilities
from credstore.drivers.s3.dialect import DIALECTS
from credstore.prices.table import GIB, NOT_FREE, TABLE, Price
from credstore.provider.presets import build_driver

DOCS = Path(__file__).parent
FACTS, END = "<!-- facts: made by docs/make_clouds.py -->", "<!-- end of facts -->"
TRIED = DOCS / "reference" / "what-each-store-can-do.md"
PAGES = {
    "s3": ("s3",), "r2": ("r2",), "spaces": ("spaces",), "wasabi": ("wasabi",), "b2": ("b2",),
    "s3-compatible": ("minio", "ceph", "custom"), "azure": ("azure",), "gcs": ("gcs",), "local": ("local", "memory"),
}  # fmt: skip
"""The rows of each page."""
GROUNDS = {
    "azure": "credstore.drivers.azure.capabilities",
    "gcs": "credstore.drivers.gcs.capabilities",
}
"""Modules whose docstring names the source of a row that is not one of S3's."""
OWN = "credstore itself; there is no server"
LISTS = {"presign": "links", "storage_classes": "storage classes", "retention_modes": "retention"}
SIZES = {"max_metadata_size", "max_object_size"}
WORDS = {
    "conditional_create": "`if_absent` is atomic",
    "conditional_replace": "`if_match` is atomic",
    "conditional_delete": "a delete can have a condition",
    "delete_tells_existence": "`delete` says whether there was an object",
    "tags": "tags",
    "versions": "versions, where the bucket keeps them",
    "retention_modes": "retention",
    "legal_holds": "legal holds",
    "storage_classes": "storage classes",
    "sse_s3": "encryption at rest by a header (AES256)",
    "sse_s3_implied": "everything is encrypted at rest anyway",
    "sse_kms": "keys of the cloud's key service (`KmsKey`)",
    "sse_c": "keys of your own, sent along (`CustomerKey`)",
    "presign": "temporary links",
    "upload_forms": "upload forms that bind size and type",
    "resumable": "an upload can be continued by another process",
    "drops_parts": "an upload that is given up leaves nothing behind",
    "ordered": "listings are in the order of names",
    "content_etags": "equal entity tags mean equal bytes",
    "copy_digests": "the store computes the SHA-256 of a copy",
    "max_key_size": "bytes of a key",
    "max_metadata_size": "bytes of metadata",
    "max_object_size": "size of an object",
    "max_delete_batch": "keys in one request of `batch_delete`",
}
"""Facts that users ask about, in the order of the page."""


def capabilities_of(row: Cloud) -> Capabilities:
    """What a row grants; nothing is sent."""
    return build_driver(from_mapping({"provider": row.name, **row.needed}, {})).capabilities


def grounds_of(row: Cloud) -> str:
    """What a row stands on."""
    if row.dialect:
        return DIALECTS[row.dialect].grounds
    if row.name in GROUNDS:
        text = import_module(GROUNDS[row.name]).__doc__ or ""
        return " ".join(text.partition("Source: ")[2].split()).rstrip(".")
    return OWN


def shown(name: str, value: object) -> str:
    """A fact, for people."""
    if isinstance(value, bool):
        return "yes" if value else "-"
    if isinstance(value, frozenset):
        return ", ".join(sorted(map(str, value))) or "-"
    if value is None:
        return "no limit"
    if name in SIZES and isinstance(value, int):
        for unit, word in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
            if value >= unit:
                return f"{value / unit:.4g} {word}"
    return f"{value:,}"


def tried_of(row: Cloud) -> str:
    """What its row of the table of what was tried says, shortest form."""
    table = TRIED.read_text().partition("<!-- tried")[2].partition("\n")[2].partition("\n\n")[0].splitlines()
    heads = [cell.strip() for cell in table[0].strip("|").split("|")][1:]
    for line in table[2:]:
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if first == row.name:
            by: dict[str, list[str]] = {}
            for head, cell in zip(heads, cells, strict=True):
                if cell != "-":
                    by.setdefault(cell, []).append(head)
            return "; ".join(f"{where}: {', '.join(what)}" for where, what in by.items())
    raise LookupError(row.name)


def unit_of(price: Price) -> str:
    """The GB of a price."""
    return "GiB" if price.unit == GIB else "GB"


def dollars(value: float) -> str:
    """A price without trailing zeros."""
    return f"{value:g}"


def storage_of(price: Price) -> str:
    """What keeping costs, for people."""
    text = dollars(price.storage)
    if price.monthly:
        text = f"{price.monthly:.2f} a month with {price.included:,} {unit_of(price)}, then {text}"
    extra = [f"{price.least_days} days at least"] if price.least_days else []
    extra += [f"{price.least_size:,} bytes at least"] if price.least_size else []
    return text + (f" ({', '.join(extra)})" if extra else "")


def egress_of(price: Price) -> str:
    """What reading from outside costs, for people."""
    text = dollars(price.egress)
    if price.included_egress:
        text = f"{price.included_egress:,} {unit_of(price)} included, then {text}"
    elif price.free_egress:
        times = "" if price.free_egress == 1 else f"{price.free_egress:g} times "
        text = f"0 up to {times}what is stored" + (f", then {text}" if price.egress else "")
    return text + (f", and {dollars(price.retrieval)} for retrieval" if price.retrieval else "")


def price_table(rows: list[Price]) -> str:
    """Prices with date and source."""
    text = (
        "| US dollars | storage, GB-month | egress, GB | 1,000 writes | 1,000 reads | found | page |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    for row in rows:
        text += (
            f"| {row.title} | {storage_of(row)} | {egress_of(row)} | {dollars(row.writes)} | {dollars(row.reads)} "
            f"| {row.found.isoformat()} | {row.source} |\n"
        )
    return text


def prices_of(rows: list[Cloud]) -> str:
    """The paragraph on prices of a page."""
    found = [price for price in TABLE if price.cloud in {row.name for row in rows}]
    if found:
        return (
            "List prices without free tiers, taxes and discounts; `credstore explain` and `bill` count by them. "
            f"Check the provider's page before you decide.\n\n{price_table(found)}"
        )
    if any(row.name in NOT_FREE for row in rows):
        return 'No price could be confirmed, so none is given; `credstore explain` says "not known".\n'
    return "Nothing is billed by the store itself.\n"


def report_of(row: Cloud) -> str:
    """A report of this row, where one was put into docs/clouds/reports/."""
    file = DOCS / "clouds" / "reports" / f"{row.name}.json"
    if not file.is_file():
        return ""
    facts = load_report(file).facts
    lines = "".join(
        f"| {fact.name} | {shown('', fact.granted)} | {fact.honoured} | {fact.verdict} |\n" for fact in facts
    )
    return f"\nWhat `{file.name}` says:\n\n| | granted | honoured | verdict |\n|---|---|---|---|\n{lines}"


def facts(names: tuple[str, ...]) -> str:
    """What is made of one page."""
    rows = [row for name in names for row in CLOUDS if row.name == name]
    can = [capabilities_of(row) for row in rows]
    text = "## What it can do\n\nWhat is not granted is refused before anything is sent.\n\n"
    text += f"| | {' | '.join(row.name for row in rows)} |\n|---|{'---|' * len(rows)}\n"
    for name, words in WORDS.items():
        cells = [shown(name, getattr(each, name)) for each in can]
        text += f"| {words} | {' | '.join(cells)} |\n"
    text += '\nWhat this stands on, and what credstore\'s own tests run it on ("document": on no such server):\n\n'
    text += "| | stands on | tests |\n|---|---|---|\n"
    text += "".join(f"| {row.name} | {grounds_of(row)} | {tried_of(row)} |\n" for row in rows)
    text += f"\n## Prices\n\n{prices_of(rows)}"
    url = rows[0].url.partition("[")[0]
    text += (
        "\n## Your own report\n\nNo account of any cloud was used to fill in the table above. Find out what your "
        "bucket does, and open the store with the report:\n\n"
        f"```console\ncredstore check-provider '{url}' --report {rows[0].name}.json\n```\n\n"
        "[How a bucket is checked](../check-provider.md) says what is tried and what a report is worth. In a copy of "
        f"this site, put the report into `docs/clouds/reports/{rows[0].name}.json` and run `python docs/make_clouds.py`: "
        "it is then shown here.\n"
    )
    return text + "".join(map(report_of, rows))


def index() -> str:
    """What is made of the first page."""
    text = "<!-- clouds: this table is compared with the code by a test -->\n| cloud | also called | URL |\n|---|---|---|\n"
    text += "".join(f"| {row.name} | {', '.join(row.aliases) or '-'} | `{row.url}` |\n" for row in CLOUDS)
    text += f"\n## Prices\n\nList prices without free tiers, taxes and discounts. Check your provider's page before you decide.\n\n{price_table(list(TABLE))}"
    return text


def filled(page: str, made: str) -> str:
    """The page with what is made in its place."""
    pattern = re.escape(FACTS) + ".*?" + re.escape(END)
    text, count = re.subn(pattern, lambda _: f"{FACTS}\n\n{made}\n{END}", page, flags=re.DOTALL)
    assert count == 1
    return text


def pages() -> dict[str, str]:
    """Every page, by its name below docs/."""
    made = {f"clouds/{name}.md": facts(rows) for name, rows in PAGES.items()} | {"clouds/index.md": index()}
    return {name: filled((DOCS / name).read_text(), text) for name, text in made.items()}


if __name__ == "__main__":
    for name, text in pages().items():
        (DOCS / name).write_text(text)
