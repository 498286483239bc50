"""The commands that have a cluster do the work, as a person or a program calls them."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalKey, LocalStorageProvider
from credstore.cli.main import run
from credstore.pipeline.training import train_dictionary
from credstore.proofs.format.trust import encode_trust_store
from credstore.proofs.variables import KEY, PASSPHRASE
from credstore.proofs.variables import TRUST as TRUST_FILE
from tests.cli.conftest import CommandLine
from tests.cluster.conftest import Trap, Workers
from tests.proofs.material import ISSUER, SIGNER, TRUST
from tests.transfer.ends import make_tree, tree_of

TREE = {f"d{number % 3}/f{number:02}": bytes([number]) * number for number in range(40)}
WRAPPING = ("CREDSTORE_WRAPPING_KEY", "CREDSTORE_OLDER_WRAPPING_KEYS", "CREDSTORE_STORE_ID")
RECORDS = {f"r/{number:02}": b'{"by": "the same author", "number": %d}' % number * 9 for number in range(30)}


@pytest.fixture
def cli(tmp_path, monkeypatch, capfd) -> CommandLine:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return CommandLine(tmp_path / "store", capfd)


def events(ended) -> list[dict]:
    return [json.loads(line) for line in ended.out.splitlines()]


def test_migrate_and_compare(cli, workers: Workers, bucket):
    make_tree(Path("data"), TREE)
    dask = ("--dask", workers.address)
    ended = cli("migrate", "data", bucket("moved"), *dask)
    assert len(ended.out.splitlines()) == len(TREE)
    assert f"{len(TREE)} copied" in ended.err
    again = cli("migrate", "data", bucket("moved"), "--json", *dask)
    assert events(again)[-1]["report"]["counts"] == {"same": len(TREE)}
    assert "by journal" in cli("migrate", "data", bucket("moved")).err  # Without a cluster, the same journal.
    Path("data/d0/f03").write_bytes(b"changed")
    ended = cli("compare", "data", bucket("moved"), *dask, code=1)
    assert ended.out.splitlines() == ["differing d0/f03"]
    assert "by digest" in ended.err
    some = cli("migrate", bucket("moved/*/f0*"), "some", *dask)
    assert set(tree_of(Path("some"))) == {name for name in TREE if name[3:5] == "f0"}, some


def test_what_cannot_be(cli, workers: Workers):
    make_tree(Path("data"), TREE)
    ended = cli("migrate", "data", "s3://canary-id:canary-key@bucket/x", "--dask", workers.address, code=8)
    assert "must not have a user or password" in ended.err
    assert "--workers is for --dask local" in cli("compare", "data", "x", "--workers", "3", code=2).err
    ended = cli("migrate", "data", "memory://x", "--dask", workers.address, code=8)
    assert "a store in memory belongs to one process" in ended.err
    ended = cli("migrate", "data", "x", "--dask", "nowhere", code=8)
    assert "is not the address of a scheduler" in ended.err
    here = Path.cwd().as_uri()
    make_tree(Path("upper"), TREE)
    for pair in (
        (f"{here}/upper/in", f"{here}/upper"),
        ("upper", f"{here}/upper/in"),
        (f"{here}/upper", "upper"),
    ):
        ended = cli("migrate", "--delete-source", *pair, "--dask", workers.address, code=2)
        assert "the same place" in ended.err
    assert tree_of(Path("upper")) == TREE


def test_an_interrupt_stops_the_workers_and_says_how_to_go_on(cli, workers: Workers, trap: Trap):
    """As at a terminal; the worker, which waits for good, is asked to stop, and does."""
    make_tree(Path("data"), TREE)
    trap.set("d1/f19")
    command = ["migrate", "data", (Path.cwd() / "copy").as_uri(), "--dask", workers.address]
    process = subprocess.Popen([sys.executable, "-m", "credstore", *command], stderr=subprocess.PIPE)

    async def interrupt() -> str:
        await trap.said("reached")
        process.send_signal(signal.SIGINT)
        return await trap.said("ended")

    try:
        assert asyncio.run(interrupt()) == "cancelled"
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait() == 130
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert said.endswith(b"credstore: interrupted; the same command continues where this one ended\n"), said
    assert b"Traceback" not in said
    ended = cli(*command)
    assert ended.err.startswith("continued; ")
    assert "0 failed" not in ended.err
    copied = {name: data for name, data in tree_of(Path("copy")).items() if not name.startswith(".credstore")}
    assert copied == TREE


def test_workers_of_this_machine_are_started_and_ended(cli, monkeypatch):
    """By the program itself, as the users' own: with the interrupt of the terminal for all of them."""
    make_tree(Path("data"), TREE)
    command = [sys.executable, "-m", "credstore", "migrate", "data", (Path.cwd() / "copy").as_uri()]
    ended = subprocess.run(
        [*command, "--dask", "local", "--workers", "1", "--json"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout.splitlines()[-1])["report"]["counts"]["copied"] == len(TREE)


def test_keys_are_rotated(cli, workers: Workers, monkeypatch):
    for name in ("old", "new"):
        LocalKey.generate_file(name)
    make_tree(Path("store"), {"plain": b"1"})
    store = ("--store", Path("store").absolute().as_uri())
    variables = {"CREDSTORE_WRAPPING_KEY": str(Path("new").absolute()), "CREDSTORE_STORE_ID": "s"}
    with workers.with_variables(variables):
        ended = cli("rotate-keys", *store, "--dask", workers.address)
        assert "unencrypted" in ended.out
        assert cli("rotate-keys", *store).out == ended.out
    ended = cli("rotate-keys", *store, code=8)
    assert "CREDSTORE_WRAPPING_KEY is not set" in ended.err


def test_a_dictionary_is_applied(cli, workers: Workers):
    dictionary = train_dictionary([*RECORDS.values()], size=1024)

    async def fill():
        async with LocalStorageProvider(LocalConfig(path=Path("store"))) as store:
            await store.add_dictionary(dictionary)
            for name, data in RECORDS.items():
                await store.store(name, data)

    asyncio.run(fill())
    store = ("--store", Path("store").absolute().as_uri())
    dask = ("--dask", workers.address)
    ended = cli("dictionary", "apply", dictionary.name, "r/", *store, *dask)
    assert ended.out.startswith(f"{len(RECORDS)} recompressed, 0 kept, 0 known; ")
    again = cli("dictionary", "apply", dictionary.name, *store, *dask, "--json").document
    assert (again["recompressed"], again["kept"]) == (0, len(RECORDS))
    assert cli("cat", "r/07", *store).out == RECORDS["r/07"].decode()
    assert "DICTIONARY_MISSING" in cli("dictionary", "apply", "0" * 64, *store, *dask, code=7).err


def test_proofs_are_issued_and_audited(cli, workers: Workers):
    make_tree(Path("photos"), RECORDS)
    key, trust = Path("key.pem").absolute(), Path("keys.json").absolute()
    key.touch(mode=0o600)
    key.write_bytes(SIGNER.to_pem())
    trust.write_bytes(encode_trust_store(TRUST))
    store = ("--store", (Path.cwd() / "proofs").as_uri())
    dask = ("--dask", workers.address)
    Path("proofs").mkdir()
    with workers.with_variables({"CREDSTORE_PROOF_KEY": str(key), "CREDSTORE_PROOF_TRUST": str(trust)}):
        ended = cli("proof", "issue-all", "photos", "--issuer", ISSUER, *store, *dask)
        issued = dict(reversed(line.split("  ")) for line in ended.out.splitlines())
        assert set(issued) == set(RECORDS)
        assert f"{len(RECORDS)} issued, 0 known, 0 failed" in ended.err
        again = cli("proof", "issue-all", "photos", "--issuer", ISSUER, *store, *dask, "--json")
        assert {each["name"]: each["proof_id"] for each in events(again)} == issued
        by_workers = cli("proof", "audit", *store, *dask, "--json").document
        assert by_workers == cli("proof", "audit", *store, "--json").document
        assert by_workers["records"] == len(RECORDS)
        found = cli("proof", "get", issued["r/07"], *store, "--json").document
        assert found["issuer"] == ISSUER
        ended = cli("proof", "audit", "--trust", "other.json", *store, *dask, code=2)
        assert "CREDSTORE_PROOF_TRUST" in ended.err
    assert run(["proof", "audit", *store]) == 2


def test_the_pages_program_runs(cli, workers: Workers):
    """docs/dask.md, with the cluster that is there instead of a new one."""
    page = (Path(__file__).parents[2] / "docs/dask.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    assert '"local", workers=2' in code
    Path("program.py").write_text(code.replace('"local", workers=2', f'"{workers.address}"'))
    make_tree(Path("old"), TREE)
    for worker in workers.all_there():
        workers.client.run(os.chdir, str(Path.cwd()), workers=[worker])
    ended = subprocess.run(
        [sys.executable, "-W", "error", "program.py"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert {name for name in tree_of(Path("new")) if not name.startswith(".credstore")} == set(TREE)


def test_the_page_names_every_command_and_variable():
    page = (Path(__file__).parents[2] / "docs/dask.md").read_text()
    for name in ("migrate", "compare", "rotate-keys", "dictionary apply", "proof issue-all", "proof audit"):
        assert f"credstore {name} " in page
        assert f"| `{name}` |" in page
    for variable in (KEY, PASSPHRASE, TRUST_FILE, *WRAPPING):
        assert f"`{variable}`" in page
