"""Verifying needs no store, and a missing extra is said."""

import subprocess
import sys

import pytest

MODULES = [
    "ids",
    "index",
    "legacy",
    "record",
    "envelope",
    "keys",
    "verify",
    "status",
    "publication",
    "bundle",
    "timestamp",
]
STORE = {
    "credstore.provider", "credstore.driver", "credstore.wire", "credstore.pipeline", "credstore.drivers", "aiohttp",
    "asyncio",
}  # fmt: skip


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_verifying_loads_no_store():
    imports = "\n".join(f"import credstore.proofs.{name}" for name in MODULES)
    loaded = set(run(f"{imports}\nimport sys\nprint(*sys.modules)"))
    assert "credstore.proofs.bundle" in loaded
    assert not loaded & STORE


@pytest.mark.parametrize(
    ("module", "missing", "extra"),
    [("keys", "cryptography", "proofs"), ("timestamp", "rfc3161_client", "timestamp")],
)
def test_a_missing_extra_is_named(module, missing, extra):
    code = (
        f"import sys\nsys.modules[{missing!r}] = None\nfrom credstore.errors import StorageConfigurationError\n"
        f"try:\n    import credstore.proofs.{module}\nexcept StorageConfigurationError as error:\n    print(error.message)"
    )
    assert f"'credstore[{extra}]'" in run(code)
