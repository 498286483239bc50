"""Metrics of models and checkpoints: numbers by name, as they are signed and read. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, SupportsFloat

from credstore.errors import StorageInvalidRequestError
from credstore.proofs.format.canonical import Json, encode_json
from credstore.proofs.format.errors import ProofFormatError
from credstore.proofs.format.fields import read_object, refuse

MOST_METRICS = 200
LONGEST_METRIC = 100
"""Characters; a statement with the most and longest is within `LARGEST_STATEMENT`."""


def checked_metrics(metrics: Mapping[str, SupportsFloat] | None) -> dict[str, Json]:
    """Metrics as they are signed.

    Raises:
        StorageInvalidRequestError: Too many, a name that is not one, or a value that is not a finite number
            or that JSON does not have.
    """
    found: dict[str, Json] = {}
    for name, value in (metrics or {}).items():
        if not 0 < len(name) <= LONGEST_METRIC or not name.isprintable():
            raise StorageInvalidRequestError(
                f"the name of a metric is 1 to {LONGEST_METRIC} printable characters, not {name[:120]!r}"
            )
        found[name] = _number(name, value)
    if len(found) > MOST_METRICS:
        raise StorageInvalidRequestError(f"there can be {MOST_METRICS} metrics, not {len(found)}")
    return found


def _number(name: str, value: SupportsFloat) -> float:
    if isinstance(value, bool):
        raise StorageInvalidRequestError(f"the metric {name!r} is a number, not True or False")
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise StorageInvalidRequestError(f"the metric {name!r} cannot be a float") from None
    if not math.isfinite(number):
        raise StorageInvalidRequestError(f"the metric {name!r} is {number}, which is not a finite number")
    try:
        encode_json(number)
    except ProofFormatError as error:
        raise StorageInvalidRequestError(
            f"the metric {name!r} cannot be signed exactly ({error.message}); scale it"
        ) from None
    return number


def read_metrics(details: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that were signed.

    Raises:
        ProofFormatError: They are invalid.
    """
    metrics = read_object(details.get("metrics", {}), "details.metrics")
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse("details.metrics", "has a value that is not a number")
        found[name] = float(value)
    return found
