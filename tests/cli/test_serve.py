"""`credstore serve`: it answers until it is told to end."""

import json
import signal
import socket

import pytest

from tests.cli.conftest import CommandLine, Processes
from tests.edge.support import CONTENT, ask


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
