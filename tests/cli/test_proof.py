"""`credstore proof`: each command for people and as JSON, and each wrong input with its own exit code."""

import base64
import hashlib
import inspect
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from credstore.cli.commands.proof import verify as proof_verify
from credstore.cli.exits import MEANINGS, Exit, exit_of
from credstore.proofs import (
    ProofError,
    ProofManifestError,
    ProofStore,
    ProofTimestampError,
    ProofUnsignedError,
    encode_trust_store,
)
from tests.cli.conftest import CommandLine
from tests.conformance.raw_s3 import RawS3
from tests.conftest import S3Server
from tests.proofs import material
from tests.proofs.authorities import Authority, serving_authority, serving_files
from tests.servers.moto import MotoServer

ROOT = Path(__file__).parents[2]
ISSUER = "https://news.example"
PHOTO = b"\xff\xd8 a photo of a harbour \xff\xd9"
SHA256 = hashlib.sha256(PHOTO).hexdigest()
UNKNOWN = "01a1fd6f-30d1-7eb5-996b-046698f4c901"


class ClockOfTheVector:
    """The verifier's clock, the day after the timestamp was made."""

    @staticmethod
    def now(zone):
        return datetime(2026, 11, 23, tzinfo=zone)


@pytest.fixture
def proof(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A command line with a key, a trust store and a photo."""
    cli("proof", "keys", "generate", "key.pem", "--issuer", ISSUER)
    monkeypatch.setenv("CREDSTORE_PROOF_KEY", "key.pem")
    monkeypatch.setenv("CREDSTORE_PROOF_TRUST", "keys.json")
    Path("photo.jpg").write_bytes(PHOTO)
    return cli


def issue(proof: CommandLine, *more: str) -> str:
    return proof("proof", "issue", "photo.jpg", *more).out.strip()


def export(proof: CommandLine, *more: str) -> str:
    proof_id = issue(proof, *more)
    proof("proof", "export", proof_id, "-o", "x.proof.json")
    return proof_id


class LaterClock:
    """The verifier's clock, a month ahead."""

    @staticmethod
    def now(zone):
        return datetime.now(zone) + timedelta(days=30)


def test_timestamps(proof: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for at two authorities, renewed, exported, verified; one that is not trusted is said."""
    first, second = Authority(tmp_path / "a", "First", days=100), Authority(tmp_path / "b", "Second")
    for name, authority in (("first.pem", first), ("second.pem", second)):
        Path(name).write_bytes(authority.roots)
    monkeypatch.setenv("CREDSTORE_PROOF_TIMESTAMP_ROOTS", f"first.pem{os.pathsep}second.pem")
    proof_id = issue(proof)
    with serving_authority(first) as one, serving_authority(second) as two:
        stamp = ("proof", "timestamp", proof_id, "--authority")
        done = proof("--json", *stamp, one, "--authority", two).document
        assert set(done["times"]) == {one, two}
        assert done["failed"] == {}
        assert "renew before" in proof(*stamp, two, "--renew").out
        renewed = proof("--json", *stamp, two, "--renew", "--within", "5000").document
        assert renewed["times"].keys() == {two}
        both = (*stamp, one, "--authority", two)
        partly = proof("--json", *both, "--timestamp-roots", "first.pem", code=9).document
        assert (list(partly["times"]), list(partly["failed"])) == ([one], [two])
        assert partly["failed"][two]["code"] == "PROOF_TIMESTAMP"
    proof("proof", "export", proof_id, "-o", "x.proof.json")
    assert "a timestamping authority" in proof("proof", "verify", "x.proof.json").out
    monkeypatch.delenv("CREDSTORE_PROOF_TIMESTAMP_ROOTS")
    assert "--timestamp-roots" in proof("proof", "verify", "x.proof.json").out


def test_history(proof: CommandLine) -> None:
    proof_id = issue(proof)
    assert "superseded" not in proof("proof", "history", proof_id).out
    newer = proof("proof", "issue", "photo.jpg", "--supersedes", proof_id).out.strip()
    assert f"superseded by  {newer}" in proof("proof", "history", proof_id).out


def test_issue_and_get(proof: CommandLine) -> None:
    proof_id = issue(proof, "--expires", "30d", "--claims", '{"by": "Ada"}')
    out = proof("proof", "get", proof_id, "--asset", "photo.jpg").out
    for word in (
        proof_id,
        ISSUER,
        f"sha256:{SHA256}",
        "image/jpeg",
        "valid (as of",
        '{"by": "Ada"}',
        "signed by",
    ):
        assert word in out
    document = proof("proof", "get", proof_id, "--json").document
    assert (document["proof_id"], document["issuer"], document["sha256"]) == (proof_id, ISSUER, SHA256)
    assert (document["size"], document["media_type"]) == (len(PHOTO), "image/jpeg")
    assert (document["claims"], document["status"]["state"]) == ({"by": "Ada"}, "valid")
    issued, expires = (datetime.fromisoformat(document[name]) for name in ("issued_at", "expires_at"))
    assert expires - issued == timedelta(days=30)
    assert document["keyids"][0] in proof("proof", "keys", "list", "--json").out


def test_issue_with_a_manifest_and_claims_from_files(proof: CommandLine) -> None:
    Path("photo.c2pa").write_bytes(b"a manifest store")
    Path("claims.json").write_text('{"a": [1, 2]}')
    line = proof(
        "proof", "issue", "photo.jpg", "--manifest", "photo.c2pa", "--claims", "@claims.json",
        "--media-type", "image/x-raw", "--json",
    )  # fmt: skip
    document = line.document
    assert document["file"] == "photo.jpg"
    assert (document["claims"], document["media_type"]) == ({"a": [1, 2]}, "image/x-raw")
    assert document["manifest"]["sha256"] == hashlib.sha256(b"a manifest store").hexdigest()
    assert "application/c2pa, 16 B" in proof("proof", "get", document["proof_id"]).out
    assert proof("proof", "stats", "--json").document["manifests"] == 1


def test_long_claims_are_cut_for_people(proof: CommandLine) -> None:
    proof_id = issue(proof, "--claims", json.dumps({"text": "\x1b[31m" + "long " * 200}))
    out = proof("proof", "get", proof_id).out
    assert "... (--json shows all)" in out
    assert "\x1b" not in out
    assert len(proof("proof", "get", proof_id, "--json").document["claims"]["text"]) > 1000


def test_the_issuer_of_a_key_trusted_for_several(proof: CommandLine) -> None:
    names = ("--issuer", ISSUER, "--issuer", "https://radio.example")
    proof("proof", "keys", "generate", "two.pem", *names)
    issued = ("proof", "issue", "photo.jpg", "--key", "two.pem")
    assert "say who issues" in proof(*issued, code=8).err
    document = proof(*issued, "--issuer", "https://radio.example", "--json").document
    assert document["issuer"] == "https://radio.example"
    assert "PROOF_UNTRUSTED_KEY" in proof(*issued, "--issuer", "https://tv.example", code=23).err


def test_a_directory_is_no_asset(proof: CommandLine) -> None:
    Path("album").mkdir()
    assert "'album'" in proof("proof", "issue", "album", code=2).err
    assert proof("proof", "issue", "album", "photo.jpg", code=9).out.endswith("  photo.jpg\n")


def test_issue_again_with_an_idempotency_key(proof: CommandLine) -> None:
    first = issue(proof, "--idempotency-key", "upload-7")
    assert issue(proof, "--idempotency-key", "upload-7") == first
    conflict = ("proof", "issue", "photo.jpg", "--idempotency-key", "upload-7", "--claims", "{}")
    assert "PROOF_CONFLICT" in proof(*conflict, code=5).err


def test_issue_many_goes_on_after_a_failure(proof: CommandLine) -> None:
    names = []
    for number in range(20):
        names.append(f"{number:02}.png")
        Path(names[-1]).write_bytes(b"%d" % number)
    ended = proof("proof", "issue", *names[:7], "missing.png", *names[7:], code=9)
    assert [line.split("  ")[1] for line in ended.out.splitlines()] == names
    assert "'missing.png'" in ended.err
    assert "1 of 21 files have no proof" in ended.err
    assert len(proof("proof", "list").out.splitlines()) == 20
    documents = [json.loads(line) for line in proof("proof", "issue", *names, "--json").out.splitlines()]
    assert [document["file"] for document in documents] == names
    assert proof("proof", "issue", "a.png", "b.png", "--quiet", code=2).out == ""


def test_a_bar_shows_the_bytes_of_all_files(proof: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int | None]] = []
    monkeypatch.setattr(
        "credstore.cli.progress.TransferBar.__call__", lambda bar, done, total: seen.append((done, total))
    )
    Path("b.jpg").write_bytes(bytes(3 * 1024 * 1024))
    proof("proof", "issue", "photo.jpg", "b.jpg")
    total = len(PHOTO) + 3 * 1024 * 1024
    assert len(seen) > 2
    assert seen[-1] == (total, total)
    assert sorted(seen) == seen


def test_find_by_file_and_by_digest(proof: CommandLine) -> None:
    first, second = issue(proof), issue(proof)
    for asset in ("photo.jpg", SHA256, f"sha256:{SHA256}"):
        found = proof("proof", "find", asset, "--json").document
        assert {each["proof_id"] for each in found} == {first, second}
    assert {line.split()[0] for line in proof("proof", "find", "photo.jpg").out.splitlines()} == {
        first,
        second,
    }
    assert "no valid proof about this asset" in proof("proof", "find", "0" * 64, code=3).err
    assert proof("proof", "find", "0" * 64, "--json", code=3).document == []
    assert "nothing.jpg: No such file" in proof("proof", "find", "nothing.jpg", code=2).err


def test_list_and_stats(proof: CommandLine) -> None:
    proof_id, revoked = issue(proof, "--expires", "1d"), issue(proof)
    proof("proof", "revoke", revoked)
    lines = {line.split()[0]: line for line in proof("proof", "list").out.splitlines()}
    assert "valid" in lines[proof_id]
    assert "revoked" in lines[revoked]
    documents = [json.loads(line) for line in proof("proof", "list", "--json").out.splitlines()]
    assert {each["proof_id"]: each["status"]["state"] for each in documents} == {
        proof_id: "valid",
        revoked: "revoked",
    }
    stats = proof("proof", "stats", "--json").document
    assert (stats["proofs"], stats["revoked"], stats["expiring"], stats["erased"]) == (2, 1, 1, 0)
    assert "proofs     2" in proof("proof", "stats").out


def test_list_tells_what_does_not_verify(proof: CommandLine) -> None:
    good, bad = issue(proof), issue(proof)
    key = f"proofs/v1/r/{bad[-2:]}/{bad}.json"
    proof.put(key, (proof.root / key).read_bytes().replace(b'"sig":"', b'"sig":"AAAA'))
    ended = proof("proof", "list", code=9)
    assert good in ended.out
    assert bad in ended.err
    proof("proof", "get", bad, code=21)


def test_revoke_then_every_read_refuses(proof: CommandLine) -> None:
    proof_id = export(proof)
    revoked = proof("proof", "revoke", proof_id, "--reason", "incorrect", "--json").document
    assert (revoked["proof_id"], revoked["state"], revoked["reason"]) == (proof_id, "revoked", "incorrect")
    assert proof("proof", "revoke", proof_id, "--reason", "incorrect").out == f"revoked {proof_id}\n"
    assert "reason: incorrect" in proof("proof", "get", proof_id, code=25).err
    assert "revoked, incorrect, since" in proof("proof", "get", proof_id, "--allow-revoked").out
    proof("proof", "find", "photo.jpg", code=3)
    proof("proof", "link", proof_id, code=25)
    proof("proof", "verify", "x.proof.json")  # made before: its maker knew of no revocation
    proof("proof", "export", proof_id, "-o", "later.proof.json")
    assert "PROOF_REVOKED" in proof("proof", "verify", "later.proof.json", code=25).err


def test_expired_proofs_are_refused_and_swept(proof: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    proof_id = export(proof, "--expires", "1d")
    keep = issue(proof)
    assert proof("proof", "sweep", "--json").document["swept"] == 0
    monkeypatch.setattr(proof_verify, "datetime", LaterClock)
    assert "PROOF_EXPIRED" in proof("proof", "verify", "x.proof.json", code=24).err
    assert "EXPIRED, as allowed" in proof("proof", "verify", "x.proof.json", "--allow-expired").out
    monkeypatch.setitem(
        inspect.unwrap(ProofStore.__init__).__kwdefaults__, "clock", lambda: LaterClock.now(UTC)
    )
    assert "PROOF_EXPIRED" in proof("proof", "get", proof_id, code=24).err
    assert "expired (as of" in proof("proof", "get", proof_id, "--allow-expired").out
    assert "swept    1" in proof("proof", "sweep", "--grace", "2d", "--limit", "100").out
    assert [json.loads(proof("proof", "list", "--json").out)["proof_id"]] == [keep]


def test_link_opens_the_record_and_the_manifest(proof: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDSTORE_URL", f"{proof.root.as_uri()}?link_url=http://127.0.0.1:1")
    proof_id = issue(proof)
    link = proof("proof", "link", proof_id, "--expires", "1h")
    assert link.out.startswith(f"http://127.0.0.1:1/proofs/v1/r/{proof_id[-2:]}/{proof_id}.json?")
    assert link.err.startswith("GET until ")
    document = proof("proof", "link", proof_id, "--json").document
    assert set(document) == {"proof_id", "url", "expires_at"}
    assert "this proof has no manifest" in proof("proof", "link", proof_id, "--manifest", code=3).err


def test_export_to_standard_output_and_to_a_file(proof: CommandLine) -> None:
    proof_id = export(proof)
    out = proof("proof", "export", proof_id).out
    assert json.loads(out)["envelope"] == json.loads(Path("x.proof.json").read_text())["envelope"]
    again = ("proof", "export", proof_id, "-o", "x.proof.json")
    assert "--force replaces it" in proof(*again, code=5).err
    assert proof(*again, "--force", "--json").document["file"] == "x.proof.json"


def test_verify_for_people_and_programs(proof: CommandLine) -> None:
    proof_id = export(proof)
    out = proof("proof", "verify", "x.proof.json", "--asset", "photo.jpg", "--proof-id", proof_id).out
    assert out.startswith("verified     yes\n")
    assert "photo.jpg is the asset, byte for byte" in out
    assert "not checked  revocations after" in out
    assert "give --asset FILE" not in out
    assert "not checked  the asset: give --asset FILE" in proof("proof", "verify", "x.proof.json").out
    document = proof("proof", "verify", "x.proof.json", "--asset", "photo.jpg", "--json").document
    assert (document["verified"], document["asset_matches"], document["unchecked"]) == (True, True, [])
    assert document["status"]["source"] == "bundle"
    assert proof("proof", "verify", "x.proof.json", "--json").document["asset_matches"] is None
    assert proof("proof", "verify", "x.proof.json", "--quiet").out == ""


def test_verify_asks_the_store_or_minds_the_age(proof: CommandLine) -> None:
    proof_id = export(proof)
    verify = ("proof", "verify", "x.proof.json")
    assert "revocations after" in proof(*verify, "--max-age", "1h").out
    told = proof(*verify, "--online").out
    assert "no revocation in the store" in told
    assert "revocations after" not in told
    assert proof("--json", *verify, "--online").document["online"]["source"] == "store"
    assert proof("--json", *verify).document["online"] is None
    proof("proof", "revoke", proof_id)
    proof(*verify)  # The bundle is older.
    assert "revoked" in proof(*verify, "--online", code=25).err
    assert "--max-age permits less" in proof(*verify, "--max-age", "0.001s", code=26).err
    proof(*verify, "--max-age", "0.001s", "--online", code=25)
    assert "is missing" in proof("--store", "file:elsewhere", *verify, "--online", code=8).err
    assert not Path("elsewhere").exists()  # Who only reads makes none.
    proof(*verify, "--max-age", "soon", code=2)


def test_verify_with_a_timestamp(proof: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = json.loads((ROOT / "tests/proofs/vectors/timestamps.json").read_text())["good"]
    response = base64.b64decode(vector["response"])
    Path("stamped.json").write_bytes(material.bundle(material.issue(), timestamps=(response,)))
    Path("trusted.json").write_bytes(encode_trust_store(material.TRUST))
    Path("roots.pem").write_text(vector["root"])
    monkeypatch.setattr(proof_verify, "datetime", ClockOfTheVector)
    verify = ("proof", "verify", "stamped.json", "--trust", "trusted.json")
    assert "not checked  timestamps: give --timestamp-roots FILE of each" in proof(*verify).out
    out = proof(*verify, "--timestamp-roots", "roots.pem").out
    assert "says a timestamping authority" in out
    assert "not checked  timestamps" not in out
    Path("stamped.json").write_bytes(material.bundle(material.issue(material.P256), timestamps=(response,)))
    assert "PROOF_TIMESTAMP" in proof(*verify, "--timestamp-roots", "roots.pem", code=26).err


def test_each_refusal_has_its_exit_code(proof: CommandLine) -> None:
    export(proof)
    verify = ("proof", "verify", "x.proof.json")
    Path("other.jpg").write_bytes(PHOTO + b"x")
    assert "'x.proof.json'" in proof(*verify, "--asset", "other.jpg", code=22).err
    proof(*verify, "--proof-id", UNKNOWN, code=22)
    proof(*verify, "--threshold", "2", code=23)
    failed = proof(*verify, "--asset", "other.jpg", "--json", code=22)
    assert (failed.error["code"], failed.error["exit_code"], failed.out) == ("PROOF_ASSET_MISMATCH", 22, "")
    proof("proof", "keys", "generate", "stranger.pem", "--issuer", ISSUER, "--trust", "others.json")
    proof(*verify, "--trust", "others.json", code=23)
    bundle = Path("x.proof.json").read_bytes()
    Path("cut.json").write_bytes(bundle[:-1])
    proof("proof", "verify", "cut.json", code=20)
    head, mark, tail = bundle.partition(b'"sig":"')
    Path("forged.json").write_bytes(head + mark + (b"B" if tail[:1] == b"A" else b"A") + tail[1:])
    proof("proof", "verify", "forged.json", code=21)


def test_wrong_files_are_named(proof: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    export(proof)
    verify = ("proof", "verify", "x.proof.json")
    assert "no.json: No such file" in proof("proof", "verify", "no.json", code=2).err
    assert "no.jpg: No such file" in proof(*verify, "--asset", "no.jpg", code=2).err
    assert "no-trust.json: No such file" in proof(*verify, "--trust", "no-trust.json", code=2).err
    assert ".: Is a directory" in proof("proof", "verify", ".", code=2).err
    assert "'photo.jpg': not a valid trust store" in proof(*verify, "--trust", "photo.jpg", code=8).err
    assert "certificates in PEM" in proof(*verify, "--timestamp-roots", "photo.jpg", code=8).err
    with Path("large.json").open("wb") as large:
        large.truncate(5 * 1024 * 1024)
    assert "large.json: has more than" in proof("proof", "verify", "large.json", code=2).err
    issued = ("proof", "issue", "photo.jpg")
    assert "no.c2pa: no such file" in proof(*issued, "--manifest", "no.c2pa", code=2).err
    assert "not a JSON object" in proof(*issued, "--claims", "[1]", code=2).err
    assert "photo.jpg is not a JSON object" in proof(*issued, "--claims", "@photo.jpg", code=2).err
    assert "about one file" in proof(*issued, "photo.jpg", "--manifest", "photo.jpg", code=2).err
    monkeypatch.delenv("CREDSTORE_PROOF_TRUST")
    assert "--trust" in proof(*verify, code=2).err


def test_the_variables_of_proofs_are_no_slips_of_other_settings(
    proof: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDSTORE_PROOF_PASSPHRASE", "unused")
    monkeypatch.setenv("CREDSTORE_PROVIDER", "local")
    monkeypatch.setenv("CREDSTORE_PATH", str(proof.root))
    monkeypatch.delenv("CREDSTORE_URL")
    assert issue(proof) in proof("ls", "proofs/v1/r/").out


def test_wrong_keys_are_refused(proof: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = ("proof", "issue", "photo.jpg")
    assert "no.pem: No such file" in proof(*issued, "--key", "no.pem", code=2).err
    assert "'photo.jpg': this is not a private key" in _private(proof, *issued, "--key", "photo.jpg")
    Path("key.pem").chmod(0o640)
    assert "(mode 0640); run `chmod 600`" in proof(*issued, code=8).err
    Path("key.pem").chmod(0o600)
    monkeypatch.setenv("CREDSTORE_PROOF_PASSPHRASE", "tall ship")
    proof("proof", "keys", "generate", "sealed.pem", "--issuer", ISSUER, "--passphrase")
    proof(*issued, "--key", "sealed.pem")
    monkeypatch.setenv("CREDSTORE_PROOF_PASSPHRASE", "small boat")
    wrong = proof(*issued, "--key", "sealed.pem", code=8).err
    assert "the password is wrong" in wrong
    assert "small boat" not in wrong
    monkeypatch.delenv("CREDSTORE_PROOF_PASSPHRASE")
    assert "set CREDSTORE_PROOF_PASSPHRASE" in proof(*issued, "--key", "sealed.pem", code=8).err
    proof("proof", "keys", "generate", "stranger.pem", "--issuer", ISSUER, "--trust", "others.json")
    assert "PROOF_UNTRUSTED_KEY" in proof(*issued, "--key", "stranger.pem", "--issuer", ISSUER, code=23).err


def _private(proof: CommandLine, *arguments: str) -> str:
    Path("photo.jpg").chmod(0o600)
    return proof(*arguments, code=8).err


def test_unknown_ids(proof: CommandLine) -> None:
    proof.root.mkdir()
    for verb in ("get", "export", "revoke", "link"):
        assert UNKNOWN in proof("proof", verb, UNKNOWN, code=3).err
        assert proof("proof", verb, "../keys", code=2).out == ""


def verified_alone(*arguments: str) -> bytes:
    """What `proof verify` prints in a process without environment or sockets, which loads no store."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "def watch(event, arguments):\n"
        "    if event.startswith('socket.'): raise RuntimeError(event)\n"
        "sys.addaudithook(watch)\n"
        "from credstore.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        "loaded = ('credstore.provider', 'credstore.wire', 'credstore.factory', 'aiohttp')\n"
        "sys.exit(' '.join(name for name in loaded if name in sys.modules) or code)\n"
    )
    asked = ["proof", "verify", "x.proof.json", "--asset", "photo.jpg", "--trust", "keys.json", *arguments]
    ended = subprocess.run(
        [sys.executable, "-c", program, *asked], env={}, capture_output=True, check=False, timeout=600
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    return ended.stdout


def test_verifying_needs_no_store_no_network_and_no_environment(proof: CommandLine) -> None:
    export(proof)
    assert verified_alone().startswith(b"verified     yes\n")


def test_the_independent_verifier_agrees(proof: CommandLine) -> None:
    export(proof, "--expires", "1d", "--claims", '{"n": 1.5}')
    program = [sys.executable, str(ROOT / "docs/verify_proof.py"), "x.proof.json", "keys.json"]
    accepted = subprocess.run([*program, "photo.jpg"], capture_output=True, check=False, timeout=600)
    assert (accepted.returncode, json.loads(accepted.stdout)["issuer"]) == (0, ISSUER)
    refused = subprocess.run([*program, "keys.json"], capture_output=True, check=False, timeout=600)
    assert refused.returncode == 1


def test_every_exit_code_is_documented(proof: CommandLine) -> None:
    assert set(MEANINGS) == set(Exit)
    codes = {
        ProofUnsignedError: Exit.PROOF_SIGNATURE,
        ProofManifestError: Exit.PROOF_MISMATCH,
        ProofTimestampError: Exit.PROOF_OTHER,
        ProofError: Exit.PROOF_OTHER,
    }
    assert {kind: exit_of(kind("no")) for kind in codes} == codes
    told = proof("proof", "verify", "--help").out
    assert all(str(int(code)) in told for code in Exit if code.name.startswith("PROOF_"))


@pytest.fixture
def kept(proof: CommandLine, moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> RawS3:
    """The same over a bucket with Object Lock."""
    place = S3Server(moto_server.url, moto_server.make_bucket(object_lock=True))
    host = place.url.removeprefix("http://")
    monkeypatch.setenv("CREDSTORE_URL", f"minio://{host}/{place.bucket}?http=true")
    monkeypatch.setenv("MINIO_ACCESS_KEY", "a")
    monkeypatch.setenv("MINIO_SECRET_KEY", "s")
    return RawS3(place)


def test_delete(proof: CommandLine) -> None:
    proof_id = issue(proof, "--expires", "30d")
    assert proof("proof", "delete", proof_id, "--reason", "legal").out == f"deleted {proof_id}\n"
    assert "erased" in proof("proof", "get", proof_id, code=25).err
    assert proof("proof", "delete", proof_id).out == f"{proof_id} was not there\n"
    assert proof("proof", "delete", issue(proof), "-q").out == ""
    assert proof("proof", "delete", UNKNOWN, "--json").document == {
        "proof_id": UNKNOWN,
        "deleted": False,
        "remaining": [],
    }
    assert proof("proof", "delete", "no-id", code=2)


def test_delete_leaves_no_version(proof: CommandLine, kept: RawS3) -> None:
    proof_id = issue(proof)
    assert proof("proof", "delete", proof_id, "--json").document["deleted"] is True
    assert [key for key in kept.names() if "/s/" not in key] == []


def test_delete_tells_what_a_retention_keeps_and_until_when(proof: CommandLine, kept: RawS3) -> None:
    proof_id = issue(proof)
    ((record, version_id),) = [each for each in kept.versions() if "/r/" in each[0]]
    kept.retain(record, version_id, datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC))
    kept.hold(record, version_id)
    told = proof("proof", "delete", proof_id, code=Exit.PARTIAL)
    assert f"stays {record} version {version_id}: compliance until 2037-01-02" in told.out
    assert "and a legal hold" in told.out
    assert "[VERSIONS_REMAIN]" in told.err
    assert "happened anyway" not in told.err
    told = proof("proof", "delete", proof_id, "--json", code=Exit.PARTIAL)
    (remaining,) = told.document["remaining"]
    assert remaining == {
        "key": record,
        "version_id": version_id,
        "retain_until": "2037-01-02T03:04:05+00:00",
        "mode": "compliance",
        "legal_hold": True,
        "code": "LOCKED",
    }
    assert json.loads(told.err)["error"]["code"] == "VERSIONS_REMAIN"


def test_a_trust_store_is_published_and_fetched(proof: CommandLine) -> None:
    proof("proof", "keys", "generate", "root.pem", "--issuer", ISSUER, "--usage", "root")
    subprocess.run(["openssl", "pkey", "-in", "root.pem", "-pubout", "-out", "root.pub"], check=True)
    files: dict[str, object] = {}
    with serving_files(files) as url:
        fetch = ("proof", "keys", "fetch", url, "--trust", "theirs.json")
        proof("proof", "keys", "publish", "signed.json", "--key", "root.pem")
        files["/.well-known/credstore-trust.json"] = Path("signed.json").read_bytes()
        assert "--root" in proof(*fetch, code=2).err
        proof(*fetch, "--root", "key.pem", code=8)
        proof(*fetch, "--root", "root.pub")
        assert Path("theirs.json").read_bytes() == Path("keys.json").read_bytes()
        assert proof("--json", *fetch).document["changed"] is False
        proof("proof", "keys", "generate", "more.pem", "--issuer", ISSUER)
        proof("proof", "keys", "publish", "signed.json", "--key", "root.pem")
        files["/.well-known/credstore-trust.json"] = Path("signed.json").read_bytes()
        assert proof("--json", *fetch).document == {"file": "theirs.json", "version": 3, "changed": True}
        proof("proof", "keys", "publish", "signed.json", "--key", "more.pem", code=23)
        Path("other.json").write_bytes(encode_trust_store(material.TRUST))
        proof("proof", "keys", "fetch", url, "--trust", "other.json", code=23)


def test_a_running_credlink_is_imported(proof: CommandLine, tmp_path: Path) -> None:
    source = tmp_path / "credlink"
    (source / "proofs/2026/11/28").mkdir(parents=True)
    vectors = ROOT / "tests/proofs/vectors/credlink"
    ids = ["cbfd4ad7-52f0-433c-9240-32c13b7b8207", "a3b62e26-a776-459f-a7ec-a2be504c0432"]
    data = (vectors / "file-api.json").read_bytes()
    (source / f"proofs/2026/11/28/{ids[0]}.json").write_bytes(data)
    (source / f"{ids[1]}.json").write_bytes((vectors / "encrypted.json").read_bytes())
    Path("words").write_text("correct horse battery staple 2025\n")
    before = sorted(source.rglob("*"))
    bring = ("proof", "import-credlink", str(source))
    dry = proof("--json", *bring, "--passphrase-file", "words", "--dry-run").document
    assert (dry["read"], dry["known"], dry["dry_run"]) == (2, 0, True)
    closed = proof(*bring, code=9)
    assert f"did not open: {ids[1]}.json" in closed.err
    assert "brought" in proof(*bring, "--passphrase-file", "words").out
    again = proof(
        "--json", "proof", "import-credlink", source.as_uri(), "--passphrase-file", "words"
    ).document
    assert (again["read"], again["known"]) == (2, 2)
    assert sorted(source.rglob("*")) == before
    Path("words").write_text("another")
    proof(*bring, "--passphrase-file", "words", code=9)
    Path("words").write_text("\n")
    proof(*bring, "--passphrase-file", "words", code=2)
    proof("proof", "import-credlink", "nowhere", code=2)
