"""`credstore verify` and `credstore trust`: what is printed, written and returned to the shell."""

from pathlib import Path

import pytest

from tests.proofs.c2pa_material import AUTHORITY, host
from tests.proofs.c2pa_media import MEDIA
from tests.proofs.sigstore_material import IDENTITY, OIDC, Instance
from tests.verification.test_lists import FILES, publisher
from tests.verification.test_verify import sign

POLICY = '[c2pa]\n[[c2pa.signers]]\nname = "Test list"\nfile = "root.pem"\ndate = "2026-11-29"\n'


@pytest.fixture
def photo(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    Path("root.pem").write_bytes(AUTHORITY.root)
    Path("policy.toml").write_text(POLICY)
    path = Path("photo.png")
    path.write_bytes(sign(embed=True).asset)
    return path


def test_a_photo_is_verified(cli, photo):
    ended = cli("verify", "photo.png", "--policy", "policy.toml", "--html", "page.html", "--svg", "badge.svg")
    for words in (
        "verified",
        "Test organization",
        "Test list, 2026-11-29",
        "not checked",
        "by this machine's clock",
    ):
        assert words in ended.out
    assert "verified" in Path("page.html").read_text()
    assert "<svg" in Path("badge.svg").read_text()
    document = cli("--json", "verify", "photo.png", "--policy", "policy.toml").document
    assert (document["state"], document["evidence"][0]["who"]) == ("verified", "Test organization")
    assert document["lists"][0]["date"] == "2026-11-29"
    assert cli("-q", "verify", "photo.png", "--policy", "policy.toml").out == ""


def test_other_outcomes_have_codes_of_their_own(cli, photo):
    # No list at all: said, with what would help.
    ended = cli("verify", "photo.png", code=23)
    assert "trust anchor" in ended.err
    assert "not checked" in ended.out
    assert cli("--json", "verify", "photo.png", code=23).document["state"] == "untrusted"
    data = bytearray(photo.read_bytes())
    data[data.rindex(b"IDAT") + 8] ^= 1
    photo.write_bytes(data)
    cli("verify", "photo.png", "--policy", "policy.toml", code=22)
    photo.write_bytes(MEDIA["image/png"])
    assert "no proof of any kind" in cli("verify", "photo.png", code=3).err
    Path("scan.jpg").write_bytes(MEDIA["application/pdf"])
    assert "application/pdf" in cli("verify", "scan.jpg", code=3).out
    cli("verify", "none.png", code=2)
    cli("verify", "photo.png", "--policy", "none.toml", code=2)
    cli("verify", "photo.png", "--html", "no folder/page.html", code=2)


def test_nothing_is_fetched_unless_asked(cli, photo):
    signed = sign(remote_url="https://127.0.0.1:1/m.c2pa")
    photo.write_bytes(signed.asset)
    assert "127.0.0.1" in cli("verify", "photo.png", "--policy", "policy.toml", code=23).out
    assert "not public" in cli("verify", "photo.png", "--policy", "policy.toml", "--fetch", code=2).err
    content = bytearray()
    with host(content) as (base, asked):
        signed = sign(remote_url=f"{base}/m.c2pa")
        content += signed.manifest
        photo.write_bytes(signed.asset)
        cli("verify", "photo.png", "--policy", "policy.toml", code=23)
        assert "without https" in cli("verify", "photo.png", "--policy", "policy.toml", "--fetch", code=2).err
        assert asked == []
        assert "verified" in cli("verify", "photo.png", "--policy", "policy.toml", "--fetch-anywhere").out
        assert asked == ["/m.c2pa"]


def test_proofs_in_the_store_are_found(cli, photo):
    cli("proof", "keys", "generate", "key.pem", "--issuer", "https://news.example")
    cli("proof", "issue", "photo.png", "--key", "key.pem", "--trust", "keys.json")
    ended = cli("verify", "photo.png", "--trust", "keys.json")
    assert "https://news.example" in ended.out
    assert "verified" in ended.out


def test_a_bundle_with_a_certificate_is_verified(cli, photo, tmp_path):
    instance = Instance(tmp_path)
    Path("scan.png").write_bytes(MEDIA["image/png"])
    Path("scan.png.sigstore.json").write_bytes(instance.signed(MEDIA["image/png"]))
    Path("instance.json").write_bytes(instance.trusted_root())
    Path("policy.toml").write_text(
        f'[[sigstore]]\nidentity = "{IDENTITY}"\nissuer = "{OIDC}"\ntrusted_root = "instance.json"\n'
    )
    ended = cli("verify", "scan.png", "--policy", "policy.toml")
    for words in ("verified", IDENTITY, "scan.png.sigstore.json", "says sigstore's certificate authority"):
        assert words in ended.out
    document = cli("--json", "verify", "scan.png", "--policy", "policy.toml").document
    assert (document["state"], document["evidence"][0]["who"]) == ("verified", IDENTITY)
    Path("scan.png").write_bytes(MEDIA["image/png"] + b"x")
    cli("verify", "scan.png", "--policy", "policy.toml", code=22)
    Path("instance.json").write_bytes(b"{}")
    cli("verify", "scan.png", "--policy", "policy.toml", code=8)


def test_lists_are_updated_and_shown(cli, photo):
    with publisher(FILES) as base:
        ended = cli("trust", "update", "c2pa-signers", "--from", f"c2pa-signers={base}/signers.pem")
        assert "1 certificates" in ended.out
        assert f"{base}/signers.pem" in ended.out
        ended = cli(
            "--json", "trust", "update", "c2pa-signers", "--from", f"c2pa-signers={base}/none", code=6
        )
        assert "nothing at" in ended.document[0]["error"]
    shown = cli("trust", "list").out
    assert "C2PA trust list: for signers, fetched" in shown
    assert "IPTC Origin Verified News Publishers List: not fetched" in shown
    listed = cli("--json", "trust", "list").document
    assert [(each["certificates"], each["confirmed"]) for each in listed] == [(1, True), *[(0, False)] * 3]
    # The saved list makes the photo verified without any option.
    assert "C2PA trust list, 20" in cli("verify", "photo.png").out
    cli("trust", "update", "nothing", code=2)
    cli("trust", "update", "--from", "nothing", code=2)
