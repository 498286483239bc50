"""The hook: files are compared with the proofs next to them, as pre-commit calls it."""

import asyncio
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credstore import MemoryStorageProvider
from credstore.proofs import LocalSigner, ProofStore, TrustStore, encode_trust_store, trust_key
from credstore.verification.hook import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """`keys.json`, and `a.svg` and `b.svg` with their proofs, one of them by the proof's id."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREDSTORE_PROOF_TRUST", raising=False)
    signer = LocalSigner.generate()
    start = datetime.now(UTC) - timedelta(days=1)
    trust = TrustStore(1, (trust_key(signer.public_key, issuers=["https://a.example"], valid_from=start),))
    Path("keys.json").write_bytes(encode_trust_store(trust))

    async def issue():
        async with ProofStore(MemoryStorageProvider(), trust=trust, signer=signer) as proofs:
            for name in ("a.svg", "b.svg"):
                Path(name).write_text(f"<svg>{name}</svg>")
                proof = await proofs.issue(Path(name))
                ending = ".credproof.json" if name == "a.svg" else f".{proof.proof_id}.credproof.json"
                Path(f"{name}{ending}").write_bytes(await proofs.export(proof.proof_id))

    asyncio.run(issue())
    return tmp_path


def proof_of(name):
    (found,) = Path().glob(f"{name}.*credproof.json")
    return str(found)


def test_files_that_are_as_proved_pass(folder, capsys):
    Path("c.txt").write_text("without a proof")
    files = ["a.svg", "b.svg", proof_of("b.svg"), "c.txt"]
    assert main(["--trust", "keys.json", *files]) == 0
    assert capsys.readouterr().out == ""


def test_nothing_to_check_passes(folder):
    assert main(["--trust", "keys.json"]) == 0


@pytest.mark.parametrize("name", ["a.svg", "b.svg"])
@pytest.mark.parametrize("by_proof", [False, True])
def test_a_changed_file_fails_once_whichever_is_committed(folder, capsys, name, by_proof):
    with Path(name).open("a") as file:
        file.write(" ")
    assert main(["--trust", "keys.json", proof_of(name) if by_proof else name]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{name}: ")
    assert "[PROOF_ASSET_MISMATCH; " in line


def test_a_file_that_is_gone_fails(folder, capsys):
    Path("a.svg").unlink()
    assert main(["--trust", "keys.json", proof_of("a.svg")]) == 1
    assert "a.svg: cannot be read" in capsys.readouterr().out


def test_a_proof_by_another_key_fails(folder, capsys):
    stranger = LocalSigner.generate()
    key = trust_key(stranger.public_key, issuers=["https://a.example"], valid_from=datetime.now(UTC))
    Path("others.json").write_bytes(encode_trust_store(TrustStore(1, (key,))))
    assert main(["--trust", "others.json", "a.svg", "b.svg"]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_damaged_proof_fails(folder, capsys):
    Path(proof_of("a.svg")).write_text("{}")
    assert main(["--trust", "keys.json", "a.svg"]) == 1
    assert "a.svg: " in capsys.readouterr().out


def test_a_proof_of_another_file_does_not_count(folder):
    """`a.svg.txt` is not `a.svg`, whose proof's name begins alike."""
    Path("a.svg.txt").write_text("x")
    Path("a").write_text("x")
    assert main(["--trust", "keys.json", "a.svg.txt", "a"]) == 0
    assert main(["--trust", "keys.json", "--require", "a"]) == 1


def test_a_proof_can_be_required(folder, capsys):
    Path("c.txt").write_text("without a proof")
    assert main(["--trust", "keys.json", "--require", "a.svg", "c.txt"]) == 1
    assert capsys.readouterr().out == "c.txt: there is no proof next to it (c.txt.credproof.json)\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.svg"], "--trust FILE is missing, and so is CREDSTORE_PROOF_TRUST"),
        (["--trust", "nothing.json", "a.svg"], "nothing.json: No such file"),
        (["--trust", "a.svg", "a.svg"], "a.svg: not a valid trust store"),
    ],
)
def test_a_trust_store_is_needed(folder, capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_variable_names_the_trust_store(folder, monkeypatch):
    monkeypatch.setenv("CREDSTORE_PROOF_TRUST", "keys.json")
    assert main(["a.svg"]) == 0


def test_the_hook_of_pre_commit_runs_without_any_extra(folder):
    """What `.pre-commit-hooks.yaml` calls, in an environment that has what the package itself needs."""
    hooks = (ROOT / ".pre-commit-hooks.yaml").read_text()
    entry = re.search(r"^  entry: python -m (\S+)$", hooks, re.MULTILINE)[1]
    assert re.search(r"^  language: python$", hooks, re.MULTILINE)
    absent = {"aiohttp", "click", "rich", "aiobotocore", "c2pa", "PIL"}
    code = (
        "import sys, runpy\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        f"sys.argv = ['hook', '--trust', 'keys.json', 'a.svg']\n"
        f"runpy.run_module({entry!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
