"""`credstore proof keys`: private keys nobody else reads, and a trust store that is never half written."""

import stat
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from credstore.cli import proof_files
from credstore.cli.commands.proof import keys
from credstore.proofs import parse_trust_store
from tests.cli.conftest import CommandLine

ISSUER = "https://news.example"


def generate(cli: CommandLine, file: str = "key.pem", *more: str, code: int = 0):
    return cli("proof", "keys", "generate", file, "--issuer", ISSUER, *more, code=code)


def test_generate_makes_a_private_key_and_a_trust_store(cli: CommandLine) -> None:
    made = generate(cli)
    pem = Path("key.pem")
    assert stat.S_IMODE(pem.stat().st_mode) == 0o600
    assert isinstance(load_pem_private_key(pem.read_bytes(), None), Ed25519PrivateKey)
    trust = parse_trust_store(Path("keys.json").read_bytes())
    (key,) = trust.keys
    assert (trust.version, made.out) == (1, f"{key.keyid}\n")
    assert (key.issuers, key.usages) == ({ISSUER}, {"proof", "revoke"})
    assert "keep it secret" in made.err
    assert "PRIVATE" not in made.out + made.err + Path("keys.json").read_text()


def test_generate_as_json_with_another_scheme_and_uses(cli: CommandLine) -> None:
    generate(cli, "one.pem")
    made = generate(
        cli, "two.pem", "--scheme", "ecdsa-p256-sha256", "--usage", "revoke", "--issuer", "urn:x", "--json"
    ).document
    assert (made["scheme"], made["usages"], made["issuers"]) == (
        "ecdsa-p256-sha256",
        ["revoke"],
        [ISSUER, "urn:x"],
    )
    assert (made["file"], made["trust"], made["valid_until"]) == ("two.pem", "keys.json", None)
    assert isinstance(load_pem_private_key(Path("two.pem").read_bytes(), None), EllipticCurvePrivateKey)
    trust = parse_trust_store(Path("keys.json").read_bytes())
    assert (trust.version, len(trust.keys), trust.keys[1].keyid) == (2, 2, made["keyid"])


