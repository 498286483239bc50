"""Manifests of real media: pictures by Pillow and libheif, films and sound by ffmpeg, a document by reportlab.

And how much memory a large file takes: what c2pa-rs needs by itself is measured apart.
"""

import asyncio
import io
import subprocess
import sys
from pathlib import Path

import pytest

from credstore.proofs.c2pa import C2paTrust, TrustList, examine_manifests, sign_manifest
from credstore.proofs.media_types import HEAD, find_contradiction
from tests.proofs.c2pa_material import AUTHORITY, CREDENTIALS, DEFINITION
from tests.proofs.pictures import encoded, picture
from tests.proofs.test_c2pa_files import EDITED, REWRITTEN, WAYS, second_opinion

pytestmark = pytest.mark.system
TRUST = C2paTrust(signers=(TrustList.from_pem(AUTHORITY.root),))
SIZE = (640, 480)


def by_libheif() -> bytes:
    import pillow_heif

    output = io.BytesIO()
    pillow_heif.from_pillow(picture(1, SIZE)).save(output, quality=60)
    return output.getvalue()


def raw_photo() -> bytes:
    """A TIFF with DNG's version and camera."""
    from PIL import TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[50706] = b"\x01\x04\x00\x00"
    tags.tagtype[50706] = 1
    tags[50708] = "Test camera"
    return encoded(picture(1, SIZE), "TIFF", tiffinfo=tags)


def by_reportlab() -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    output = io.BytesIO()
    canvas = Canvas(output)
    for page in range(3):
        canvas.drawString(72, 720, f"Page {page}")
        canvas.showPage()
    canvas.save()
    return output.getvalue()


def by_ffmpeg(folder: Path, name: str, *options: str) -> bytes:
    sources = ["-f", "lavfi", "-i", "testsrc=duration=1:size=160x120:rate=10"]
    sources += ["-f", "lavfi", "-i", "sine=frequency=440:duration=1"]
    command = ["ffmpeg", "-v", "error", "-y", *sources, *options, name]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / name).read_bytes()


