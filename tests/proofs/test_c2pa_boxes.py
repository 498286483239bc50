"""The active manifest taken out of a manifest store: whole, still signed, and never out of anything else."""

import random
import struct
from io import BytesIO

import pytest

from credstore.proofs.c2pa.boxes import active_manifest
from credstore.proofs.c2pa.native import read
from credstore.proofs.format.errors import ProofManifestError
from tests.proofs.c2pa_media import MEDIA
from tests.proofs.test_c2pa_files import EDITED, sign

ONE = sign(embed=True)
TWO = sign(ONE.asset, definition=EDITED, parent=True, embed=True)
THREE = sign(TWO.asset, definition=EDITED, parent=True, embed=True)


def report(store):
    """What the library reads in a store: the active label, all labels, and the codes of the active one."""
    found = read(BytesIO(store), "application/c2pa", None, None, "manifest").report
    results = found["validation_results"]["activeManifest"]
    codes = [(each["code"], each["url"]) for each in results["success"]]
    return found["active_manifest"], set(found["manifests"]), codes


@pytest.mark.parametrize("signed", [TWO, THREE], ids=["parent", "grandparent"])
def test_the_active_manifest_comes_out_as_it_is(signed):
    alone = active_manifest(signed.manifest)
    label, labels, codes = report(signed.manifest)
    assert len(labels) > 1
    assert report(alone) == (label, {label}, codes)
    assert any(code == "claimSignature.validated" for code, _ in codes)
    assert len(alone) < len(signed.manifest)
    assert signed.manifest.endswith(alone[-2000:])
    assert active_manifest(alone) == alone


def test_a_store_with_one_manifest_is_what_it_was():
    assert active_manifest(ONE.manifest) is ONE.manifest


def test_lengths_of_eight_bytes_are_read():
    store = TWO.manifest
    long = struct.pack(">I4sQ", 1, b"jumb", len(store) + 8) + store[8:]
    assert active_manifest(long) == active_manifest(store)


def box(kind, content, size=None):
    return struct.pack(">I4s", 8 + len(content) if size is None else size, kind) + content


DESCRIPTION, MANIFEST = box(b"jumd", b"x"), box(b"jumb", b"y")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        MEDIA["image/png"],
        box(b"jumb", b""),
        box(b"jumb", DESCRIPTION),
        box(b"jumb", MANIFEST + MANIFEST),
        box(b"jumb", DESCRIPTION + MANIFEST + box(b"free", b"")),
        box(b"jumb", DESCRIPTION + MANIFEST + b"\0" * 7),
        box(b"jumb", DESCRIPTION + box(b"jumb", b"y", 0)),
        box(b"jumb", DESCRIPTION + box(b"jumb", b"y", 7)),
        box(b"jumb", DESCRIPTION + box(b"jumb", b"y", 10)),
        box(b"jumb", DESCRIPTION + box(b"jumb", b"\0" * 7, 1)),
        box(b"jumb", DESCRIPTION + box(b"jumb", b"\0" * 8, 1)),
        box(b"jumb", DESCRIPTION + box(b"jumb", b"\xff" * 8, 1)),
        box(b"free", DESCRIPTION + MANIFEST),
        box(b"jumb", DESCRIPTION + MANIFEST) + MANIFEST,
        box(b"jumb", DESCRIPTION + MANIFEST, 0),
    ],
)
def test_anything_else_is_refused(data):
    with pytest.raises(ProofManifestError):
        active_manifest(data)
    assert active_manifest(box(b"jumb", DESCRIPTION + MANIFEST + MANIFEST)) == box(
        b"jumb", DESCRIPTION + MANIFEST
    )


def test_a_damaged_store_ends_in_its_own_error_or_a_part_of_it():
    dice = random.Random("boxes")
    store = TWO.manifest
    for size in range(0, len(store), 97):
        with pytest.raises(ProofManifestError):
            active_manifest(store[:size])
    for _ in range(500):
        data = bytearray(store)
        for _ in range(dice.randint(1, 3)):
            place = dice.choice([dice.randrange(60), dice.randrange(len(data))])
            data[place] = dice.randrange(256)
        try:
            alone = active_manifest(bytes(data))
        except ProofManifestError:
            continue
        assert struct.unpack_from(">I4s", alone) == (len(alone), b"jumb")
        assert alone[8:] in (bytes(data)[8:], bytes(data)[8:38] + bytes(data)[-(len(alone) - 38) :])
