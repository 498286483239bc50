"""`credstore serve`: it answers until it is told to end."""

import hashlib
import json
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest

from credstore.proofs import parse_trust_store, verify_bundle
from tests.cli.conftest import CommandLine, Processes
from tests.edge.support import CONTENT, ask
from tests.proofs.pictures import encoded, picture


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_end(
    cli: CommandLine, processes: Processes, number: signal.Signals
) -> None:
    cli.put("a.json", CONTENT, "--compress", "gzip")
    link = cli("link", "a.json").out.strip()
    process = processes.start("serve", "--port", "0", "--json", "-v")
    assert process.stdout is not None
    assert process.stderr is not None
    base = json.loads(process.stdout.readline())["url"]
    answer = ask(link.replace("http://127.0.0.1:8765", base))
    assert (answer.status, answer.body) == (200, CONTENT)
    process.send_signal(number)
    assert process.wait(timeout=600) == 0
    *calls, request = process.stderr.read().splitlines()
    assert request == b"GET /a.json 200"
    assert {call.split()[0] for call in calls} <= {b"open", b"get_metadata", b"verify_link"}


def test_a_taken_port_is_told(cli: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in cli("serve", "--port", str(port), code=8).err


def test_a_store_whose_links_others_answer_is_refused(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDSTORE_URL", "s3://proofs?region=eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    assert "[UNSUPPORTED]" in cli("serve", "--port", "0", code=1).err


def test_the_soft_binding_api_is_served(cli: CommandLine, processes: Processes) -> None:
    assert "--trust" in cli("serve", "--soft-binding", code=2).err
    cli.put("a.json", CONTENT)
    cli("proof", "keys", "generate", "key.pem", "--issuer", "https://news.example")
    process = processes.start(
        "serve",
        "--soft-binding",
        "--trust",
        "keys.json",
        "--watermark",
        "com.example.x",
        "--port",
        "0",
        "--json",
    )
    assert process.stdout is not None
    base = json.loads(process.stdout.readline())["url"]
    answer = ask(f"{base}/services/supportedAlgorithms")
    assert json.loads(answer.body) == {
        "watermarks": [{"alg": "com.example.x"}],
        "fingerprints": [{"alg": "io.iscc.v0"}],
    }
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=600) == 0


@pytest.mark.parametrize("beside", [(), ("--metrics", "127.0.0.1:0")])
def test_pages_about_proofs_are_served(
    cli: CommandLine, processes: Processes, beside: tuple[str, ...]
) -> None:
    """To whoever accepts HTML, on an address of their own, and where a temporary link leads to a proof."""
    assert "--trust" in cli("serve", "--proofs", "127.0.0.1:0", code=2).err
    photo = encoded(picture(1))
    Path("photo.png").write_bytes(photo)
    cli("put", "photo.png", f"pictures/{hashlib.sha256(photo).hexdigest()}")
    cli("proof", "keys", "generate", "key.pem", "--issuer", "https://news.example")
    issued = cli("proof", "issue", "photo.png", "--key", "key.pem", "--trust", "keys.json")
    proof_id = issued.out.strip()
    link = cli("proof", "link", proof_id, "--trust", "keys.json").out.strip()
    process = processes.start(
        "serve", "--port", "0", "--proofs", "127.0.0.1:0", "--trust", "keys.json", "--pictures", "pictures/", "--json", *beside
    )  # fmt: skip
    assert process.stdout is not None
    urls = json.loads(process.stdout.readline())
    page = f"{urls['proofs']}/{proof_id}"
    shown = ask(page, headers={"Accept": "text/html"})
    assert (shown.status, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"This is exactly the file that https://news.example signed for." in shown.body
    assert ask(f"{page}.png").body == photo
    bundle = ask(page)
    assert bundle.headers["content-type"] == "application/vnd.credstore.proof-bundle.v1+json"
    trust = parse_trust_store(Path("keys.json").read_bytes())
    for found in (bundle, ask(f"{page}.credproof.json")):
        assert verify_bundle(found.body, trust, now=datetime.now(UTC)).proof.record.proof_id == proof_id
    assert ("metrics" in urls) is bool(beside)
    followed = link.replace("http://127.0.0.1:8765", urls["url"])
    linked = ask(followed, headers={"Accept": "text/html"})
    assert b"https://news.example signed this proof, and nothing in it was changed." in linked.body
    record = ask(followed)
    assert record.headers["content-type"].startswith("application/")
    assert json.loads(record.body)["payloadType"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=600) == 0
