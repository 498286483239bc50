"""Dictionaries from examples. Pure.

Source: RFC 8878 section 5 (the format); Collet, "Dictionary compression" in zstd's manual (the training).
"""

from __future__ import annotations

from collections.abc import Iterable

import zstandard

from credstore.arguments import typed
from credstore.errors import StorageInvalidRequestError
from credstore.model import Dictionary
from credstore.pipeline.codec import ZSTD_LEVEL

LEAST_SAMPLES = 8
LEAST_SAMPLE = 8
LEAST_TOTAL = 4096
DICTIONARY_SIZE = 112_640
"""Bytes, the same as zstd's default: more gains little for records of a few kilobytes."""
LEAST_SIZE = 256


@typed
def train_dictionary(samples: Iterable[bytes], *, size: int = DICTIONARY_SIZE) -> Dictionary:
    """Make a dictionary of what the samples have in common; this takes seconds, so call it in a thread.

    Args:
        samples: Typical plain objects, at least 8 with 4,096 bytes in total; best are a few hundred to a few
            thousand, about a hundred times `size` in total.
        size: Maximum number of bytes in the dictionary.

    Raises:
        StorageInvalidRequestError: There are too few or too small samples, or the size is under 256.
    """
    # zstd crashes on a handful of bytes, and learns nothing from samples under 8.
    examples: list[bytes | bytearray | memoryview] = [
        bytes(sample) for sample in samples if len(sample) >= LEAST_SAMPLE
    ]
    total = sum(map(len, examples))
    if size < LEAST_SIZE:
        raise StorageInvalidRequestError(f"a dictionary has at least {LEAST_SIZE} bytes, not {size}")
    if len(examples) < LEAST_SAMPLES or total < LEAST_TOTAL:
        raise StorageInvalidRequestError(
            f"a dictionary is trained on at least {LEAST_SAMPLES} objects of {LEAST_SAMPLE} bytes or more, "
            f"{LEAST_TOTAL} together, not on {len(examples)} of {total}"
        )
    try:
        trained = zstandard.train_dictionary(size, examples, level=ZSTD_LEVEL)
    except zstandard.ZstdError:
        raise StorageInvalidRequestError(
            f"{len(examples)} objects of {total} bytes together are not enough to train {size} bytes; pass "
            f"more of them, or a smaller size"
        ) from None
    return Dictionary(trained.as_bytes())
