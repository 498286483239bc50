"""Writes the pages of the API reference, docs/reference/api/: `python docs/make_api.py`.

Each public name of each public package is on one page; what is said there comes from the docstrings when the
site is built.
"""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module
from pathlib import Path
from types import FunctionType

DOCS = Path(__file__).parent
HERE = "reference/api"
PACKAGES = {
    "credstore.proofs": ("proofs", "Proofs: issue, find, verify, revoke, export."),
    "credstore.proofs.log": ("log", "Transparency logs: write, read, witness, monitor."),
    "credstore.proofs.c2pa": ("c2pa", "C2PA manifests: sign, attach, examine."),
    "credstore.proofs.attestations": ("attestations", "Attestations of other tools."),
    "credstore.proofs.bindings": ("bindings", "Soft bindings: pictures found by what they look like."),
    "credstore.transfer": ("transfer", "Copies, synchronisations and comparisons of places."),
    "credstore.artifacts": ("artifacts", "Versions of datasets and models, checkpoints, backups, archives."),
    "credstore.web": ("web", "ASGI applications: proof pages, logs, witnesses, counters."),
    "credstore.sync": ("sync", "The same verbs without asyncio."),
    "credstore.testing": ("testing", "Stores and transports for tests."),
    "credstore.driver": ("driver", "The contract of a driver, for those who write one."),
}
"""Packages besides `credstore` itself: the page's name, and what is there."""
GROUPS = {
    "store": (
        "store",
        "Stores: `connect`, the provider and its named classes, factories, and what calls return.",
    ),
    "config": ("configs", "Settings of each kind of store."),
    "errors": ("errors", "Errors."),
    "keys": ("keys", "Encryption, keys and secrets."),
    "links": ("links", "Temporary links, their signers and servers."),
    "observe": ("observe", "Events, counters and bills."),
}
"""The names of `credstore`, by what they are for."""
TOPS = {
    "config": "config", "errors": "errors", "error_codes": "errors", "encryption": "keys", "keyring": "keys",
    "links": "links", "edge": "links", "observe": "observe", "metrics": "observe", "prices": "observe",
}  # fmt: skip
"""Where a name is defined, as its group; "store" for all others."""


def group_of(name: str) -> str:
    """The group of a name of `credstore`."""
    home: str = getattr(getattr(import_module("credstore"), name), "__module__", "") or ""
    top = home.removeprefix("credstore.").partition(".")[0]
    return TOPS.get(top, "store")


def public() -> dict[str, list[str]]:
    """The names of each package, `credstore` first."""
    packages = ["credstore", *PACKAGES]
    return {
        each: sorted(import_module(each).__all__, key=lambda name: (name[0].islower(), name))
        for each in packages
    }


def entry(package: str, name: str, known: set[type]) -> str:
    """One name of a page."""
    found = getattr(import_module(package), name)
    text = f"::: {package}.{name}\n"
    if isinstance(found, type):
        # What it takes from a class without a page of its own is shown with it.
        mixed = any(base.__module__.startswith("credstore") for base in found.__bases__)
        if mixed and not any(base in known for base in found.__mro__[1:]):
            text += "    options:\n      inherited_members: true\n"
    return text


def pages() -> dict[str, str]:
    """Every page, by its name below docs/."""
    names = public()
    known = {
        found
        for package, those in names.items()
        for found in (getattr(import_module(package), name) for name in those)
        if isinstance(found, type)
    }
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names["credstore"]:
        groups[group_of(name)].append(name)
    made: dict[str, str] = {}
    rows: list[str] = []

    def page(file: str, title: str, about: str, package: str, those: list[str]) -> None:
        head = (
            f"# {title}\n\n{about}\n\nThis page is made by `python docs/make_api.py` from the docstrings.\n\n"
        )
        made[f"{HERE}/{file}.md"] = head + "\n".join(entry(package, name, known) for name in those)
        functions = [
            name for name in those if isinstance(getattr(import_module(package), name), FunctionType)
        ]
        shown = ", ".join(f"`{name}`" for name in (functions or those)[:4])
        rows.append(
            f"| [{title}]({file}.md) | {about} | {shown}, … |"
            if len(those) > 4
            else f"| [{title}]({file}.md) | {about} | {shown} |"
        )

    for group, (file, about) in GROUPS.items():
        page(file, f"credstore: {file}", about, "credstore", groups[group])
    for package, (file, about) in PACKAGES.items():
        page(file, package, about, package, names[package])
    made[f"{HERE}/index.md"] = (
        "# API reference\n\nAll that is listed here is public; anything else may change in any release. Types are "
        "checked with mypy and pyright in strict mode.\n\n| package | what is there | such as |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )
    return made


if __name__ == "__main__":
    for name, text in pages().items():
        target = DOCS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
