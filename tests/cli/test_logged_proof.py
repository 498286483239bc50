"""`credstore proof` with a log: what is signed is logged, verified offline, listed, and caught up with."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from credstore import LocalConfig, LocalStorageProvider
from credstore.cli.exits import Exit
from credstore.proofs.log import LogEntry, LogSequencer, pem_signer
from credstore.proofs.log.proof_file import parse_log_proof
from tests.cli.conftest import CommandLine
from tests.cli.test_log import log
from tests.cli.test_proof import PHOTO, issue, proof, verified_alone
from tests.proofs.log.logs import Plain
from tests.proofs.material import ID

__all__ = ["log", "proof"]  # Fixtures.


def exported(log: CommandLine, *more: str) -> str:
    proof_id = issue(log, "--log", *more)
    log("proof", "export", proof_id, "-o", "x.proof.json", "-f")
    return proof_id


def kinds(log: CommandLine) -> list[str]:
    size = log("log", "check", "--json").document["size"]
    found = []
    for index in range(size):
        log("log", "proof", str(index), "-o", "i.proof", "--entry", "i.entry", "-f")
        found.append(json.loads(Path("i.entry").read_bytes())["kind"])
    return found


def test_a_logged_proof_verifies_offline(log: CommandLine) -> None:
    exported(log)
    out = log("proof", "verify", "x.proof.json", "--asset", "photo.jpg", "--require-log").out
    for words in (
        "entry 0 of log.example/proofs, at size 1",
        "in the log, by its",
        "still continues that state",
    ):
        assert words in out
    document = log("proof", "verify", "x.proof.json", "--require-log", "--json").document
    assert document["log"]["index"] == 0
    assert document["unchecked"] == ["consistency", "asset"]
    proof_text = json.loads(Path("x.proof.json").read_bytes())["log"]["proof"]
    assert parse_log_proof(proof_text.encode()).index == 0
    alone = verified_alone("--require-log", "--log-policy", os.environ["CREDSTORE_LOG_POLICY"])
    assert b"in the log, by its" in alone


def test_what_is_not_logged_is_refused_where_that_is_required(
    log: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof_id = issue(log)
    log("proof", "export", proof_id, "-o", "y.proof.json")
    log("proof", "verify", "y.proof.json")
    log("proof", "verify", "y.proof.json", "--require-log", code=Exit.PROOF_OTHER)
    log("proof", "get", proof_id, "--require-log", code=Exit.PROOF_OTHER)
    log("proof", "find", "photo.jpg", "--require-log", code=Exit.NOT_FOUND)
    log("proof", "export", proof_id, "--require-log", code=Exit.PROOF_OTHER)
    logged = exported(log)
    assert "entry 0 of" in log("proof", "get", logged, "--require-log").out
    assert [
        each["proof_id"] for each in log("proof", "find", "photo.jpg", "--require-log", "--json").document
    ] == [logged]
    text = Path("x.proof.json").read_text()
    Path("x.proof.json").write_text(text.replace('"proof":"c2sp', '"proof":"x2sp'))
    log("proof", "verify", "x.proof.json", code=Exit.LOG)
    monkeypatch.delenv("CREDSTORE_LOG_POLICY")
    assert "give --log-policy" in log("proof", "verify", "x.proof.json").out
    log("proof", "verify", "x.proof.json", "--require-log", code=Exit.USAGE)


def test_revoking_deleting_and_publishing_are_logged_and_caught_up_with(log: CommandLine) -> None:
    first, second, third = (exported(log) for _ in range(3))
    log("proof", "revoke", first, "--log")
    log("proof", "delete", second, "--log")
    log("proof", "revoke", third)
    issue(log)
    assert kinds(log) == ["issue", "issue", "issue", "revoke", "erase"]
    assert log("proof", "reconcile", "--log").out == "2 logged, 0 failed\n"
    assert log("proof", "reconcile", "--log", "--json").document == {"logged": 0, "failed": []}
    log("proof", "reconcile", code=Exit.USAGE)
    log("proof", "keys", "generate", "root.pem", "--issuer", "https://news.example", "--usage", "root")
    Path("newer.json").write_bytes(Path("keys.json").read_bytes())
    log("proof", "keys", "generate", "new.pem", "--issuer", "https://news.example", "--trust", "newer.json")
    published = ("proof", "publish-trust", "newer.json", "--root-key", "root.pem", "--log")
    assert "with 3 keys" in log(*published).out
    log("proof", "publish-trust", "keys.json", "--root-key", "root.pem", code=Exit.CONFLICT)
    assert kinds(log)[-1] == "keyring"


def test_logging_needs_to_know_the_log(log: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDSTORE_LOG_ORIGIN")
    assert "--log-origin" in log("proof", "issue", "photo.jpg", "--log", code=Exit.USAGE).err
    log("proof", "issue", "photo.jpg", "--log", "--log-origin", "other.example", code=Exit.CONFIGURATION)


def test_nothing_is_signed_for_a_log_with_another_key_or_name(
    log: CommandLine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof_id = exported(log)
    before = sorted(path for path in root.rglob("*") if path.is_file())
    log("log", "keygen", "other.pem")
    issuing = ("proof", "issue", "photo.jpg", "--log")
    ended = log(*issuing, "--log-key", "other.pem", code=Exit.CONFIGURATION)
    assert "the policy has another key for the log" in ended.err
    monkeypatch.delenv("CREDSTORE_LOG_POLICY")
    for wrong in (("--log-key", "other.pem"), ("--log-origin", "other.example")):
        for command in (
            issuing,
            ("proof", "revoke", proof_id, "--log"),
            ("proof", "delete", proof_id, "--log"),
        ):
            ended = log(*command, *wrong, code=Exit.LOG)
            assert "the log in the store was made with another key or name" in ended.err
            assert "retry" not in ended.err
    assert "there is no log here" in log(*issuing, "--log-prefix", "none/", code=Exit.LOG).err
    assert sorted(path for path in root.rglob("*") if path.is_file()) == before


def test_a_log_that_does_not_continue_the_copy_leaves_both_notes_in_it(log: CommandLine, root: Path) -> None:
    exported(log)
    shutil.copytree(root, "kept")
    exported(log)
    history = ("proof", "history", "--asset", "photo.jpg", "--copy", "copy")
    log(*history)
    shutil.rmtree(root)
    shutil.move("kept", root)
    assert "forks" in log(*history, code=Exit.LOG).err
    (evidence,) = Path("copy/forks").iterdir()
    assert evidence.read_text().count("log.example/proofs\n") == 2
    assert log(*history, "--no-update", "--json").document["size"] == 2


def test_proofs_that_are_the_entries_of_the_log(
    log: CommandLine, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same verbs, and no object for a proof; an index that was replaced is found, and written again."""
    assert "give --log" in log("proof", "issue", "photo.jpg", "--bundled", code=Exit.USAGE).err
    monkeypatch.setenv("CREDSTORE_LOG_BUNDLED", "1")
    Path("other.jpg").write_bytes(b"other")
    first = issue(log, "--log")
    log("proof", "issue", "other.jpg", "--log")
    assert not (root / "proofs").exists()
    assert f"\nproof {first}" in "\n" + " ".join(log("proof", "get", first).out.split())
    assert [each["proof_id"] for each in log("proof", "find", "photo.jpg", "--json").document] == [first]
    assert first in log("proof", "list").out
    assert first in log("proof", "history", "--asset", "photo.jpg").out
    assert first in log("proof", "history", first).out
    log("proof", "export", first, "-o", "x.proof.json")
    out = log("proof", "verify", "x.proof.json", "--asset", "photo.jpg", "--require-log").out
    assert "entry 0 of log.example/proofs, at size 2" in out
    assert verified_alone("--require-log", "--log-policy", os.environ["CREDSTORE_LOG_POLICY"])
    assert "entries of a log" in log("proof", "delete", first, "--log", code=Exit.FAILURE).err
    log("proof", "revoke", first, "--log")
    assert "REVOKED" in log("proof", "get", first, code=Exit.PROOF_REVOKED).err
    log("proof", "find", "photo.jpg", code=Exit.NOT_FOUND)
    assert log("proof", "find", "other.jpg", "--json").document
    assert log("log", "check").out == "log.example/proofs: 3 entries, 2 tiles read, 1 run of its index\n"

    (run,) = (root / "log/v1/index").iterdir()
    good = run.read_bytes()
    Path("other").write_bytes(bytes(len(good)))
    log("put", "other", f"log/v1/index/{run.name}", "--compress", "none")
    log("proof", "find", "other.jpg", code=Exit.NOT_FOUND)
    assert "not those of the entries" in log("log", "check", code=Exit.LOG).out
    checked = log("log", "check", "--json", code=Exit.LOG).document["index"]
    assert list(checked["problems"]) == [f"index/{run.name}"]
    assert "written again" in log("log", "check", "--repair-index").out
    assert run.read_bytes() == good
    assert log("proof", "find", "other.jpg", "--json").document
    monkeypatch.delenv("CREDSTORE_LOG_POLICY")
    assert "--bundled needs --log-policy" in log("proof", "get", first, code=Exit.USAGE).err
    log("log", "check", "--log", "x", "--url", "http://127.0.0.1:1", "--repair-index", code=Exit.USAGE)


