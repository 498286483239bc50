"""The page about proofs: its Python runs, and the commands it shows are there."""

import asyncio
import json
import re
import shlex
from pathlib import Path

import click
import pytest

from credstore.cli.commands.proof.command import proof_command
from credstore.proofs.format.dsse import PAYLOAD_TYPE, encode_envelope, encode_pae
from credstore.proofs.format.trust_publication import encode_trust_statement
from tests.proofs.authorities import Authority, serving_authority, serving_files
from tests.proofs.material import ROOT, SIGNER, TRUST, seal
from tests.proofs.sigstore_material import b64
from tests.proofs.test_attestations import pem, statement

PAGE = (Path(__file__).parents[2] / "docs" / "proofs.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def example(word):
    """The one example with a word in it."""
    (found,) = [code for language, code in BLOCK.findall(PAGE) if language == "python" and word in code]
    return found


def run(code):
    exec(compile(code, "docs/proofs.md", "exec"), {"__name__": "example"})


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_time_outlives_keys(place):
    first, second = Authority(place / "a", "First"), Authority(place / "b", "Second")
    Path("first.pem").write_bytes(first.roots)
    Path("second.pem").write_bytes(second.roots)
    code = example("TimestampClient")
    with serving_authority(first) as one, serving_authority(second) as two:
        run(code.replace("https://first.example/tsr", one).replace("https://second.example/tsr", two))
    assert (first.asked, second.asked) == (1, 1)


def test_trust_stores_come_from_the_web():
    Path("root.spki").write_bytes(ROOT.public_key.spki)
    signed = encode_envelope(seal(encode_trust_statement(TRUST), ROOT))
    with serving_files({"/.well-known/credstore-trust.json": signed}) as url:
        run(example("fetch_trust_store").replace("https://news.example", url))
    assert Path("kept.json").exists()


def test_attestations_come_out_as_they_went_in():
    Path("builder.pem").write_bytes(pem(SIGNER))
    payload = statement()
    sig = asyncio.run(SIGNER.sign(encode_pae(PAYLOAD_TYPE, payload)))
    members = {"payload": b64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": b64(sig)}]}
    Path("provenance.json").write_text(json.dumps(members))
    run(example("AttestationStore"))


def test_pages_are_an_asgi_application():
    run(example("ProofPages"))


def test_its_commands_and_options_are_there():
    text = "\n".join(code for language, code in BLOCK.findall(PAGE) if language == "console")
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("credstore proof")]
    assert len(lines) == 8
    for line in lines:
        words = shlex.split(line, comments=True)[2:]
        found: click.Command = proof_command
        while isinstance(found, click.Group):
            found = found.commands[words.pop(0)]
        options = {name for each in found.params for name in each.opts}
        assert {word for word in words if word.startswith("-")} <= options, line
