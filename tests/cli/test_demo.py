"""The demo passes, tells what a person wants to see, and fails when a comparison does."""

import gzip
import json
import signal
import tempfile
from pathlib import Path

import pytest

from credstore.cli.demo.samples import sample_records
from credstore.provider.provider import StorageProvider
from tests.cli.conftest import CommandLine, Processes


@pytest.fixture(autouse=True)
def own_temporary_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place


def test_the_demo(cli: CommandLine, own_temporary_directory: Path) -> None:
    out = cli("demo").out
    assert "checks passed" in out.splitlines()[-1]
    for record in sample_records():
        assert record.key in out
    for word in (
        "gzip",
        "zstd",
        " : 1",
        "SHA-256",
        "signature=",
        "stored as gzip, sent as it is",
        "stored as gzip, sent as plain JSON",
        "stored as zstd, sent as plain JSON",
        "fetched: 200",
        "403",
        "the key opens it again: the same",
        "found    by sha256",
        "verified offline, from an exported file",
        "opened   its temporary link: 200",
        "changed  one byte of the picture: refused (ProofAssetMismatchError)",
        "changed  one letter of the proof: refused (ProofSignatureError)",
        "logged   two proofs and a revocation",
        "verified offline: entry 0 of log.news.example/proofs",
        "without the log's proof: refused (ProofPolicyError)",
        "signed by the same key: caught (LogForkError)",
        "stripped harbour.png: half its size, JPEG, no metadata: found again",
    ):
        assert word in out
    assert list(own_temporary_directory.iterdir()) == []


def test_the_demo_without_a_store_or_network(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDSTORE_URL")
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:9")
    assert len(cli("demo", "--quiet").out.splitlines()) == 2


def test_the_demo_without_an_extra_says_what_it_did_not_show(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credstore.cli.demo.proof.is_installed", lambda extra: False)
    out = cli("demo").out
    assert "not shown: a stripped photo found again; it needs the extra `perceptual`" in out
    assert "checks passed" in out


def test_the_demo_as_json(cli: CommandLine) -> None:
    document = cli("demo", "--json").document
    assert set(document) == {"checks", "failed", "records", "seconds"}
    assert (document["checks"] > 30, document["failed"], len(document["records"])) == (True, [], 4)


def test_the_demo_keeps_the_files(cli: CommandLine, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    cli("demo", "--keep", str(kept))
    for record in sample_records():
        stored = (kept / record.key).read_bytes()
        assert record.codec == "zstd" or gzip.decompress(stored) == record.content
    listed = cli("ls", "--store", kept.as_uri()).out.splitlines()
    records = [key for key in listed if not key.startswith(("proofs/v1/", "log/v1/"))]
    assert records == sorted(record.key for record in sample_records())
    kinds = {key.split("/")[2] for key in listed if key not in records}
    assert kinds == {"a", "b", "f", "r", "s", "w", "x", "checkpoint", "lock", "tile"}


def test_the_demo_fails_when_a_record_comes_back_changed(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StorageProvider.retrieve

    async def changed(self: StorageProvider, key: str, **options: object) -> bytes | None:
        content = await real(self, key, **options)  # type: ignore[arg-type]
        return content and content.replace(b"trainedAlgorithmicMedia", b"digitalCapture")

    monkeypatch.setattr(StorageProvider, "retrieve", changed)
    out = cli("demo", code=1).out
    assert "DIFFERENT  proofs/2026/11/poster-generated.json" in out
    assert out.splitlines()[-1].startswith("1 of ")
    assert cli("demo", "--json", code=1).document["failed"] == ["records come back as they were"]


def test_the_demo_fails_when_a_changed_picture_passes(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("credstore.proofs.format.verify.check_asset", lambda record, asset: None)
    assert cli("demo", "--json", code=1).document["failed"] == ["a changed picture is refused"]


def test_the_demo_cleans_up_when_it_is_interrupted(
    cli: CommandLine, processes: Processes, own_temporary_directory: Path
) -> None:
    process = processes.start("demo")
    assert process.stdout is not None
    assert process.stderr is not None
    # Its output is read only up to here, and the signal comes before the loop is done with the rest.
    assert process.stdout.readline().startswith(b"A local store in ")
    process.send_signal(signal.SIGINT)
    code = process.wait(timeout=600)
    assert code in {130, 0}
    assert list(own_temporary_directory.iterdir()) == []


def test_the_records_are_the_same_each_time_and_real_reports() -> None:
    records = sample_records()
    assert records == sample_records()
    for record in records:
        report = json.loads(record.content)
        manifest = report["manifests"][report["active_manifest"]]
        assert {"assertions", "claim_generator_info", "signature_info", "title"} <= set(manifest)
        assert 1000 < len(record.content) < 40_000
    assert {record.codec for record in records} == {"gzip", "zstd"}
