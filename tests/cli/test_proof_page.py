"""`credstore proof page`: a folder of pages, and what is told where it cannot be made."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from credstore.proofs import AssetDigest, TrustStore, parse_trust_store, verify_bundle
from credstore.web.site_files import served_files
from tests.cli.conftest import CommandLine
from tests.proofs.pictures import encoded, picture

PHOTO = encoded(picture(1))
UNKNOWN = "01920000-0000-7000-8000-00000000aaaa"
PAGE_COMMAND = ("proof", "page", "--trust", "keys.json", "--out", "site")


@pytest.fixture
def proof_id(cli: CommandLine) -> str:
    """The id of a photo's proof, beside its key and its trust store."""
    cli("proof", "keys", "generate", "key.pem", "--issuer", "https://news.example")
    Path("photo.png").write_bytes(PHOTO)
    return cli("proof", "issue", "photo.png", "--key", "key.pem", "--trust", "keys.json").out.strip()


def trusted() -> TrustStore:
    return parse_trust_store(Path("keys.json").read_bytes())


def test_a_folder_is_written_with_a_page_for_each_proof(cli: CommandLine, proof_id: str) -> None:
    page = Path("site", f"{proof_id}.html")
    assert cli(*PAGE_COMMAND, proof_id, "--picture", "photo.png").out.splitlines() == [str(page)]
    digest = AssetDigest.of(PHOTO)
    names = {each.relative_to("site").as_posix() for each in Path("site").rglob("*") if each.is_file()}
    assert names == {
        *served_files(), "index.html", "keys.json", page.name, f"{proof_id}.png", f"{proof_id}.credproof.json",
        f"find/{digest.sha256.hex()}.json",
    }  # fmt: skip
    shown = page.read_text(encoding="utf-8")
    assert "This is exactly the file that https://news.example signed for." in shown
    assert "Checked when this page was made" in shown
    assert f'src="{proof_id}.png"' in shown
    assert Path("site", f"{proof_id}.png").read_bytes() == PHOTO
    assert parse_trust_store(Path("site", "keys.json").read_bytes()) == trusted()


def test_a_folder_is_made_anew_and_told_as_json(cli: CommandLine, proof_id: str) -> None:
    cli(*PAGE_COMMAND, proof_id)
    page = Path("site", f"{proof_id}.html")
    page.write_text("old")
    told = cli(*PAGE_COMMAND, proof_id, "--json").document
    written = [each for each in Path("site").rglob("*") if each.is_file()]
    assert told == {"folder": "site", "pages": [str(page)], "files": len(written)}
    # Without the picture, its digest is not compared, and the page says so.
    assert "The file itself: give it below" in page.read_text(encoding="utf-8")
    assert cli(*PAGE_COMMAND, proof_id, "--quiet").out == ""


def test_what_is_not_there_is_told(cli: CommandLine, proof_id: str) -> None:
    assert UNKNOWN in cli(*PAGE_COMMAND, UNKNOWN, code=3).err
    assert "none.png: no such file" in cli(*PAGE_COMMAND, proof_id, "--picture", "none.png", code=2).err
    assert "--out" in cli("proof", "page", proof_id, "--trust", "keys.json", code=2).err


def test_its_bundle_verifies_by_itself(cli: CommandLine, proof_id: str) -> None:
    cli(*PAGE_COMMAND, proof_id)
    bundle = Path("site", f"{proof_id}.credproof.json")
    report = verify_bundle(bundle.read_bytes(), trusted(), now=datetime.now(UTC))
    assert report.proof.record.proof_id == proof_id
    cli("proof", "verify", str(bundle), "--trust", "keys.json", "--asset", "photo.png")
    Path("photo.png").write_bytes(PHOTO[:-1] + b"x")
    cli("proof", "verify", str(bundle), "--trust", "keys.json", "--asset", "photo.png", code=22)
