"""A check of files against the proofs that are next to them, for pre-commit and CI.

    python -m credstore.verification.hook --trust keys.json FILE...

Rules of this file: it needs no extra, no store and no network, and says one line for each proof that fails.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from credstore.errors import StorageError
from credstore.proofs import AssetDigest, TrustStore, parse_trust_store, variables, verify_bundle

ENDING = ".credproof.json"
_ID = re.compile(r"\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files that are named, and those whose proofs are named.

    Returns:
        0 if all of them are as they were proved, 1 if one is not, 2 if nothing could be checked.
    """
    parser = argparse.ArgumentParser(
        prog="credstore-verify", description="Verify FILE against FILE.credproof.json, without network."
    )
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument(
        "--trust", default=os.environ.get(variables.TRUST), help=f"the trust store; or {variables.TRUST}"
    )
    parser.add_argument("--require", action="store_true", help="a file without a proof fails")
    given = parser.parse_args(arguments)
    if not given.trust:
        parser.error(f"--trust FILE is missing, and so is {variables.TRUST}")
    try:
        trust = parse_trust_store(Path(given.trust).read_bytes())
    except OSError as error:
        parser.error(f"{given.trust}: {error.strerror}")
    except StorageError as error:
        parser.error(f"{given.trust}: {error.message}")
    failed = [said for asset in _assets(given.files) for said in _faults(asset, trust, require=given.require)]
    sys.stdout.writelines(f"{said}\n" for said in failed)
    return 1 if failed else 0


def _assets(files: Iterable[str]) -> list[Path]:
    """The files that are meant: of a proof, the file that it is next to."""
    found: dict[Path, None] = {}
    for each in map(Path, files):
        name = each.name
        if name.endswith(ENDING):
            name = _ID.sub("", name.removesuffix(ENDING))
        found[each.with_name(name)] = None
    return list(found)


def _faults(asset: Path, trust: TrustStore, *, require: bool) -> list[str]:
    """What is wrong with a file, one line each."""
    prefix = f"{asset.name}."
    try:
        proofs = sorted(
            each
            for each in asset.parent.iterdir()
            if each.name.endswith(ENDING)
            and each.name.startswith(prefix)
            and _ID.sub("", each.name.removesuffix(ENDING)) == asset.name
        )
        if not proofs:
            return [f"{asset}: there is no proof next to it ({asset.name}{ENDING})"] if require else []
        with asset.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            size = file.tell()
    except OSError as error:
        return [f"{asset}: cannot be read: {error.strerror}"]
    now, wanted = datetime.now(UTC), AssetDigest(digest, size)
    faults: list[str] = []
    for each in proofs:
        try:
            verify_bundle(each.read_bytes(), trust, now=now, asset=wanted)
        except OSError as error:
            faults.append(f"{each}: cannot be read: {error.strerror}")
        except StorageError as error:
            faults.append(f"{asset}: {error.message} [{error.code}; {each.name}]")
    return faults


if __name__ == "__main__":
    sys.exit(main())
