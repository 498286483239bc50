"""Every command, for people and as JSON."""

import base64
import gzip
import hashlib
import io
import json
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path

import pytest

from credstore.cli.main import COMMANDS, Commands
from credstore.model import BatchDeleteResult, HealthCheckResult, StorageItem, StorageResult, StorageStats
from tests.cli.conftest import CommandLine

CONTENT = b'{"claim": "' + b"signed " * 500 + b'"}'


def names(model: type) -> set[str]:
    return {field.name for field in fields(model)}


def test_put_and_cat_give_the_same_bytes(cli: CommandLine) -> None:
    cli.put("proofs/a.json", CONTENT, "--compress", "gzip")
    assert cli("cat", "proofs/a.json").out.encode() == CONTENT
    assert gzip.decompress((cli.root / "proofs/a.json").read_bytes()) == CONTENT


def test_put_tells_people_what_it_did(cli: CommandLine) -> None:
    Path("a.json").write_bytes(CONTENT)
    line = cli("put", "a.json", "a", "--compress", "zstd").out
    assert line.startswith("a  3.51 kB as ")
    assert "of zstd" in line
    assert cli("put", "a.json", "b", "--quiet").out == ""


def test_put_json_is_the_result(cli: CommandLine) -> None:
    Path("a.json").write_bytes(CONTENT)
    document = cli("put", "a.json", "a", "--json", "--compress", "none").document
    assert set(document) == names(StorageResult)
    assert document["digest"] == hashlib.sha256(CONTENT).hexdigest()
    assert (document["key"], document["size"], document["plain_size"]) == ("a", len(CONTENT), len(CONTENT))
    assert document["timestamp"].endswith("+00:00")


def test_put_keeps_what_it_is_told(cli: CommandLine) -> None:
    options = ["-m", "issuer=a=b", "--metadata", "asset=ü", "--tag", "kind=proof"]
    cli.put("a", CONTENT, *options, "--cache-control", "no-store", "--content-type", "application/x+json")
    document = cli("stat", "a", "--json").document
    assert document["metadata"] == {"issuer": "a=b", "asset": "ü"}
    assert document["cache_control"] == "no-store"
    assert document["content_type"] == "application/x+json"


@pytest.mark.parametrize(
    ("file", "key", "expected"),
    [
        ("a.json", "k", "application/json"),
        ("a.c2pa", "k", "application/c2pa"),
        ("plain", "k.png", "image/png"),
        ("plain", "k", "application/octet-stream"),
        ("a.json.gz", "k", "application/gzip"),
    ],
)
def test_put_guesses_the_type_from_the_name(cli: CommandLine, file: str, key: str, expected: str) -> None:
    Path(file).write_bytes(b"x")
    cli("put", file, key)
    assert cli("stat", key, "--json").document["content_type"] == expected


def test_get_writes_the_file_and_nothing_else(cli: CommandLine) -> None:
    cli.put("proofs/a.json", CONTENT, "--compress", "zstd")
    assert cli("get", "proofs/a.json").out == "a.json  3.51 kB\n"
    assert Path("a.json").read_bytes() == CONTENT
    assert [path.name for path in Path().iterdir()] == ["a.json"]


def test_get_into_a_directory_a_name_and_standard_output(cli: CommandLine) -> None:
    cli.put("proofs/a.json", CONTENT)
    Path("folder").mkdir()
    cli("get", "proofs/a.json", "folder")
    cli("get", "proofs/a.json", "other", "--quiet")
    assert Path("folder/a.json").read_bytes() == Path("other").read_bytes() == CONTENT
    assert cli("get", "proofs/a.json", "-").out.encode() == CONTENT


def test_get_json_is_the_item_and_the_file(cli: CommandLine) -> None:
    cli.put("a.json", CONTENT, "--compress", "gzip")
    document = cli("get", "a.json", "--json").document
    assert set(document) == names(StorageItem) | {"file"}
    assert (document["file"], document["plain_size"], document["compression"]) == (
        "a.json",
        len(CONTENT),
        "gzip",
    )


