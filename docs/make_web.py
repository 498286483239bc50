"""Brings the reader of Content Credentials for the verification page: `python docs/make_web.py`.

`@contentauth/c2pa-web` (MIT) and the two packages that it imports (ISC) go, with their licences, to a folder
that git ignores and the wheel packs. Versions and bytes are pinned here: what else a registry has is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "credstore" / "web" / "site" / "c2pa"
PACKAGES = {"@contentauth/c2pa-web": "0.13.1", "highgain": "0.1.0", "ts-deepmerge": "8.0.0"}
FILES = {
    "c2pa-web.js": (
        "@contentauth/c2pa-web/dist/index.js",
        "6d087a4326f05d296f179bcae41179088be7dd288bc527cd8cca732fdaa3f5c3",
    ),
    "c2pa-8eeyObgG.js": (
        "@contentauth/c2pa-web/dist/c2pa-8eeyObgG.js",
        "37ccfb9f2776d405ae60b6e70089bfa8f89272adf5a76aa10f3f3fd437080bab",
    ),
    "c2pa-worker.js": (
        "@contentauth/c2pa-web/dist/c2pa_worker.js",
        "e4859b282d83f2d177c4508d5adcc46d7492a7805d9972a612d08fe81952c24d",
    ),
    "c2pa.wasm": (
        "@contentauth/c2pa-web/dist/resources/c2pa_bg.wasm",
        "eb8b3557c7da472e9d0b347936e8ac72e9ebfb0dff05aba3ca00dd5e2dd8c499",
    ),
    "highgain.js": (
        "highgain/dist/index.js",
        "318220c98cc72436b2a9108f54f64b904476a3e738d2866da9e946567373a078",
    ),
    "ts-deepmerge.js": (
        "ts-deepmerge/esm/index.js",
        "5bbf14a1493585cd4051900c8ce4ab2d8a6d0657d1ef6073a05f789f678877b7",
    ),
    "LICENSE.txt": (
        "@contentauth/c2pa-web/LICENSE",
        "5aeea31bc245dd31213e7ff878a40362d6d4d8bc8093e34a0f30ed7639fe93c6",
    ),
}
"""By the name on the page: where it is among the packages, and its SHA-256."""
IMPORTED = ("highgain", "ts-deepmerge")
MODULE = "c2pa-8eeyObgG.js"
"""The library's one module, which its entry renames the exports of; it keeps its name."""


def fetch(folder: Path) -> Path:
    """Install the packages into a folder; none of their scripts run."""
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    subprocess.run(["npm", "install", "--prefix", str(folder), *quiet, *wanted], check=True)
    return folder / "node_modules"


def files(packages: Path) -> dict[str, bytes]:
    """What goes to the page, by name."""
    made: dict[str, bytes] = {}
    for name, (place, expected) in FILES.items():
        made[name] = (packages / place).read_bytes()
        found = hashlib.sha256(made[name]).hexdigest()
        if found != expected:
            sys.exit(f"{place}: SHA-256 {found} instead of {expected}")
    # Browsers know no packages, only addresses.
    for each in IMPORTED:
        made[MODULE] = made[MODULE].replace(f'from "{each}"'.encode(), f'from "./{each}.js"'.encode())
    made["LICENSE.txt"] = notices(packages, made["LICENSE.txt"])
    return made


def notices(packages: Path, licence: bytes) -> bytes:
    """The licence of the library, and whose the others are."""
    name = "@contentauth/c2pa-web"
    texts = [f"{name} {PACKAGES[name]} (MIT)\n\n{licence.decode()}"]
    for each in IMPORTED:
        about = json.loads((packages / each / "package.json").read_text())
        author = about["author"] if isinstance(about["author"], str) else about["author"]["name"]
        texts.append(f"{each} {about['version']} ({about['license']}), copyright {author}\n")
    return "\n".join(texts).encode()


def main() -> None:
    """Fetch, check and write."""
    with tempfile.TemporaryDirectory() as folder:
        made = files(fetch(Path(folder)))
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    for name, data in made.items():
        (TARGET / name).write_bytes(data)
    print(f"{len(made)} files, {sum(map(len, made.values())):,} bytes, in {TARGET}")


if __name__ == "__main__":
    main()
