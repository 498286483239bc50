"""Extras: one table, and one error that says what to install, as early as it can be known."""

import asyncio
import importlib.abc
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

import credstore
from credstore.artifacts import StorageManager
from credstore.errors import StorageConfigurationError
from credstore.extras import MODULES, Extra, require_extra
from credstore.proofs.bindings import fingerprint_of
from credstore.proofs.c2pa import verify_manifest
from credstore.proofs.format.timestamp import TimestampAuthorities, make_timestamp_request
from tests.proofs.c2pa_material import AUTHORITY
from tests.proofs.material import TRUST

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
KEYS = {"access_key_id": "a", "secret_access_key": credstore.Secret("b")}


class Absent(importlib.abc.MetaPathFinder):
    """Finds packages not to be installed."""

    def __init__(self, *names):
        self.names = names

    def find_spec(self, name, path, target=None):
        if name.startswith(self.names):
            raise ModuleNotFoundError(name, name=name)


def by_finder(monkeypatch, module):
    top = module.split(".")[0]
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(module), *sys.meta_path])


def by_hand(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)


def package(requirement):
    return re.match(r"[\w-]+", requirement)[0].lower()


def test_the_table_the_project_and_the_page_name_the_same_extras():
    assert set(MODULES) == set(get_args(Extra)) == set(EXTRAS)
    page = (ROOT / "docs" / "install.md").read_text()
    table = page.partition("<!-- extras")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE))
    told = {extra: re.findall(r"`([\w-]+)`", cell) for extra, cell in rows.items()}
    assert told == {extra: [package(each) for each in needs] for extra, needs in EXTRAS.items()}


def test_every_extra_that_a_document_installs_is_one():
    texts = [path for path in ROOT.glob("docs/**/*.*") if path.suffix in {".md", ".py", ".json", ".yml"}]
    for path in [ROOT / "README.md", ROOT / "Makefile", ROOT / ".env.example", *texts]:
        for named in re.findall(r"(?:credstore|[\"' ]\.)\[([\w,]+)\]", path.read_text()):
            assert set(named.split(",")) <= set(EXTRAS), f"{path.name}: {named}"
    everything = re.search(r"^EXTRAS = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert sorted(everything.split(",")) == sorted(EXTRAS)


def test_a_bound_has_one_place():
    """What is needed at run time is in no group beside it, where the bounds could differ."""
    needed = [*PROJECT["project"]["dependencies"], *(each for needs in EXTRAS.values() for each in needs)]
    names = [package(each) for each in needed]
    assert len(set(names)) == len(names)
    for group in PROJECT["dependency-groups"].values():
        assert not {package(each) for each in group} & set(names)


@pytest.mark.parametrize("absent", [by_finder, by_hand])
@pytest.mark.parametrize(("extra", "module"), [(extra, each) for extra in MODULES for each in MODULES[extra]])
def test_each_missing_package_is_one_error(monkeypatch, extra, module, absent):
    require_extra(extra, "this needs")
    absent(monkeypatch, module)
    with pytest.raises(StorageConfigurationError) as caught:
        require_extra(extra, "this needs")
    assert caught.value.code == "EXTRA_MISSING"
    assert caught.value.message == f"this needs the extra `{extra}`: pip install 'credstore[{extra}]'"
    assert (caught.value.retryable, caught.value.applied) == (False, "no")


def test_a_package_that_was_put_in_place_by_hand_is_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "rfc3161_client", type(sys)("rfc3161_client"))
    require_extra("timestamp", "this needs")


async def serve():
    async with credstore.serve_links(credstore.MemoryStorageProvider()):
        pass


NEEDING = {
    "a storage manager": (
        "artifacts",
        lambda: StorageManager(credstore.MemoryStorageProvider(), trust=TRUST),
    ),
    "a KMS key": ("aws", lambda: credstore.AwsKmsKey(ARN)),
    "a KMS key with keys of its own": ("aws", lambda: credstore.AwsKmsKey(ARN, **KEYS)),
    "a manifest": (
        "c2pa",
        lambda: asyncio.run(verify_manifest(b"a", b"m", media_type="", trust_anchors=AUTHORITY.root)),
    ),
    "an edge": ("cli", lambda: asyncio.run(serve())),
    "a fingerprint": ("perceptual", lambda: asyncio.run(fingerprint_of(b"a"))),
    "spans": ("opentelemetry", credstore.OpenTelemetryObserver),
    "timestamp authorities": ("timestamp", lambda: TimestampAuthorities(AUTHORITY.root)),
    "a timestamp request": ("timestamp", lambda: make_timestamp_request(b"signature")),
}
NEEDING_AWS = {
    "a config": lambda: credstore.S3StorageProvider(credstore.S3Config(bucket="proofs", region="eu-west-1")),
    "a profile": lambda: credstore.S3StorageProvider(credstore.S3Config(bucket="proofs", profile="proofs")),
    "a URL": lambda: credstore.StorageFactory(environ={}).create("s3://proofs?region=eu-west-1"),
    "a mapping": lambda: credstore.StorageFactory(environ={}).create({"provider": "s3", "bucket": "proofs"}),
    "the environment": lambda: credstore.StorageFactory(
        environ={"CREDSTORE_PROVIDER": "s3", "AWS_BUCKET_NAME": "proofs", "AWS_PROFILE": "proofs"}
    ).from_env(),
    "a fallback": lambda: credstore.StorageFactory(environ={}).create_with_fallback(
        credstore.MemoryConfig(), "s3://proofs"
    ),
}


