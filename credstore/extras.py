"""Extras: which packages each needs, and the one error for an extra that is not installed.

Rules of this file: it imports errors only, and looking for a package never imports it. A test keeps
the table, `pyproject.toml` and docs/install.md in step.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal

from credstore.errors import ErrorCode, StorageConfigurationError

Extra = Literal[
    "artifacts",
    "aws",
    "azure",
    "c2pa",
    "cli",
    "dask",
    "dotenv",
    "frames",
    "fsspec",
    "gcs",
    "opentelemetry",
    "perceptual",
    "sigstore",
    "timestamp",
]

MODULES: Mapping[Extra, tuple[str, ...]] = MappingProxyType(
    {
        "artifacts": ("pyfastcdc",),
        "aws": ("aiobotocore", "botocore"),
        "azure": ("azure.identity",),
        "c2pa": ("c2pa",),
        "cli": ("aiohttp", "click", "rich", "tomlkit"),
        "dask": ("distributed",),
        "dotenv": ("dotenv",),
        "frames": ("pyarrow",),
        "fsspec": ("fsspec",),
        "gcs": ("google.auth", "google_crc32c"),
        "opentelemetry": ("opentelemetry.trace",),
        "perceptual": ("PIL", "iscc_lib"),
        "sigstore": ("sigstore",),
        "timestamp": ("asn1crypto", "rfc3161_client"),
    }
)
"""Modules that must be importable for each extra to work."""


def missing_extra(extra: Extra, needing: str) -> StorageConfigurationError:
    """The error for an extra that is needed but not installed.

    Args:
        extra: Its name in `pyproject.toml`.
        needing: Who needs it, with the verb: "C2PA manifests need".

    Returns:
        An error with the code `EXTRA_MISSING` and the line that installs the extra.
    """
    return StorageConfigurationError(
        f"{needing} the extra `{extra}`: pip install 'credstore[{extra}]'", code=ErrorCode.EXTRA_MISSING
    )


def require_extra(extra: Extra, needing: str) -> None:
    """Refuse to continue without an extra, for objects made now that will import it only when used.

    Args:
        extra: See `missing_extra`.
        needing: See `missing_extra`.

    Raises:
        StorageConfigurationError: A package of the extra is not installed (`EXTRA_MISSING`).

    Cost: one search of the import path for each package, about 0.1 ms; nothing is imported.
    """
    if not is_installed(extra):
        raise missing_extra(extra, needing)


def is_installed(extra: Extra) -> bool:
    """Whether all packages of an extra are there.

    Args:
        extra: See `missing_extra`.
    """
    return all(_is_there(module) for module in MODULES[extra])


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # It was put among the loaded modules by hand, without a spec.
        return True
    except ImportError:  # A finder refuses, or the parent package is missing.
        return False
