"""What a picture looks like, as an ISCC (ISO 24138): nearly the same for a smaller or recompressed copy.

Needs extra `perceptual`. Rules of this file: a picture comes from anyone, so its number of pixels is looked
at before it is decoded, and decoding runs in a thread. Source: ISO 24138, Image-Code: grey, 32 by 32 pixels,
bicubic.
"""

from __future__ import annotations

import base64
import io
import warnings

from credstore.concurrency import in_thread
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.extras import require_extra
from credstore.model import Storable
from credstore.proofs.bindings.names import ISCC, encode_value
from credstore.proofs.format.record import SoftBinding
from credstore.proofs.store.assets import read_small

LARGEST_PICTURE = 32 * 1024 * 1024
"""Bytes of a file."""
MOST_PIXELS = 100_000_000
_SIDE = 32
_BITS = 256
_LEAST_CONTRAST = 4
"""Grey levels of 256."""
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "MPO")


async def fingerprint_of(asset: Storable) -> SoftBinding:
    """The soft binding of a picture, for `ProofStore.issue` or to look for.

    Args:
        asset: A picture of up to 32 MiB and 100 million pixels: bytes, a path object, a binary file or an
            (async) iterable of bytes.

    Raises:
        StorageInvalidRequestError: Not a PNG, JPEG, WebP, GIF, TIFF, BMP or AVIF, a damaged or a blank one;
            or it is too large (code `TOO_LARGE`).
        StorageConfigurationError: The extra `perceptual` is missing.
        Exception: What the asset's own stream raised.

    Cost: about 5 ms for a megapixel, in a thread; memory for the decoded picture.
    """
    require_extra("perceptual", "fingerprints of pictures need")
    data = await read_small(asset, most=LARGEST_PICTURE, what="a picture")
    value = await in_thread(_fingerprint, data)
    return SoftBinding(ISCC, encode_value(value))


def _fingerprint(data: bytes) -> bytes:
    import iscc_lib
    from PIL import Image, ImageOps

    try:
        # Pillow warns of what is refused here anyway.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
                if opened.width * opened.height > MOST_PIXELS:
                    raise _too_large()
                opened.draft("L", (4 * _SIDE, 4 * _SIDE))
                picture = ImageOps.exif_transpose(opened)
                if picture.has_transparency_data:
                    canvas = Image.new("RGBA", picture.size, (255, 255, 255, 255))
                    canvas.alpha_composite(picture.convert("RGBA"))
                    picture = canvas
                grey = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
                pixels = grey.tobytes()
    except StorageInvalidRequestError:
        raise
    except Image.DecompressionBombError:
        raise _too_large() from None
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise many kinds for damaged files
        raise StorageInvalidRequestError(
            f"this is not a picture that can be read: {type(error).__name__}"
        ) from None
    if max(pixels) - min(pixels) < _LEAST_CONTRAST:
        # All blank pictures have one fingerprint, and none of them is a copy of another.
        raise StorageInvalidRequestError("the picture is blank: there is nothing to recognise it by")
    unit = str(iscc_lib.gen_image_code_v0(pixels, _BITS)["iscc"]).rpartition(":")[2]
    return base64.b32decode(unit + "=" * (-len(unit) % 8))


def _too_large() -> StorageInvalidRequestError:
    return StorageInvalidRequestError(f"a picture has at most {MOST_PIXELS} pixels", code=ErrorCode.TOO_LARGE)
