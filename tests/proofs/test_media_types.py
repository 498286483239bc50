"""Media types compared with the bytes: a contradiction is refused, what is not known is not."""

import asyncio

import pytest

from credstore.errors import StorageInvalidRequestError
from credstore.proofs import AssetDigest, ProofStore
from credstore.proofs.media_types import _PLAIN, HEAD, _starts_as, find_contradiction, media_type_of
from credstore.provider.presets import MemoryStorageProvider
from tests.proofs.c2pa_media import MEDIA
from tests.proofs.material import SIGNER, TRUST

FAMILIES = [
    {"image/tiff", "image/x-adobe-dng"},
    {"video/mp4", "video/quicktime"},
]
UNSURE = {"audio/mpeg"}
"""Two bytes of magic, which anything may start with."""


@pytest.mark.parametrize("said", MEDIA)
def test_every_type_agrees_with_its_own_bytes_and_contradicts_others(said):
    assert find_contradiction(said, MEDIA[said]) is None
    assert find_contradiction(f"{said.upper()}; charset=x", MEDIA[said]) is None
    for media_type, data in MEDIA.items():
        same = said == media_type or any({said, media_type} <= family for family in FAMILIES)
        found = find_contradiction(said, data[:HEAD])
        assert (found is None) is (same or media_type in UNSURE), (said, media_type)


@pytest.mark.parametrize("said", MEDIA)
def test_the_short_way_says_the_same_as_the_long_one(said):
    """Where the first bytes are those of the type, nothing else is looked at."""
    assert _starts_as(said, MEDIA[said]) is (said in _PLAIN)
    assert not any(_starts_as(said, data) for media_type, data in MEDIA.items() if media_type != said)


@pytest.mark.parametrize(
    ("said", "data"),
    [
        ("image/jpeg", b""),
        ("image/jpeg", b"any bytes at all"),
        ("image/jpeg", b"{}"),
        ("application/octet-stream", MEDIA["application/pdf"]),
        ("application/vnd.adobe.illustrator", MEDIA["application/pdf"]),
        ("application/vnd.oasis.opendocument.text", b"PK\3\4" + bytes(40)),
        ("image/x-nikon-nef", MEDIA["image/tiff"]),
        ("text/xml", MEDIA["image/svg+xml"]),
        ("audio/x-wav", MEDIA["audio/wav"]),
        ("no media type", MEDIA["image/png"]),
    ],
)
def test_what_is_not_known_is_not_contradicted(said, data):
    assert find_contradiction(said, data) is None


def test_the_type_is_named_where_it_is_sure():
    assert media_type_of(MEDIA["image/svg+xml"]) == "image/svg+xml"
    assert media_type_of(b"hello") is None
    assert media_type_of(b"") is None


def test_a_false_media_type_is_never_proved(tmp_path):
    pdf = MEDIA["application/pdf"]
    path = tmp_path / "photo.jpg"
    path.write_bytes(pdf + bytes(300_000))

    async def scene() -> None:
        async with ProofStore(MemoryStorageProvider(), trust=TRUST, signer=SIGNER) as store:
            for asset in (pdf, path, iter([pdf[:3], pdf[3:]])):
                with pytest.raises(StorageInvalidRequestError, match=r"image/jpeg, but .* application/pdf"):
                    await store.issue(asset, media_type="image/jpeg")
            assert (await store.stats()).proofs == 0
            for asset in (pdf, path):
                await store.issue(asset, media_type="application/pdf")
            await store.issue(pdf)
            # Only the digest is known: nothing to compare.
            await store.issue(AssetDigest.of(pdf), media_type="image/jpeg")

    asyncio.run(scene())