@pytest.mark.parametrize("what", NEEDING)
def test_what_needs_an_extra_names_it(monkeypatch, what):
    extra, make = NEEDING[what]
    for module in MODULES[extra]:
        by_finder(monkeypatch, module)
    for name in [name for name in sys.modules if name.startswith("credstore.edge.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(StorageConfigurationError, match=rf"pip install 'credstore\[{extra}\]'") as caught:
        make()
    assert caught.value.code == "EXTRA_MISSING"


@pytest.mark.parametrize("what", NEEDING_AWS)
def test_a_store_that_will_ask_awss_chain_says_so_when_it_is_made(monkeypatch, what):
    by_hand(monkeypatch, "aiobotocore")
    with pytest.raises(
        StorageConfigurationError, match=r"access_key_id.*pip install 'credstore\[aws\]'"
    ) as it:
        NEEDING_AWS[what]()
    assert it.value.code == "EXTRA_MISSING"


def test_a_store_with_keys_needs_no_extra(monkeypatch):
    by_hand(monkeypatch, "aiobotocore")
    credstore.S3StorageProvider(credstore.S3Config(bucket="proofs", **KEYS))
    credstore.R2StorageProvider(credstore.R2Config(bucket="proofs", account_id="0" * 32, **KEYS))
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    credstore.StorageFactory(environ=environ).create("s3://proofs?region=eu-west-1")


def test_looking_for_an_extra_loads_nothing():
    code = (
        "import sys, credstore\n"
        "credstore.S3StorageProvider(credstore.S3Config(bucket='proofs'))\n"
        f"credstore.AwsKmsKey({ARN!r})\n"
        "print(*sorted({'aiobotocore', 'botocore', 'aiohttp'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


CORE = """
import sys, importlib.abc
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition('.')[0] in {absent}: raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture
def core():
    """Begins a program for which no extra is installed."""
    absent = {module.split(".")[0] for modules in MODULES.values() for module in modules}
    return CORE.format(absent=absent)


def test_every_public_name_is_there_without_any_extra(core):
    code = f"{core}from credstore import *\nfrom credstore.proofs import *\nprint(ProofStore, AwsKmsKey)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_encryption_links_proofs_and_structlog_need_no_extra(core):
    code = core + (
        "import asyncio, credstore, structlog\n"
        "from datetime import UTC, datetime\n"
        "from credstore.proofs import LocalSigner, ProofStore, TrustStore, trust_key\n"
        "async def main():\n"
        "    ring = credstore.KeyRing(credstore.LocalKey(bytes(range(32))))\n"
        "    options = {'encryption': credstore.ClientSide(ring, store_id='proofs')}\n"
        "    with structlog.testing.capture_logs() as logs:\n"
        "        options['observers'] = [credstore.StructlogObserver()]\n"
        "        async with credstore.MemoryStorageProvider(**options) as store:\n"
        "            await store.store('a', b'plain')\n"
        "            print((await store.retrieve('a')).decode())\n"
        "    print(*[each['event'] for each in logs])\n"
        "    credstore.MediaCdnSigner(key_name='k', key=credstore.Secret('A' * 43))\n"
        "    signer = LocalSigner.generate()\n"
        "    start = datetime(2020, 1, 1, tzinfo=UTC)\n"
        "    key = trust_key(signer.public_key, issuers=['https://a.example'], valid_from=start)\n"
        "    async with credstore.MemoryStorageProvider() as store:\n"
        "        proofs = ProofStore(store, trust=TrustStore(1, (key,)), signer=signer)\n"
        "        proof = await proofs.issue(b'photo', claims={'\u00e9': 1.5})\n"
        "        print(dict((await proofs.get(proof.proof_id)).record.claims) == {'\u00e9': 1.5})\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["plain", "credstore.store credstore.retrieve", "True"]


@pytest.mark.parametrize("module", MODULES["cli"])
def test_the_command_line_without_its_extra_is_one_line(module):
    code = CORE.format(absent={module}) + "from credstore.__main__ import main\nsys.exit(main())\n"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 8
    assert ended.stderr == (
        "credstore: the command line needs the extra `cli`: pip install 'credstore[cli]' [EXTRA_MISSING]\n"
    )
