"""Verifying needs no store."""

import subprocess
import sys

MODULES = [
    "format.ids",
    "store.layout",
    "format.original",
    "format.record",
    "format.dsse",
    "format.trust",
    "format.verify",
    "format.status",
    "format.trust_publication",
    "format.bundle",
    "format.timestamp",
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
    assert "credstore.proofs.format.bundle" in loaded
    assert not loaded & STORE