def test_a_full_tile_of_a_copy_that_was_damaged_is_fetched_again(log: CommandLine, root: Path) -> None:
    """Full tiles are not compared each time, other than those at the edge."""
    digest = hashlib.sha256(PHOTO).digest()

    async def fill() -> None:
        signer = pem_signer("log.example/proofs", Path("log.pem").read_bytes())
        async with (
            LocalStorageProvider(LocalConfig(path=str(root))) as provider,
            LogSequencer(provider, signer=signer, admission=Plain(), max_wait=0.0) as sequencer,
        ):
            about = [digest if number == 5 else bytes(32) for number in range(300)]
            await sequencer.append(
                [
                    LogEntry("issue", bytes([number % 256]) * 32, "key", b"sig", ID, each).data
                    for number, each in enumerate(about)
                ]
            )

    asyncio.run(fill())
    history = ("proof", "history", "--asset", "photo.jpg", "--copy", "copy")
    assert log(*history).out.startswith("5  issue")
    for path in ("copy/tile/entries/000", "copy/tile/0/000"):
        tile = Path(path)
        good = tile.read_bytes()
        tile.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        log(*history, "--no-update", code=Exit.LOG)
        assert log(*history).out.startswith("5  issue")
        assert tile.read_bytes() == good


def test_statements_are_appended_whole_to_a_log_of_whole_proofs(log: CommandLine) -> None:
    issue(log, "--log", "--bundled")
    second = issue(log)
    log("proof", "export", second, "-o", "second.json")
    assert "without --bundled only digests" in log("log", "append", "second.json").err
    log("proof", "get", second, "--bundled")  # From its object, which is the one that the log has digests of.
    third = issue(log)
    log("proof", "export", third, "-o", "third.json")
    ended = log("log", "append", "third.json", "--bundled")
    assert (ended.out, ended.err) == ("2  third.json\n", "")
    assert third in log("proof", "get", third, "--bundled").out
    assert third in log("proof", "find", "photo.jpg", "--bundled").out
    large = issue(log, "--claims", json.dumps({"text": "x" * 20_000}))
    log("proof", "export", large, "-o", "large.json")
    assert (
        "large.json: more than 16 KiB" in log("log", "append", "large.json", "--bundled", code=Exit.USAGE).err
    )


