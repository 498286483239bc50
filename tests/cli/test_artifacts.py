"""`credstore dataset`, `model`, `checkpoint`, `backup` and `archive-logs`, as people type them."""

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from credstore.cli.main import COMMANDS
from tests.artifacts.stores import read, write
from tests.cli.conftest import CommandLine

ISSUER = "https://lab.example"


@pytest.fixture
def lab(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A store, with a key for everything and a trust store in the working directory."""
    for name in ("key.pem", "model.pem"):
        scheme = "ed25519" if name == "key.pem" else "ecdsa-p256-sha256"
        cli("proof", "keys", "generate", name, "--issuer", ISSUER, "--scheme", scheme, "--quiet")
    monkeypatch.setenv("CREDSTORE_PROOF_KEY", "key.pem")
    monkeypatch.setenv("CREDSTORE_PROOF_TRUST", "keys.json")
    monkeypatch.setenv("CREDSTORE_MODEL_KEY", "model.pem")
    return cli


def test_a_dataset_from_its_first_version_to_its_last(lab: CommandLine) -> None:
    folder = write(Path("data"), {"a.csv": b"1,2\n" * 1000, "b.csv": b"3"})
    assert lab("dataset", "save", "images", "data").out.startswith(
        "saved version 1 of the dataset images: 2 files, 4 kB"
    )
    write(folder, {"b.csv": b"4", "c.csv": b"5"})
    assert lab("dataset", "save", "images", "data", "--json").document["version"] == 2
    assert lab("dataset", "diff", "images", "1").out == "+ c.csv\n~ b.csv\n"
    assert lab("dataset", "diff", "images", "1", "2", "--json").document["added"] == ["c.csv"]
    lab("dataset", "tag", "images", "first", "--version", "1")
    listed = lab("dataset", "list", "images").out
    assert "first" in listed
    assert lab("dataset", "list").out == "images\n"
    lab("dataset", "load", "images", "out", "--version", "first")
    assert read(Path("out"))["b.csv"] == b"3"
    assert "2 files fetched, 0 removed" in lab("dataset", "sync", "images", "out").out
    assert read(Path("out")) == read(folder)
    assert lab("dataset", "verify", "images").out.startswith("verified version 2")
    assert lab("dataset", "tag", "images", "first", "--remove").out == "removed the tag first of images\n"
    assert lab("dataset", "prune", "images", "--keep", "1").out.startswith("removed 1 versions, kept 1")


def test_failures_are_one_line_with_a_code_that_says_what_kind(lab: CommandLine) -> None:
    write(Path("data"), {"a": b"1"})
    lab("dataset", "save", "images", "data")
    assert lab("dataset", "load", "nothing", "out", code=3).err == (
        "credstore: the dataset 'nothing' has no version [VERSION_NOT_FOUND]\n"
    )
    assert lab("dataset", "save", "images", "nowhere", code=2).err.count("\n") == 1
    assert lab("dataset", "save", "no name", "data", code=2).err.count("\n") == 1
    assert lab("dataset", "load", "images", "data", "--json", code=5).error["type"] == "FileExistsError"
    write(Path("mine"), {"thesis": b"1"})
    assert lab("dataset", "sync", "images", "mine", code=5).err.startswith(
        "credstore: 'thesis' would be lost"
    )
    lab("dataset", "sync", "images", "mine", "--discard")
    assert lab("backup", "save", "data", "--keep", "7 days", code=2).err.count("\n") == 1
    assert lab("model", "register", "m", "data", "--metric", "loss=low", code=2).err.count("\n") == 1
    assert lab("model", "stage", "m", code=2).err.count("\n") == 1
    (lab.root / "artifacts/dataset/images/versions/0000000001").write_bytes(b"{}")
    assert lab("dataset", "load", "images", "out", code=7).err.count("\n") == 1


def test_a_model_is_registered_staged_fetched_and_verified(lab: CommandLine) -> None:
    write(Path("data"), {"a": b"1"})
    write(Path("model"), {"config.json": b"{}", "weights.bin": os.urandom(10_000)})
    lab("dataset", "save", "images", "data")
    made = lab(
        "model", "register", "resnet", "model", "--metric", "accuracy=0.93", "--dataset", "images", "--json"
    ).document
    assert (made["version"], made["metrics"], made["dataset"]["name"]) == (1, {"accuracy": 0.93}, "images")
    assert lab("model", "stage", "resnet", "production").out == (
        "version 1 of the model resnet is in the stage production\n"
    )
    lab("model", "register", "resnet", "model", "--stage", "staging")
    assert "images@1" in lab("model", "list", "resnet").out
    assert lab("model", "list").out == "resnet\n"
    assert "production" in lab("model", "stage", "resnet", "--history").out
    assert "accuracy 0.93" in lab("model", "get", "resnet", "out", "--stage", "production").out
    assert read(Path("out")).keys() == {"config.json", "weights.bin", "model.sig"}
    lab("model", "verify", "resnet")
    key = load_pem_private_key(Path("model.pem").read_bytes(), None).public_key()
    Path("model.pub").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert lab("model", "verify-folder", "out", "--public-key", "model.pub").out.startswith(
        "verified out: 2 files"
    )
    Path("out/config.json").write_bytes(b"[]")
    assert "config.json" in lab("model", "verify-folder", "out", "--public-key", "model.pub", code=7).err
    lab("model", "stage", "resnet", "--none", "--version", "2")
    assert lab("model", "get", "resnet", "--stage", "staging", code=3).err.count("\n") == 1
    lab("model", "prune", "resnet", "--keep", "1")


def test_checkpoints(lab: CommandLine) -> None:
    for step, loss in enumerate((0.5, 0.2, 0.9)):
        write(Path("state"), {"step": str(step).encode()})
        lab("checkpoint", "save", "run", str(step), "state", "--metric", f"loss={loss}", "--keep-last", "1",
            "--keep-best", "1", "--by", "loss")  # fmt: skip
    steps = [json.loads(line)["step"] for line in lab("checkpoint", "list", "run", "--json").out.splitlines()]
    assert steps == [1, 2]
    assert "loss 0.2" in lab("checkpoint", "list", "run").out
    assert lab("checkpoint", "list").out == "run\n"
    assert lab("checkpoint", "load", "run", "last").out == "loaded step 2 of run\n"
    assert lab("checkpoint", "load", "run", "best", "--step", "1", "--json").document["step"] == 1
    assert read(Path("best")) == {"step": b"1"}
    assert lab("checkpoint", "load", "run", "gone", "--step", "0", code=3).err.count("\n") == 1


def test_backups_and_archived_logs(lab: CommandLine) -> None:
    home = write(Path("home"), {"notes.txt": b"1"})
    (home / "link").symlink_to("notes.txt")
    lab("backup", "save", "home", "--keep", "7d")
    assert lab("backup", "restore", "home", "out").out.startswith("restored version 1 of the backup home")
    assert Path("out/link").is_symlink()
    lab("backup", "restore", "home", "before", "--at", "2001-01-01T00:00:00Z", code=3)
    lab("backup", "verify", "home")
    assert "1" in lab("backup", "list", "home").out
    logs = write(Path("logs"), {"old.log": b"a" * 100, "new.log": b"b"})
    os.utime(logs / "old.log", (1, 1))
    assert lab("archive-logs", "logs", "--older-than", "7d").out.startswith(
        "removed 1 files here and saved version 1 of the archive logs"
    )
    assert read(logs) == {"new.log": b"b"}
    assert lab("archive-logs", "logs", "--older-than", "7d").out == "no file in logs is that old\n"
    lab("backup", "restore", "logs", "logs-back", "--archive")
    assert read(Path("logs-back")) == {"old.log": b"a" * 100}


def test_the_commands_are_there() -> None:
    assert {"dataset", "model", "checkpoint", "backup", "archive-logs"} <= COMMANDS.keys()