def test_get_replaces_only_when_forced(cli: CommandLine) -> None:
    cli.put("a.json", CONTENT)
    Path("a.json").write_text("mine")
    assert "--force" in cli("get", "a.json", code=5).err
    assert Path("a.json").read_text() == "mine"
    cli("get", "a.json", "--force")
    assert Path("a.json").read_bytes() == CONTENT


def test_get_follows_a_symbolic_link_and_keeps_it(cli: CommandLine) -> None:
    cli.put("a.json", CONTENT)
    Path("real").write_text("old")
    Path("link").symlink_to("real")
    cli("get", "a.json", "link", "--force")
    assert Path("link").is_symlink()
    assert Path("real").read_bytes() == CONTENT


def test_cat_of_a_range(cli: CommandLine) -> None:
    content = bytes(range(65, 91)) * 100
    cli.put("a", content, "--compress", "zstd")
    assert cli("cat", "a", "--start", "26", "--end", "1KB").out.encode() == content[26:1000]


def test_ls_for_people(cli: CommandLine) -> None:
    for key in ("b/1", "a", "b/2", "c"):
        cli.put(key, b"x" * 1500)
    assert cli("ls").out.splitlines() == ["a", "b/1", "b/2", "c"]
    assert cli("ls", "b/").out.splitlines() == ["b/1", "b/2"]
    assert cli("ls", "--no-recursive").out.splitlines() == ["a", "b/", "c"]
    assert cli("ls", "--max-keys", "2").out.splitlines() == ["a", "b/1"]
    assert cli("ls", "nothing").out == ""
    long = cli("ls", "-l", "-n").out.splitlines()
    assert [line.split()[-1] for line in long] == ["a", "b/", "c"]
    assert long[0].split()[:2] == ["1.5", "kB"]


def test_ls_stops_at_a_delimiter_and_begins_after_a_name(cli: CommandLine) -> None:
    for key in ("a-1", "b/1", "b/2", "c-2", "c-3", "d"):
        cli.put(key, b"x")
    assert cli("ls", "-n", "--start-after", "b").out.splitlines() == ["b/", "c-2", "c-3", "d"]
    assert cli("ls", "--start-after", "c-2").out.splitlines() == ["c-3", "d"]
    assert cli("ls", "-d", "-").out.splitlines() == ["a-", "b/1", "b/2", "c-", "d"]
    assert cli("ls", "c-", "--delimiter", "-").out.splitlines() == ["c-2", "c-3"]
    assert cli("ls", "-n", "--max-keys", "2").out.splitlines() == ["a-1", "b/"]
    assert "leave it out" in cli("ls", "--delimiter", "", code=2).err


def test_the_last_bytes_of_an_object(cli: CommandLine) -> None:
    content = bytes(range(65, 91)) * 100
    cli.put("a", content, "--compress", "zstd")
    assert cli("cat", "a", "--suffix", "10").out.encode() == content[-10:]
    assert cli("get", "a", "-", "--suffix", "1KB").out.encode() == content[-1000:]
    cli("get", "a", "end", "--suffix", "5")
    assert Path("end").read_bytes() == content[-5:]
    assert cli("get", "a", "end", "--force", "--suffix", "5", "--json").document["plain_size"] == len(content)
    assert "1 or more" in cli("cat", "a", "--suffix", "0", code=2).err
    assert "one or the other" in cli("cat", "a", "--suffix", "5", "--start", "3", code=2).err


def test_ls_json_is_one_item_a_line(cli: CommandLine) -> None:
    cli.put("a", b"x")
    cli.put("b/ü", b"xy")
    lines = [json.loads(line) for line in cli("ls", "--json").out.splitlines()]
    assert [(line["key"], line["size"]) for line in lines] == [("a", 1), ("b/ü", 2)]
    assert all(set(line) == names(StorageItem) for line in lines)
    assert [json.loads(line) for line in cli("ls", "--json", "-n").out.splitlines()][1] == {"prefix": "b/"}