def test_proofs_that_only_the_log_has_are_hinted_at(log: CommandLine) -> None:
    plain = issue(log)
    assert log("proof", "find", "photo.jpg").err == ""
    entry = issue(log, "--log", "--bundled")
    for ask in (("find", "photo.jpg"), ("list",), ("history", "--asset", "photo.jpg")):
        ended = log("proof", *ask)
        assert plain in ended.out
        assert entry not in ended.out
        assert "--bundled shows those" in ended.err
        assert "--bundled" not in log("proof", *ask, "--bundled").err
        assert "--bundled" not in log("proof", *ask, "--json").err
    assert "--bundled shows those" in log("proof", "get", entry, code=Exit.NOT_FOUND).err
    assert entry in log("proof", "history", "--asset", "photo.jpg", "--bundled", "--log-prefix", "log/v1/", "--log-policy", "policy", "--log-memory", "m").out  # fmt: skip


def test_options_of_a_log_that_would_have_no_effect_are_refused(
    log: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof_id = issue(log)
    for ask in (("get", proof_id), ("find", "photo.jpg"), ("list",)):
        told = log("proof", *ask, "--log-memory", "memory", code=Exit.USAGE).err
        assert "--log-memory has no effect without --bundled" in told
    for option in ("--log-key", "--log-origin", "--log-mldsa-key", "--log-memory"):
        told = log("proof", "issue", "photo.jpg", option, "x", code=Exit.USAGE).err
        assert f"{option} has no effect without --log" in told
    assert len(log("proof", "list").out.splitlines()) == 1
    # What the environment says is for whichever command it concerns.
    monkeypatch.setenv("CREDSTORE_LOG_MEMORY", "memory")
    log("proof", "get", proof_id)
    log("proof", "issue", "photo.jpg")


def test_whoever_interrupts_is_told_how_to_log_what_was_signed(
    log: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(LogSequencer, "append", interrupted)
        told = log("proof", "issue", "photo.jpg", "--log", code=Exit.INTERRUPTED).err
    assert "interrupted; credstore proof reconcile --log logs what was signed" in told
    assert log("proof", "reconcile", "--log").out == "1 logged, 0 failed\n"


def test_the_history_of_a_file(log: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.jpg").write_bytes(b"other")
    first = exported(log)
    log("proof", "issue", "other.jpg", "--log")
    history = ("proof", "history", "--asset", "photo.jpg")
    ended = log(*history, "--copy", "copy")
    assert ended.out == f"0  issue   {first}\n"
    assert "complete up to size 2 of log.example/proofs, no witnesses" in ended.err
    log("proof", "revoke", first, "--log")
    second = exported(log)
    before = log(*history, "--copy", "copy", "--no-update", "--json").document
    assert (before["size"], before["complete"], len(before["statements"])) == (2, True, 1)
    after = log(*history, "--copy", "copy", "--json").document
    assert after["statements"] == [
        {"index": 0, "kind": "issue", "proof_id": first},
        {"index": 2, "kind": "revoke", "proof_id": first},
        {"index": 3, "kind": "issue", "proof_id": second},
    ]
    names = log(*history)
    assert first in names.out
    assert "revoked" in names.out
    assert "may be incomplete" in names.err
    document = log(*history, "--json").document
    assert (document["complete"], len(document["proofs"])) == (False, 2)
    monkeypatch.delenv("CREDSTORE_PROOF_TRUST")
    log(*history, code=Exit.USAGE)
    tile = Path("copy/tile/entries/000.p/4")
    tile.write_bytes(tile.read_bytes().replace(b"issue", b"erase"))
    assert "entry 0" in log(*history, "--copy", "copy", "--no-update", code=Exit.LOG).err
    # With the log at hand, what is damaged in the copy is fetched again.
    assert len(log(*history, "--copy", "copy", "--json").document["statements"]) == 3
    log(*history, "--copy", "copy", "--no-update")
    tile.write_bytes(tile.read_bytes()[:-1])
    assert "000.p/4" in log(*history, "--copy", "copy", "--no-update", code=Exit.LOG).err
    assert "no copy of a log" in log(*history, "--copy", "elsewhere", "--no-update", code=Exit.USAGE).err
    for wrong in (("--no-update",), ("--url", "http://127.0.0.1:1")):
        assert "give --copy FOLDER" in log(*history, *wrong, code=Exit.USAGE).err
    assert "--asset FILE" in log("proof", "history", first, "--copy", "copy", code=Exit.USAGE).err
    assert "either" in log("proof", "history", code=Exit.USAGE).err
    monkeypatch.delenv("CREDSTORE_LOG_POLICY")
    assert "--copy needs --policy" in log(*history, "--copy", "copy", code=Exit.USAGE).err
    assert Path("photo.jpg").read_bytes() == PHOTO
