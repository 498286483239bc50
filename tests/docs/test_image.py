"""The image of `serve`: what it promises can be read in its definition, and what it starts works."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.docs.blocks import ROOT

TEXT = (ROOT / "Containerfile").read_text().replace("\\\n", " ")
IGNORED = (ROOT / ".dockerignore").read_text().split()


def last(word):
    """The arguments of the last instruction of a kind."""
    return re.findall(rf"^{word} (.*)$", TEXT, re.MULTILINE)[-1]


def test_it_is_not_root_and_writes_to_its_volume_only():
    user, _, group = last("USER").partition(":")
    assert int(user) >= 10_000
    assert int(group) >= 10_000
    assert last("VOLUME") == last("WORKDIR") == "/data"
    assert "CREDSTORE_URL=file:///data/" in TEXT
    assert "PYTHONDONTWRITEBYTECODE=1" in TEXT
    # Nothing is installed after the user has changed, and nothing is fetched from elsewhere.
    assert not re.search(r"^USER.*^RUN", TEXT, re.MULTILINE | re.DOTALL)
    assert "ADD " not in TEXT
    assert "curl" not in TEXT


def test_it_is_built_from_what_it_copies_and_from_one_python():
    copied = re.search(r"^COPY (?!--from)(.*) \./$", TEXT, re.MULTILINE)[1].split()
    assert {"pyproject.toml", "README.md", "LICENSE"} <= set(copied)
    assert not set(copied) & set(IGNORED)
    assert "credstore" not in IGNORED
    images = re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)
    assert len(images) == 2
    assert len(set(images)) == 1


def started(tmp_path, arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "credstore", "--json", *arguments],
        env={**os.environ, "CREDSTORE_URL": f"file://{tmp_path}/store", "HOME": str(tmp_path)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_its_command_serves_and_its_health_check_finds_it(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert json.loads(last("ENTRYPOINT")) == ["credstore"]
    command = json.loads(last("CMD"))
    assert command[:5] == ["serve", "--host", "0.0.0.0", "--port", "8765"]
    check = json.loads(re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", TEXT, re.MULTILINE)[1])
    place = command[command.index("--metrics") + 1]
    assert f"http://{place}/metrics" in check[2]

    # The same on loopback and on ports that the system chooses.
    replaced = {"0.0.0.0": "127.0.0.1", "8765": "0", place: "127.0.0.1:0"}
    server = started(tmp_path, [replaced.get(word, word) for word in command])
    try:
        urls = json.loads(server.stdout.readline())
        with urlopen(urls["metrics"]) as response:
            assert response.status == 200
        code = check[2].replace(f"http://{place}/metrics", urls["metrics"])
        assert code != check[2]
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    finally:
        server.terminate()
        server.wait(60)
        server.stdout.close()
    ended = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False)
    assert ended.returncode != 0


def test_the_linter_of_make_check_sees_it():
    assert re.search(r"^\t\$\(BIN\)/hadolint Containerfile$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert not Path(ROOT / ".hadolint.yaml").exists()


@pytest.mark.parametrize("word", ["Containerfile", ".dockerignore", "mkdocs.yml", ".pre-commit-hooks.yaml"])
def test_the_source_archive_has_it(word):
    assert f'"/{word}"' in (ROOT / "pyproject.toml").read_text()