def test_the_trust_store_may_be_named_by_option_or_environment(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(cli, "one.pem", "--trust", "trusted.json", "--quiet")
    monkeypatch.setenv("CREDSTORE_PROOF_TRUST", "trusted.json")
    generate(cli, "two.pem")
    assert len(parse_trust_store(Path("trusted.json").read_bytes()).keys) == 2
    assert not Path("keys.json").exists()


def test_a_key_is_never_replaced(cli: CommandLine) -> None:
    generate(cli)
    before = Path("key.pem").read_bytes(), Path("keys.json").read_bytes()
    assert "key.pem: already exists; a key is never replaced" in generate(cli, code=5).err
    Path("dangling.pem").symlink_to("nowhere")
    generate(cli, "dangling.pem", code=5)
    assert (Path("key.pem").read_bytes(), Path("keys.json").read_bytes()) == before
    assert not Path("nowhere").exists()


def test_a_wrong_trust_store_is_named_and_left_as_it_is(cli: CommandLine) -> None:
    Path("keys.json").write_text('{"version": 1}')
    failed = generate(cli, code=8)
    assert "'keys.json': not a valid trust store" in failed.err
    assert Path("keys.json").read_text() == '{"version": 1}'
    assert not Path("key.pem").exists()


def test_no_key_is_left_where_the_trust_store_cannot_be_written(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, data: bytes) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(keys, "replace_file", full)
    assert "keys.json: No space left on device" in generate(cli, code=1).err
    assert list(Path().iterdir()) == []


def test_a_failed_replacement_leaves_the_old_trust_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust = tmp_path / "keys.json"
    trust.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(proof_files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        proof_files.replace_file(str(trust), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]
    assert trust.read_bytes() == b"old"


@pytest.mark.parametrize("issuer", ["news", ""])
def test_an_issuer_is_a_uri(cli: CommandLine, issuer: str) -> None:
    ended = cli("proof", "keys", "generate", "k.pem", "--issuer", issuer, code=2)
    assert "--issuer" in ended.err
    assert "is not an absolute URI" in ended.err
    assert not Path("k.pem").exists()


def test_list_for_people_and_programs(cli: CommandLine) -> None:
    made = generate(cli, "key.pem", "--json").document
    out = cli("proof", "keys", "list").out
    assert made["keyid"].removeprefix("sha256:")[:16] in out
    assert ISSUER in out
    listed = cli("proof", "keys", "list", "--json").document
    assert listed["version"] == 1
    assert [each["keyid"] for each in listed["keys"]] == [made["keyid"]]
    assert (
        "other.json: No such file or directory"
        in cli("proof", "keys", "list", "--trust", "other.json", code=2).err
    )


def test_rotate_closes_the_old_window_five_minutes_after(cli: CommandLine) -> None:
    old = generate(cli, "old.pem", "--json").document
    new = cli("proof", "keys", "rotate", old["keyid"], "new.pem", "--in", "1h", "--json").document
    start = datetime.fromisoformat(new["valid_from"])
    assert start - datetime.fromisoformat(old["valid_from"]) >= timedelta(hours=1)
    assert datetime.fromisoformat(new["replaces"]["valid_until"]) == start + timedelta(minutes=5)
    assert (new["issuers"], new["usages"]) == (old["issuers"], old["usages"])
    assert stat.S_IMODE(Path("new.pem").stat().st_mode) == 0o600
    trust = parse_trust_store(Path("keys.json").read_bytes())
    assert (trust.version, [key.keyid for key in trust.keys]) == (2, [old["keyid"], new["keyid"]])


def test_rotate_tells_people(cli: CommandLine) -> None:
    old = generate(cli, "old.pem", "--json").document["keyid"]
    rotated = cli("proof", "keys", "rotate", old.removeprefix("sha256:")[:8], "new.pem")
    assert rotated.out.startswith("sha256:")
    assert "it takes over at" in rotated.err
    assert f"{old} counts for what is signed until" in rotated.err


def test_rotate_refuses(cli: CommandLine) -> None:
    old = generate(cli, "old.pem", "--json").document["keyid"]
    trust = Path("keys.json").read_bytes()
    assert "the trust store has 0 keys" in cli("proof", "keys", "rotate", "0" * 64, "new.pem", code=8).err
    assert "give at least 8 digits" in cli("proof", "keys", "rotate", old[7:12], "new.pem", code=8).err
    assert "never replaced" in cli("proof", "keys", "rotate", old, "old.pem", code=5).err
    assert (
        "keys.json" in cli("proof", "keys", "rotate", old, "new.pem", "--trust", "no/keys.json", code=2).err
    )
    assert Path("keys.json").read_bytes() == trust
    assert not Path("new.pem").exists()
    cli("proof", "keys", "rotate", old, "new.pem")
    assert (
        "nothing can take over" in cli("proof", "keys", "rotate", old, "third.pem", "--in", "1h", code=8).err
    )


def test_a_passphrase_from_the_environment_or_the_terminal(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "set CREDSTORE_PROOF_PASSPHRASE" in generate(cli, "a.pem", "--passphrase", code=2).err
    monkeypatch.setenv("CREDSTORE_PROOF_PASSPHRASE", "tall ship")
    made = generate(cli, "a.pem", "--passphrase")
    assert "tall ship" not in made.out + made.err
    assert load_pem_private_key(Path("a.pem").read_bytes(), b"tall ship")
    monkeypatch.delenv("CREDSTORE_PROOF_PASSPHRASE")
    monkeypatch.setattr(proof_files.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(proof_files.click, "prompt", lambda text, **options: "asked for")
    generate(cli, "b.pem", "--passphrase")
    assert load_pem_private_key(Path("b.pem").read_bytes(), b"asked for")
    assert proof_files.read_signer("b.pem").public_key.scheme == "ed25519"


def test_the_keys_are_those_of_proofs(cli: CommandLine) -> None:
    shown = cli("proof", "keys", "--help").out
    assert "Usage: credstore proof keys" in shown
    assert all(f"  {name} " in shown for name in ("generate", "list", "rotate"))
    assert "  keys " in cli("proof", "--help").out
    told = cli("keys", "list", code=2).err
    assert "there is no command 'list' here" in told
    assert "credstore proof keys is about the keys that sign proofs" in told