MEDIA = {
    "image/png": lambda folder: encoded(picture(1, SIZE)),
    "image/jpeg": lambda folder: encoded(picture(1, SIZE), "JPEG", quality=85, progressive=True),
    "image/webp": lambda folder: encoded(picture(1, SIZE), "WEBP"),
    "image/avif": lambda folder: encoded(picture(1, SIZE), "AVIF"),
    "image/heic": lambda folder: by_libheif(),
    "image/tiff": lambda folder: encoded(picture(1, SIZE), "TIFF", compression="tiff_lzw"),
    "image/x-adobe-dng": lambda folder: raw_photo(),
    "image/gif": lambda folder: encoded(picture(1, SIZE), "GIF"),
    "video/mp4": lambda folder: by_ffmpeg(folder, "a.mp4", "-c:v", "libx264", "-c:a", "aac", "-shortest"),
    "video/quicktime": lambda folder: by_ffmpeg(
        folder, "a.mov", "-c:v", "libx264", "-c:a", "aac", "-shortest"
    ),
    "audio/wav": lambda folder: by_ffmpeg(folder, "a.wav", "-vn", "-map", "1:a"),
    "audio/mpeg": lambda folder: by_ffmpeg(folder, "a.mp3", "-vn", "-map", "1:a", "-c:a", "libmp3lame"),
    "audio/flac": lambda folder: by_ffmpeg(folder, "a.flac", "-vn", "-map", "1:a"),
    "application/pdf": lambda folder: by_reportlab(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("media_type", MEDIA)
def test_real_media(tmp_path, media_type, way):
    """By path; both verifiers agree; an edit keeps its parent."""
    source, output = tmp_path / "source", tmp_path / "signed"
    source.write_bytes(MEDIA[media_type](tmp_path))
    assert find_contradiction(media_type, source.read_bytes()[:HEAD]) is None

    async def scene():
        signed = await sign_manifest(
            source,
            media_type,
            definition=DEFINITION,
            credential=CREDENTIALS["ES256"],
            output=output,
            rewrite=media_type in REWRITTEN,
            **WAYS[way],
        )
        manifest = None if way == "embedded" else signed.manifest
        verdict = await examine_manifests(output, trust=TRUST, manifest=manifest, media_type=media_type)
        assert (verdict.state, verdict.findings) == ("trusted", ())
        assert verdict.digest == signed.digest
        assert second_opinion(output.read_bytes(), media_type, manifest) == "trusted"
        # Where there are pixels or sound: a third from the end, but WebP's manifest is there.
        data = bytearray(output.read_bytes())
        data[1000 if media_type == "image/webp" else -source.stat().st_size // 3] ^= 1
        changed = await examine_manifests(bytes(data), trust=TRUST, manifest=manifest, media_type=media_type)
        # In a document, the byte may be one that leads to the manifest.
        assert changed.state in {
            "invalid",
            "unreadable",
            *({"absent"} if media_type == "application/pdf" else ()),
        }
        if way == "embedded":
            again = await sign_manifest(
                output,
                media_type,
                definition=EDITED,
                credential=CREDENTIALS["ES256"],
                embed=True,
                parent=True,
                output=output,
            )
            verdict = await examine_manifests(
                output, trust=TRUST, media_type=media_type, ingredients="trusted"
            )
            assert (verdict.state, len(verdict.ingredients)) == ("trusted", 1)
            assert verdict.digest == again.digest

    asyncio.run(scene())


def test_films_still_play(tmp_path):
    """ffmpeg decodes every frame of a film with a manifest in it, and of an MP3."""
    for media_type, name in (("video/mp4", "a.mp4"), ("audio/mpeg", "a.mp3"), ("audio/flac", "a.flac")):
        MEDIA[media_type](tmp_path)
        target = tmp_path / f"signed-{name}"
        asyncio.run(
            sign_manifest(
                tmp_path / name,
                media_type,
                definition=DEFINITION,
                credential=CREDENTIALS["ES256"],
                embed=True,
                output=target,
            )
        )
        command = ["ffmpeg", "-v", "error", "-i", str(target), "-f", "null", "-"]
        assert subprocess.run(command, check=True, capture_output=True).stderr == b""


CHILD = """
import asyncio, struct, sys
from pathlib import Path
from credstore.proofs.c2pa import C2paTrust, examine_manifests, native, sign_manifest
from credstore.proofs.c2pa.credentials import Asking
from tests.proofs.c2pa_material import CREDENTIALS, DEFINITION, IMAGES
from tests.memory.peak import peak
import json

mode, folder, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
source, target = folder / "big.wav", folder / "out.wav"
if not source.exists():
    with source.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16))
        file.write(b"data" + struct.pack("<I", size))
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))

async def main():
    credential = CREDENTIALS["ES256"]
    await sign_manifest(IMAGES["image/png"], "image/png", definition=DEFINITION, credential=credential)
    before = peak()
    if mode == "ours":
        await sign_manifest(source, "audio/wav", definition=DEFINITION, credential=credential, embed=True, output=target)
        verdict = await examine_manifests(target, trust=C2paTrust(), media_type="audio/wav")
        assert verdict.state == "valid"
    else:
        with source.open("rb") as read, target.open("w+b") as written:
            await asyncio.to_thread(native.sign, read, written, "audio/wav", json.dumps(DEFINITION),
                settings=native.signing_settings(thumbnail=False) if mode == "alone" else {"builder": {"thumbnail": {"enabled": False}}, "trust": {}, "verify": {}},
                credential=credential, asking=Asking(credential, asyncio.get_running_loop()), embed=True,
                remote_url=None, parent=None, timestamp_url=None)
            await asyncio.to_thread(native.read, written, "audio/wav", None, None, "manifest")
    print((peak() - before) // 1024)

asyncio.run(main())
"""


def test_memory_is_what_the_library_needs_by_itself(tmp_path):
    """MiB beyond a small picture, for 96 MiB of sound: ours may have 64 more than c2pa-rs alone."""
    used = {}
    for mode in ("ours", "alone", "by default"):
        done = subprocess.run(
            [sys.executable, "-c", CHILD, mode, str(tmp_path), str(96 << 20)],
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        )
        used[mode] = int(done.stdout)
    assert used["ours"] <= used["alone"] + 64
    # The setting for its own copies takes effect.
    assert used["alone"] < used["by default"]
