"""The import rules of pyproject.toml, and what `import credstore` costs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_layers_hold():
    code = "import sys; from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def loaded(code: str) -> set[str]:
    """Top-level modules that a new interpreter has after `code`."""
    script = (
        f"{code}\nimport sys, json\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_credstore_loads_nothing_of_others():
    assert loaded("import credstore") - loaded("import importlib.metadata") <= {"credstore", "__future__"}


def test_a_local_store_needs_no_http_client_and_no_aws():
    code = "import credstore\ncredstore.LocalStorageProvider(credstore.LocalConfig(path='x'))"
    assert not loaded(code) & {"aiohttp", "httptools", "botocore", "aiobotocore", "boto3"}


def test_explicit_keys_need_no_aws_library():
    code = (
        "import credstore\n"
        "credstore.S3StorageProvider(credstore.S3Config(bucket='proofs', access_key_id='a',"
        " secret_access_key=credstore.Secret('b')))"
    )
    assert not loaded(code) & {"botocore", "aiobotocore", "boto3"}


NEEDED = {
    "arguments", "causes", "cli", "concurrency", "config", "driver", "drivers", "encryption", "error_codes",
    "errors", "extras", "factory", "files", "forks", "hashing", "keyring", "links", "metrics", "model", "observe",
    "pipeline", "proofs", "provider", "quick", "strategies", "threads", "times", "transfer", "wire",
}  # fmt: skip
"""Parts of credstore of which `credstore ls` of a local store loads something."""
IN_PART = {
    "cli": {"commands", "errors", "exits", "main", "options", "output", "places", "runner", "streams"},
    "cli.commands": {"ls"},
    "drivers": {"local"},
    "proofs": {"format"},
    "proofs.format": {"errors"},
    "strategies": {"options"},
    "transfer": {"ends"},
    "wire": {"proxy", "tally", "urls", "waiting"},
}
"""Of these parts, which modules."""
CLOUDS = {"azure", "gcs", "stores", "chained"}


def test_a_short_command_loads_what_it_needs_and_nothing_else(tmp_path):
    """What it takes to start is what is loaded; `benchmarks/start.py` has the time."""
    code = f"import sys\nfrom credstore.cli.main import run\nrun(['--store', {tmp_path.as_uri()!r}, 'ls'])\n"
    show = "import json\nprint(json.dumps([name for name in sys.modules if name.startswith('credstore.')]))"
    done = subprocess.run(
        [sys.executable, "-c", code + show], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {name.removeprefix("credstore.") for name in json.loads(done.stdout)}
    assert {name.partition(".")[0] for name in names} <= NEEDED
    for part, modules in IN_PART.items():
        inside = {
            name.removeprefix(f"{part}.").partition(".")[0] for name in names if name.startswith(f"{part}.")
        }
        assert inside <= modules, part
    assert not {f"config.{each}" for each in CLOUDS} & names
    assert loaded(code) <= {
        *sys.stdlib_module_names,
        "credstore",
        "click",
        "zstandard",
        "isal",
        *loaded("pass"),
    }


LATE = {
    "cryptography",
    "rfc8785",
    "structlog",
    "opentelemetry",
    "rfc3161_client",
    "c2pa",
    "aiohttp",
    "click",
    "rich",
    "fsspec",
    "pyarrow",
    "pandas",
    "polars",
}
"""Installed with credstore or with an extra, and imported only when used."""
STORING = """
import asyncio, credstore
async def main():
    observers = [credstore.LoggingObserver()]
    async with credstore.MemoryStorageProvider(observers=observers) as store:
        await store.store("a", b"plain", compress="zstd")
        assert await store.retrieve("a") == b"plain"
        await store.get_signed_url("a")
asyncio.run(main())
"""


KEYS = "access_key_id='a', secret_access_key=credstore.Secret('b')"
CODE = {
    "storing": STORING,
    "every public name": "from credstore import *\nimport credstore.factory, credstore.container",
    "a cloud": f"import credstore\ncredstore.WasabiStorageProvider(credstore.WasabiConfig(bucket='proofs', {KEYS}))",
    "a ring": "import credstore\nkeys = credstore.KeyRing(credstore.LocalKey(bytes(32)))\n"
    "credstore.ClientSide(keys, store_id='proofs')",
}


@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_what_is_not_used_is_not_imported(code):
    assert not loaded(code) & LATE


def test_canonical_json_of_plain_claims_needs_no_other_encoder():
    code = "from credstore.proofs.format.canonical import encode_json\nencode_json({'a': [1, '\u00e9']})"
    assert "rfc8785" not in loaded(code)
    assert "rfc8785" in loaded(f"{code}\nencode_json(1.5)")