def test_what_a_terminal_would_obey_is_shown_escaped(cli: CommandLine) -> None:
    cli.put("a", b"x", "--metadata", "note=\u202egnp.exe")
    assert "\\u202egnp.exe" in cli("stat", "a").out


def test_rm_deletes_and_is_idempotent(cli: CommandLine) -> None:
    cli.put("a", b"x")
    assert cli("rm", "a", "b").out.splitlines() == ["deleted a", "absent b"]
    assert cli("rm", "a", "--quiet").out == ""
    assert cli("ls").out == ""


def test_rm_json_is_the_result(cli: CommandLine) -> None:
    cli.put("a", b"x")
    document = cli("rm", "a", "--json").document
    assert set(document) == names(BatchDeleteResult)
    assert document == {"deleted": ["a"], "failed": {}}


def test_rm_of_a_prefix_needs_a_yes(cli: CommandLine) -> None:
    for key in ("a/1", "a/2", "b"):
        cli.put(key, b"x")
    assert "2 objects" in cli("rm", "--prefix", "a/", code=2).err
    assert cli("ls").out.splitlines() == ["a/1", "a/2", "b"]
    cli("rm", "--prefix", "a/", "--yes")
    assert cli("ls").out.splitlines() == ["b"]
    assert cli("rm", "--prefix", "a/", "--json").document == {"deleted": [], "failed": {}}


