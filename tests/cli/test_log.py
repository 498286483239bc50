"""`credstore log`: a log from its creation to its proofs, watched and cosigned, with an independent verifier as judge."""

import base64
import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from credstore.cli.exits import Exit
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.http import LogHttp
from credstore.proofs.log.note import parse_note
from credstore.proofs.log.policy import sole_policy
from credstore.proofs.log.proof_file import parse_log_proof
from tests.cli.conftest import CommandLine, Processes
from tests.cli.test_proof import export, proof
from tests.edge.support import ask

__all__ = ["proof"]  # A fixture.
VERIFIER = Path(__file__).parents[2] / "docs" / "verify_log.py"
ORIGIN = "log.example/proofs"


@pytest.fixture
def log(proof: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A command line with an empty log in its store."""
    proof(
        "proof", "keys", "generate", "log.pem", "--issuer", "https://unused.example", "--trust", "unused.json"
    )
    monkeypatch.setenv("CREDSTORE_LOG_KEY", "log.pem")
    monkeypatch.setenv("CREDSTORE_LOG_ORIGIN", ORIGIN)
    vkey = proof("log", "init").out.strip()
    assert vkey == proof("log", "vkey").out.strip()
    assert vkey == proof("log", "vkey", "--json").document["vkey"]
    Path("policy").write_text(f"log {vkey}\nquorum none\n")
    monkeypatch.setenv("CREDSTORE_LOG_POLICY", "policy")
    return proof


def issued(log: CommandLine, count: int) -> list[str]:
    """New proofs as files."""
    names = []
    for number in range(count):
        export(log)
        names.append(f"{len(list(Path().glob('*.bundle')))}-{number}.bundle")
        shutil.move("x.proof.json", names[-1])
    return names


def verified(*arguments: str) -> dict:
    ended = subprocess.run(
        [sys.executable, str(VERIFIER), *arguments], capture_output=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_log_from_its_creation_to_its_proofs(log: CommandLine, root: Path) -> None:
    first, second, third = issued(log, 3)
    assert log("log", "append", first, second).out == f"0  {first}\n1  {second}\n"
    appended = log("log", "append", second, third, "--json").document
    assert appended == {
        "indices": {second: 1, third: 2}, "submitted": {}, "inbox": {"logged": 0, "refused": 0}, "size": 3,
    }  # fmt: skip
    assert log("log", "check").out == f"{ORIGIN}: 3 entries, 2 tiles read\n"
    checked = log("log", "check", "--json").document
    assert (checked["size"], checked["entries"], checked["problems"]) == (3, 3, {})
    log("log", "proof", "1", "-o", "1.proof", "--entry", "1.entry")
    vkey = log("log", "vkey").out.strip()
    assert verified("inclusion", "1.proof", "1.entry", vkey)["size"] == 3
    assert json.loads(Path("1.entry").read_bytes())["kind"] == "issue"
    shown = log("log", "proof", "1").out
    assert shown.encode() == Path("1.proof").read_bytes()
    assert log("log", "proof", "1", "-o", "1.json", "--json").document == {
        "index": 1,
        "file": "1.json",
        "entry": None,
    }
    monitored = log("log", "monitor", "--expect", "1.entry", "--json").document
    assert (monitored["size"], monitored["verified"], monitored["problems"]) == (3, 3, [])
    assert log("log", "monitor", "--start", "2").out == f"{ORIGIN}: size 3, 1 entry verified\n"
    assert (root / "log/v1/checkpoint").read_text().startswith(f"{ORIGIN}\n3\n")


def test_wrong_ways_have_their_exit_codes(
    log: CommandLine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "ALREADY_EXISTS" in log("log", "init", code=Exit.CONFLICT).err
    assert "INCLUSION" in log("log", "proof", "0", code=Exit.LOG).err
    Path("rubbish").write_bytes(b"rubbish")
    log("log", "append", "rubbish", code=Exit.PROOF_FORMAT)
    log("log", "append", "nowhere", code=Exit.USAGE)
    assert "1 expected entry is" in log("log", "monitor", "--expect", "rubbish", code=Exit.LOG).out
    assert "quorum of witnesses" in log("log", "monitor", "--max-age", "1h", code=Exit.USAGE).err
    assert "compared with nothing" in log("log", "monitor").err
    assert log("log", "monitor", "--memory", "m").err == ""
    assert log("log", "monitor", "--json").document["compared"] is False
    assert "log.pem" not in log("log", "vkey", "--name", "a b", code=Exit.CONFIGURATION).err
    vkey = log("log", "vkey").out.strip()
    assert "either" in log("log", "check", "--log", vkey, code=Exit.USAGE).err
    monkeypatch.delenv("CREDSTORE_LOG_POLICY")
    assert "either" in log("log", "check", code=Exit.USAGE).err
    log("log", "check", "--log", vkey)
    log("log", "check", "--log", "rubbish", code=Exit.CONFIGURATION)
    other = log("log", "vkey", "--name", "other.example").out.strip()
    log("log", "check", "--log", other, code=Exit.LOG)
    (root / "log/v1/lock").unlink()
    assert "never started again" in log("log", "append", code=Exit.LOG).err


def test_a_damaged_log_is_not_sound(log: CommandLine, root: Path) -> None:
    log("log", "append", *issued(log, 2))
    (root / "log/v1/tile/entries/000.p/2").unlink()
    assert "tile/entries/000.p/2: the tile is missing" in log("log", "check", code=Exit.LOG).out
    assert "tile/entries" in str(log("log", "check", "--json", code=Exit.LOG).document["problems"])


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("tile/0/000.p/2", "tile/0/000.p/2"),
        ("tile/entries/000.p/2", "tile/entries/000.p/2"),
        ("checkpoint", "log/v1/checkpoint"),
    ],
)
def test_a_file_that_another_program_changed_is_a_problem_of_the_log(
    log: CommandLine, root: Path, path: str, key: str
) -> None:
    log("log", "append", *issued(log, 2))
    file = root / "log/v1" / path
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    ended = log("log", "check", code=Exit.LOG)
    assert key in ended.out + ended.err
    assert "changed by another program" in ended.out + ended.err
    assert "another program" in log("log", "append", *issued(log, 1), code=Exit.LOG).err


def test_an_index_that_is_gone_is_said_with_what_to_do(log: CommandLine, root: Path) -> None:
    Path("a").write_bytes(b"a")
    log("proof", "issue", "a", "--log", "--bundled")
    (run,) = (root / "log/v1/index").iterdir()
    run.unlink()
    ended = log("log", "check", code=Exit.LOG)
    assert "index/: no run covers 1 of its entries" in ended.out
    assert "--repair-index" in ended.err
    assert log("log", "check", "--repair-index").out.endswith("; written again\n")
    run.write_bytes(bytes(48))
    assert "changed by another program" in log("log", "check", code=Exit.LOG).out
    log("log", "check", "--repair-index")
    assert log("log", "check").out == f"{ORIGIN}: 1 entry, 2 tiles read, 1 run of its index\n"


def test_a_fork_is_found_and_kept(log: CommandLine, root: Path) -> None:
    log("log", "append", *issued(log, 1))
    log("log", "check", "--memory", "memory")
    shutil.copytree(root, "kept")
    log("log", "append", *issued(log, 1))
    log("log", "check", "--memory", "memory")
    shutil.rmtree(root)
    shutil.move("kept", root)
    failed = log("log", "monitor", "--memory", "memory", "--json", code=Exit.LOG)
    assert failed.error["code"] == "LOG_FORK"
    (evidence,) = Path("memory/forks").iterdir()
    assert evidence.read_text().count(f"{ORIGIN}\n") == 2


def test_a_restored_store_is_refused(log: CommandLine, root: Path) -> None:
    log("log", "append", "--memory", "memory", *issued(log, 1))
    shutil.copytree(root, "kept")
    log("log", "append", "--memory", "memory", *issued(log, 1))
    shutil.rmtree(root)
    shutil.move("kept", root)
    assert "restoring a backup" in log("log", "append", "--memory", "memory", code=Exit.LOG).err


def test_the_inbox(log: CommandLine) -> None:
    first, second = issued(log, 2)
    name = log("log", "append", "--submit", first, "--json").document["submitted"][first]
    assert name.startswith("in/")
    assert log("log", "append", "--inbox", second).out == f"1  {second}\ninbox: 1 logged, 0 refused\n"


def test_a_copy_is_what_anyone_can_serve_and_read(log: CommandLine, processes: Processes) -> None:
    log("log", "append", *issued(log, 2))
    assert log("log", "export", "copy").out == "2 entries in copy\n"
    log("log", "append", *issued(log, 1))
    assert log("log", "export", "copy", "--json").document == {"folder": "copy", "size": 3}
    files = sorted(str(path.relative_to("copy")) for path in Path("copy").rglob("*") if path.is_file())
    assert files == [
        "checkpoint", "tile/0/000.p/2", "tile/0/000.p/3", "tile/entries/000.p/2", "tile/entries/000.p/3",
    ]  # fmt: skip
    (file := Path("taken")).write_bytes(b"")
    assert "cannot be written" in log("log", "export", str(file), code=Exit.FAILURE).err

    process = processes.start("log", "serve", "--port", "0", "--json", "-v")
    base = json.loads(process.stdout.readline())["url"]
    for name in files:
        if name.endswith(("3", "checkpoint")):
            answer = ask(f"{base}/{name}")
            assert (answer.status, answer.body) == (200, Path("copy", name).read_bytes())
            assert "no-transform" in answer.headers["cache-control"]
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "content-encoding" not in answer.headers
    for name in ("lock", "tile/0/001", "in/", "../secret", "tile/0/000.p/0", ""):
        assert ask(f"{base}/{name}").status == 404
    assert ask(f"{base}/checkpoint", "POST").status == 405
    assert ask(f"{base}/checkpoint", "HEAD").status == 200
    assert log("log", "check", "--url", base).out.startswith(f"{ORIGIN}: 3 entries")
    assert log("log", "check", "--url", f"{base}/nothing", code=Exit.LOG).err
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 0
    assert b"GET /checkpoint 200\n" in process.stderr.read()


def test_a_server_that_never_answers_is_waited_for_as_long_as_is_said(log: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/log"
        told = log("--timeout", "0.2s", "log", "check", "--url", url, code=Exit.UNAVAILABLE).err
    assert "in time (0.2 s)" in told


def test_errors_about_a_log_say_where_it_is_and_with_which_file(log: CommandLine, root: Path) -> None:
    good, bad = issued(log, 1)[0], Path("bad.json")
    bad.write_bytes(b"{")
    before = sorted(root.rglob("*"))
    assert "'bad.json'" in log("log", "append", good, "bad.json", code=Exit.PROOF_FORMAT).err
    assert sorted(root.rglob("*")) == before
    shutil.rmtree(root / "log/v1/tile", ignore_errors=True)
    log("log", "append", good)
    (root / "log/v1/tile/0/000.p/1").unlink()
    assert "'log/v1/tile/0/000.p/1'" in log("log", "proof", "0", code=Exit.LOG).err
    assert "'elsewhere/checkpoint'" in log("log", "check", "--prefix", "elsewhere/", code=Exit.LOG).err


def test_a_server_without_the_log_is_named(log: CommandLine, processes: Processes) -> None:
    process = processes.start("log", "serve", "--port", "0", "--json")
    base = json.loads(process.stdout.readline())["url"]
    log("log", "check", "--url", base)
    told = log("log", "check", "--url", f"{base}/elsewhere/", code=Exit.LOG).err
    assert f"'{base}/elsewhere/checkpoint': there is no checkpoint here" in told


def test_a_copy_whose_checkpoint_is_damaged_is_written_again(
    log: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    log("log", "append", *issued(log, 2))
    log("log", "export", "copy")
    checkpoint, tile = Path("copy/checkpoint"), Path("copy/tile/0/000.p/2")
    good = checkpoint.read_bytes()
    for damaged in (good[:-20], b"", bytes(len(good)), good.replace(b"\n2\n", b"\n9\n")):
        checkpoint.write_bytes(damaged)
        tile.write_bytes(b"")
        log("log", "export", "copy")
        assert checkpoint.read_bytes() == good
        assert len(tile.read_bytes()) == 64
    # What another key of this name has signed, or another log, is no damage.
    log("log", "keygen", "other.pem")
    elsewhere = ("--store", Path("elsewhere").absolute().as_uri())
    for name in (ORIGIN, "other.example"):
        monkeypatch.setenv("CREDSTORE_LOG_ORIGIN", name)
        place = ("--prefix", f"{name}/")
        vkey = log(*elsewhere, "log", "init", "--key", "other.pem", *place).out.strip()
        log(*elsewhere, "log", "append", "--key", "other.pem", *place)
        monkeypatch.delenv("CREDSTORE_LOG_POLICY", raising=False)
        log(*elsewhere, "log", "export", "copy", "--log", vkey, *place, code=Exit.LOG)
        assert checkpoint.read_bytes() == good


def test_a_second_log_of_one_name_in_a_store_is_refused(log: CommandLine) -> None:
    told = log("log", "init", "--prefix", "other/", code=Exit.CONFLICT).err
    assert f"'log/v1/lock': the store has the log '{ORIGIN}' already" in told
    log("log", "init", "--prefix", "other/", "--origin", "other.example")
    told = log("log", "init", "--prefix", "third/", "--origin", "other.example", code=Exit.CONFLICT).err
    assert "'other/lock'" in told


def test_a_witness_in_the_store_of_its_log_is_warned_of(log: CommandLine, processes: Processes) -> None:
    assert "the log has 0 entries; name files" in log("log", "append").err
    log("log", "keygen", "w.pem")
    run = ("log", "witness", "--key", "w.pem", "--name", "w.example", "--port", "0", "--policy", "policy")
    own = log(
        "log",
        "witness",
        "--key",
        "log.pem",
        "--name",
        "w.example",
        "--policy",
        "policy",
        code=Exit.CONFIGURATION,
    )
    assert "the key of the log itself" in own.err
    for store, warned in ((), True), (("--store", Path("elsewhere").absolute().as_uri()), False):
        process = processes.start(*store, *run)
        first = process.stderr.readline()
        assert (b"this store holds the log itself" in first) == warned
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert "[default: 8767" in log("log", "witness", "--help").out


def test_witnesses_over_http(log: CommandLine, processes: Processes, tmp_path: Path) -> None:
    lines, witnesses, started = [], [], []
    for name in ("w1", "w2"):
        log(
            "proof",
            "keys",
            "generate",
            f"{name}.pem",
            "--issuer",
            "https://unused.example",
            "--trust",
            f"{name}.json",
        )
        witnesses.append(
            log("log", "vkey", "--witness", "--key", f"{name}.pem", "--name", f"{name}.example").out.strip()
        )
        store = (tmp_path / name).as_uri()
        process = processes.start(
            "--store", store, "log", "witness", "--key", f"{name}.pem", "--name", f"{name}.example",
            "--policy", "policy", "--port", "0", "--json",
        )  # fmt: skip
        started.append((process, json.loads(process.stdout.readline())["url"]))
        lines.append(f"witness {name} {witnesses[-1]} {started[-1][1]}")
    vkey = log("log", "vkey").out.strip()
    Path("witnessed").write_text(
        "\n".join([f"log {vkey}", *lines, "group both all w1 w2", "quorum both", ""])
    )
    assert "quorum" in log("log", "check", "--policy", "witnessed", code=Exit.LOG).err
    log("log", "append", "--policy", "witnessed", *issued(log, 2))
    old = log("log", "proof", "0", "--policy", "witnessed").out.encode()
    log("log", "append", "--policy", "witnessed", *issued(log, 2))
    log("log", "proof", "3", "--policy", "witnessed", "-o", "3.proof", "--entry", "3.entry")
    found = verified("inclusion", "3.proof", "3.entry", vkey, *witnesses)
    assert found["size"] == 4
    assert all(found["cosigned"].values())
    monitored = log("log", "monitor", "--policy", "witnessed", "--max-age", "1h", "--json").document
    assert monitored["witnessed"] == {"w1": 4, "w2": 4}

    # The other verifier agrees that the log only grew, too.
    Path("old").write_bytes(parse_log_proof(old).checkpoint)
    Path("new").write_bytes(parse_log_proof(Path("3.proof").read_bytes()).checkpoint)
    hashes = log_consistency(log, 2)
    Path("hashes").write_text("".join(base64.b64encode(each).decode() + "\n" for each in hashes))
    assert verified("consistency", "old", "new", "hashes", vkey, *witnesses)["size"] == 4

    (process, address), other = started
    assert ask(f"{address}/add-checkpoint").status == 405
    assert ask(f"{address}/add-checkpoint", "POST", body=b"rubbish").status == 400
    assert ask(f"{address}/add-checkpoint", "POST", body=bytes(2 * 1024 * 1024)).status == 413
    assert ask(f"{address}/elsewhere").status == 404
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 0
    refused = log("log", "append", "--policy", "witnessed", *issued(log, 1), code=Exit.LOG)
    assert "w1" in refused.err
    assert "retry may help" in log("log", "append", "--policy", "witnessed", "-v", code=Exit.LOG).err
    report = log("log", "monitor", "--policy", "witnessed").out
    assert "w1 was not asked" in report
    other[0].send_signal(signal.SIGTERM)
    assert other[0].wait(timeout=60) == 0


def log_consistency(log: CommandLine, old_size: int) -> list[bytes]:
    """From the files of an exported copy."""
    import asyncio

    log("log", "export", "copy")

    async def fetch(path: str, most: int) -> bytes | None:
        file = Path("copy") / path
        return file.read_bytes()[:most] if file.is_file() else None

    async def main() -> list[bytes]:
        client = LogClient(fetch, policy=sole_policy(log("log", "vkey").out.strip()))
        return await (await client.tiles()).consistency(old_size)

    assert LogHttp is not None
    assert parse_note(Path("copy/checkpoint").read_bytes())
    return asyncio.run(main())


def test_keys_of_two_schemes(log: CommandLine, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log("log", "keygen", "second.pem", "--scheme", "ml-dsa-44")
    assert Path("second.pem").stat().st_mode & 0o777 == 0o600
    log("log", "keygen", "second.pem", code=Exit.CONFLICT)
    monkeypatch.setenv("CREDSTORE_PROOF_PASSPHRASE", "a long passphrase")
    sealed = log("log", "keygen", "first.pem", "--passphrase", "--json").document
    assert sealed == {"file": "first.pem", "scheme": "ed25519"}
    assert b"ENCRYPTED" in Path("first.pem").read_bytes()
    both = ("--key", "first.pem", "--mldsa-key", "second.pem", "--origin", "both.example", "--prefix", "two/")
    vkeys = log("log", "init", *both).out.split()
    assert [len(each) > 1000 for each in vkeys] == [False, True]
    log("log", "append", *both, *issued(log, 1))
    note = parse_note((root / "two" / "checkpoint").read_bytes())
    assert [len(line.raw) for line in note.signatures] == [64, 2428]
    for vkey in vkeys:
        assert log("log", "check", "--prefix", "two/", "--log", vkey, "--json", code=Exit.USAGE)
    monkeypatch.delenv("CREDSTORE_LOG_POLICY")
    for vkey in vkeys:
        assert log("log", "check", "--prefix", "two/", "--log", vkey, "--json").document["size"] == 1
    witness = log("log", "vkey", "--witness", "--key", "second.pem", "--name", "w.example").out
    assert witness == log("log", "vkey", "--key", "second.pem", "--name", "w.example").out
    wrong = ("--key", "second.pem", "--origin", "new.example", "--prefix", "new/")
    assert "Ed25519" in log("log", "init", *wrong, code=Exit.CONFIGURATION).err
    swapped = ("--mldsa-key", "first.pem", "--origin", "new.example", "--prefix", "new/")
    assert "ML-DSA-44" in log("log", "init", *swapped, code=Exit.CONFIGURATION).err
    Path("second.pem").chmod(0o644)
    assert "chmod 600" in log("log", "append", *both, code=Exit.CONFIGURATION).err


def test_the_server_of_a_store_serves_its_log_and_a_witness(log: CommandLine, processes: Processes) -> None:
    log("log", "keygen", "w.pem", "--scheme", "ml-dsa-44")
    witness = log("log", "vkey", "--key", "w.pem", "--name", "w.example").out.strip()
    started = processes.start(
        "serve", "--port", "0", "--log", "127.0.0.1:0", "--witness-key", "w.pem", "--witness-name", "w.example",
        "--witness-policy", "policy", "--json",
    )  # fmt: skip
    urls = json.loads(started.stdout.readline())
    assert urls.keys() == {"url", "log", "witness"}
    vkey = log("log", "vkey").out.strip()
    Path("witnessed").write_text(f"log {vkey}\nwitness w {witness} {urls['witness']}\nquorum w\n")
    log("log", "append", "--policy", "witnessed", *issued(log, 2))
    assert log("log", "check", "--policy", "witnessed", "--url", urls["log"], "--json").document["size"] == 2
    monitored = log("log", "monitor", "--policy", "witnessed", "--url", urls["log"], "--json").document
    assert monitored["witnessed"] == {"w": 2}
    assert ask(f"{urls['log']}/lock").status == 404
    assert ask(f"{urls['log']}/checkpoint", "POST").status == 405
    assert ask(f"{urls['witness']}/add-checkpoint", "POST", body=bytes(2 * 1024 * 1024)).status == 413
    for wrong in (["--witness-key", "w.pem"], ["--log", "nowhere"]):
        log("serve", *wrong, code=Exit.USAGE)
    started.send_signal(signal.SIGTERM)
    assert started.wait(timeout=60) == 0
