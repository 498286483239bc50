"""Pictures drawn from a seed: shapes on a gradient, a little blurred and noisy, no two alike."""

import io
import random

from PIL import Image, ImageDraw, ImageFilter


def picture(seed: int, size: tuple[int, int] = (192, 144)) -> Image.Image:
    rng = random.Random(f"picture {seed}")
    image = Image.linear_gradient("L").resize(size).rotate(rng.randrange(360)).convert("RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(4, 14)):
        x, y, wide, high = (
            rng.randrange(size[0]),
            rng.randrange(size[1]),
            rng.randint(10, 90),
            rng.randint(10, 90),
        )
        colour = tuple(rng.randrange(256) for _ in range(3))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x - wide // 2, y - high // 2, x + wide // 2, y + high // 2), fill=colour)
    blurred = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2)))
    noise = Image.frombytes("L", size, rng.randbytes(size[0] * size[1])).convert("RGB")
    return Image.blend(blurred, noise, 0.05)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def stripped(image: Image.Image) -> bytes:
    """What a platform makes of it: half the size, JPEG of quality 60, no metadata."""
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
    return encoded(half, "JPEG", quality=60)