@pytest.mark.parametrize(
    ("answer", "code", "left"), [("y\n", 0, []), ("n\n", 1, ["a/1"]), ("", 130, ["a/1"])]
)
def test_rm_of_a_prefix_asks_at_a_terminal(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, left: list[str]
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    cli.put("a/1", b"x")
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert "Delete 1 object under 'a/'?" in cli("rm", "--prefix", "a/", code=code).err
    assert cli("ls").out.splitlines() == left


def test_cp_and_mv(cli: CommandLine) -> None:
    cli.put("a", CONTENT, "--metadata", "issuer=me", "--compress", "gzip")
    assert set(cli("cp", "a", "b", "--json").document) == names(StorageResult)
    assert cli("mv", "a", "c").out.startswith("c  3.51 kB as ")
    assert cli("ls").out.splitlines() == ["b", "c"]
    assert cli("cat", "c").out.encode() == CONTENT
    assert cli("stat", "b", "--json").document["metadata"] == {"issuer": "me"}
    cli("cp", "b", "c", "--if-absent", code=5)
    cli("mv", "b", "c", "--if-absent", code=5)


def test_stat(cli: CommandLine) -> None:
    cli.put("a", CONTENT, "--metadata", "issuer=me", "--compress", "gzip")
    document = cli("stat", "a", "--json").document
    assert set(document) == names(StorageItem)
    assert document["plain_size"] == len(CONTENT)
    text = cli("stat", "a").out
    assert document["digest"] in text
    assert "metadata issuer   me" in text


def test_stats(cli: CommandLine) -> None:
    for key in ("a/1", "a/2", "b"):
        cli.put(key, b"x" * 1000)
    document = cli("stats", "a/", "--json").document
    assert set(document) == names(StorageStats)
    assert (document["total_objects"], document["total_size"]) == (2, 2000)
    assert "3 kB (3,000 bytes)" in cli("stats").out


def test_health(cli: CommandLine) -> None:
    cli.root.mkdir()
    document = cli("health", "--json").document
    assert set(document) == names(HealthCheckResult)
    assert document["healthy"] is True
    assert "healthy" in cli("health", "--timeout", "2s").out


def test_an_unhealthy_store_is_a_failure(cli: CommandLine) -> None:
    cli.root.write_text("a file where the directory should be")
    ended = cli("health", "--json", code=1)
    assert ended.document["healthy"] is False
    assert len(ended.document["errors"]) == 1
    assert "unhealthy" in cli("health", code=1).out


def test_link(cli: CommandLine) -> None:
    cli.put("a.json", CONTENT, "--compress", "gzip")
    ended = cli("link", "a.json", "--expires", "7d", "--download-name", "é.json")
    assert ended.out.startswith("http://127.0.0.1:8765/a.json?expires=")
    assert "signature" not in ended.err
    assert cli("link", "a.json", "--quiet").err == ""
    document = cli("link", "a.json", "--method", "head", "--json").document
    assert set(document) == {"key", "url", "method", "headers", "expires_at"}
    assert document["method"] == "HEAD"


def test_form(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIO_ACCESS_KEY", "AKIDEXAMPLE")
    monkeypatch.setenv("MINIO_SECRET_KEY", "canary-secret")
    given = ["form", "in \"<&'/", "--max-size", "5MB", "--store", "minio://s3.example.com/proofs"]
    found = HtmlForm()
    ended = cli(*given, "--below", "--content-type", "image/png", "--expires", "1h")
    found.feed(ended.out)
    assert (found.form["action"], found.form["method"]) == ("https://s3.example.com/proofs", "post")
    assert found.form["enctype"] == "multipart/form-data"
    assert list(found.fields)[-1] == "file"
    assert found.fields["key"] == "in \"<&'/${filename}"
    policy = base64.b64decode(found.fields["policy"])
    for condition in (b'"content-length-range", 0, 5000000', b'{"Content-Type": "image/png"}'):
        assert condition in policy
    assert "5 MB" in ended.err
    assert "canary-secret" not in ended.out + ended.err
    document = cli(*given, "--min-size", "1KB", "--json").document
    assert set(document) == {"url", "fields", "expires_at"}
    assert b'"content-length-range", 1000, 5000000' in base64.b64decode(document["fields"]["policy"])
    assert document["fields"]["key"] == "in \"<&'/"
    assert cli(*given, "--quiet").err == ""


class HtmlForm(HTMLParser):
    """The form of a page, as a browser reads it."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.form, self.fields = said, dict[str, str]()
        elif tag == "input":
            self.fields[said["name"]] = said.get("value", "")


@pytest.mark.parametrize("place", ["before", "after"])
def test_global_options_stand_before_and_after_the_command(
    cli: CommandLine, tmp_path: Path, place: str
) -> None:
    cli.put("a", b"x")
    (tmp_path / "empty").mkdir()
    options = ["--store", (tmp_path / "empty").as_uri(), "--json"]
    ended = cli(*options, "stats") if place == "before" else cli("stats", *options)
    assert ended.document["total_objects"] == 0


def test_the_listed_summaries_are_the_commands_own() -> None:
    group = Commands()
    for name, (_, summary) in COMMANDS.items():
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        assert command.name == name
        assert command.help
        assert summary.endswith(".")


def test_each_command_has_help(cli: CommandLine) -> None:
    for name in COMMANDS:
        assert f"Usage: credstore {name}" in cli(name, "--help").out


def test_help_has_all_commands_and_exit_codes(cli: CommandLine) -> None:
    text = cli("--help").out
    assert all(f"  {name} " in text for name in COMMANDS)
    assert "7    the bytes are not those that were stored" in text
    assert "141" in text


def test_a_slash_at_the_beginning_of_a_key_is_pointed_out(cli: CommandLine) -> None:
    cli.put("lead", b"x")
    for command in (("get", "/lead"), ("cat", "/lead"), ("stat", "/lead")):
        assert "a slash at its beginning is part of a key" in cli(*command, code=3).err
    assert "slash" not in cli("stat", "other", code=3).err
    source = str(cli.root.parent / "source.json")
    assert "the slash at the beginning is part of the key" in cli("put", source, "/lead").err
    assert cli("put", source, "/lead", "--quiet").err == ""
    assert cli("cat", "/lead").out == "x"
