"""Small files of every type that manifests are tested with, written by hand from their specifications.

None has more than what a reader of its container looks at: pixels and sound are zeros.
"""

import struct

from tests.proofs.c2pa_material import IMAGES


def make_webp() -> bytes:
    """One pixel, lossless (RFC 9649 section 2.6): a bit stream of five one-symbol codes."""
    pixels = bytes.fromhex("2f000000100710111188 88fe0700".replace(" ", ""))
    body = b"WEBP" + b"VP8L" + struct.pack("<I", len(pixels)) + pixels + b"\0" * (len(pixels) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def make_gif() -> bytes:
    """One pixel of two colours (GIF89a, sections 18 to 22)."""
    return b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + b",\0\0\0\0\1\0\1\0\0" + b"\2\2\x44\1\0" + b";"


def make_tiff(*, dng: bool = False) -> bytes:
    """Two by two grey pixels in one strip (TIFF 6.0, section 4); as DNG with its version and a camera."""
    short, long, byte, ascii_ = 3, 4, 1, 2
    entries = [
        (254, long, 1, 0),
        (256, short, 1, 2),
        (257, short, 1, 2),
        (258, short, 1, 8),
        (259, short, 1, 1),
        (262, short, 1, 1),
        (273, long, 1, 8),
        (277, short, 1, 1),
        (278, short, 1, 2),
        (279, long, 1, 4),
    ]
    if dng:
        entries += [(50706, byte, 4, 0x00000401), (50708, ascii_, 4, int.from_bytes(b"cam\0", "little"))]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries)) + bytes(4)
    return b"II*\0" + struct.pack("<I", 12) + b"\x10\x20\x30\x40" + directory


def make_svg() -> bytes:
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4"/></svg>\n'
    )


def make_wav() -> bytes:
    """Sixteen samples of silence, 8 kHz, 16 bits, one channel."""
    sound = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data" + struct.pack("<I", 32)
    body = b"WAVE" + sound + bytes(32)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def make_mp3() -> bytes:
    """Three frames of layer III, 128 kbit/s, 44.1 kHz (ISO 11172-3, section 2.4)."""
    return (b"\xff\xfb\x90\x00" + bytes(413)) * 3


def make_flac() -> bytes:
    """The `STREAMINFO` of a stream without frames (RFC 9639 section 8.2)."""
    rate = (44100 << 44) | (0 << 41) | (15 << 36)
    info = struct.pack(">HH", 4096, 4096) + bytes(6) + rate.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + b"\x80" + len(info).to_bytes(3, "big") + info


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + kind + body


def _full_box(kind: bytes, *parts: bytes) -> bytes:
    return _box(kind, bytes(4), *parts)


def make_movie(brand: bytes) -> bytes:
    """A film without tracks and sixteen bytes of media (ISO 14496-12, sections 4.3, 8.1 and 8.2)."""
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    header = bytes(8) + struct.pack(">IIIH", 1000, 0, 0x10000, 0x100) + bytes(10) + matrix + bytes(24)
    movie = _box(b"moov", _full_box(b"mvhd", header + struct.pack(">I", 1)))
    return _box(b"ftyp", brand, bytes(4), brand, b"isom") + movie + _box(b"mdat", bytes(16))


def make_still(brand: bytes, coding: bytes) -> bytes:
    """One item of sixteen bytes (ISO 23008-12, section 6): what it is coded in does not matter here."""

    def meta(offset: int) -> bytes:
        item = struct.pack(">HHBB", 1, 0, 0, 0)[:4]
        entry = _box(b"infe", b"\2\0\0\0", item, coding, b"\0")
        properties = _box(b"ipco", _full_box(b"ispe", struct.pack(">II", 4, 4)))
        association = _full_box(b"ipma", struct.pack(">IHBB", 1, 1, 1, 0x81))
        location = struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, offset, 16)
        return _full_box(
            b"meta",
            _full_box(b"hdlr", bytes(4), b"pict", bytes(13)),
            _full_box(b"pitm", struct.pack(">H", 1)),
            _full_box(b"iloc", location),
            _full_box(b"iinf", struct.pack(">H", 1), entry),
            _box(b"iprp", properties, association),
        )

    kind = _box(b"ftyp", brand, bytes(4), b"mif1", brand)
    offset = len(kind) + len(meta(0)) + 8
    return kind + meta(offset) + _box(b"mdat", bytes(range(16)))


def make_pdf() -> bytes:
    """One empty page (ISO 32000-1, annex H.2)."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 72 72] >>",
    ]
    text = b"%PDF-1.7\n"
    places: list[int] = []
    for number, content in enumerate(objects, 1):
        places.append(len(text))
        text += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"xref\n0 4\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return text + table + b"trailer\n<< /Size 4 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(text)


MEDIA: dict[str, bytes] = {
    **IMAGES,
    "image/webp": make_webp(),
    "image/avif": make_still(b"avif", b"av01"),
    "image/heic": make_still(b"heic", b"hvc1"),
    "image/tiff": make_tiff(),
    "image/x-adobe-dng": make_tiff(dng=True),
    "image/svg+xml": make_svg(),
    "image/gif": make_gif(),
    "video/mp4": make_movie(b"mp42"),
    "video/quicktime": make_movie(b"qt  "),
    "audio/wav": make_wav(),
    "audio/mpeg": make_mp3(),
    "audio/flac": make_flac(),
    "application/pdf": make_pdf(),
}
