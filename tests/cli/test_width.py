"""Every table at 80 columns, with long names: nothing is wider, and a pipe has all of it."""

import ast
import io
import json
import os
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.cli import output
from credstore.cli.commands import top
from credstore.cli.main import run
from tests.artifacts.stores import write
from tests.cli.conftest import CommandLine
from tests.servers.moto import MotoServer

ROOT = Path(output.__file__).parent
COLUMNS = 80
KEY = "2026/" + "a-folder-with-a-long-name/" * 3 + "x" * 40 + "-END.json"
WIDE = "写真の束/" * 15 + "最後の一枚-END.json"
END = "-END.json"
ISSUER = f"https://news.example/{'desk/' * 20}END"
ORIGIN = f"log.example/{'proofs/' * 12}END"
PRINTS = {"print_table", "print_fields", "say_row", "say_text", "say_proof", "folded"}
ELSEWHERE = {
    "commands/proof/audit.py": "needs a cluster",
    "commands/proof/issue_all.py": "needs a cluster",
    "commands/proof/timestamp.py": "needs an authority",
    "commands/proof/delete.py": "needs versions under retention",
    "commands/proof/import_credlink.py": "numbers alone",
    "commands/proof/sweep.py": "numbers alone",
    "commands/artifacts/shared.py": "what the other two of its folder share",
    "commands/proof/shown.py": "what list, find and history share",
    "demo/command.py": "its records have short names",
}
"""What is not walked here, and why; its lines are printed by the same functions."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


Screen = Callable[..., list[str]]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """The lines that a command shows on a terminal, none of which is too wide."""
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    monkeypatch.setenv("LINES", "24")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown(*arguments: str, code: int = 0) -> list[str]:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", terminal)
            assert run(list(arguments)) == code
        lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).splitlines()
        assert lines, arguments
        for line in lines:
            assert output.cells(line) <= COLUMNS, line
        return lines

    return shown


@pytest.fixture
def stocked(cli: CommandLine) -> CommandLine:
    for key in (KEY, WIDE):
        cli.put(key, b"{}", "--metadata", f"{'n' * 60}={'v' * 90}-END")
    return cli


@pytest.fixture
def lab(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for name in ("key.pem", "model.pem"):
        scheme = "ed25519" if name == "key.pem" else "ecdsa-p256-sha256"
        cli("proof", "keys", "generate", name, "--issuer", ISSUER, "--scheme", scheme, "--quiet")
    monkeypatch.setenv("CREDSTORE_PROOF_KEY", "key.pem")
    monkeypatch.setenv("CREDSTORE_PROOF_TRUST", "keys.json")
    monkeypatch.setenv("CREDSTORE_MODEL_KEY", "model.pem")
    monkeypatch.setenv("CREDSTORE_LOG_KEY", "key.pem")
    monkeypatch.setenv("CREDSTORE_LOG_ORIGIN", ORIGIN)
    return cli


def joined(lines: list[str]) -> str:
    """What folded lines have, without the blanks where they were broken."""
    return "".join("".join(lines).split())


# The modules, and what walks each of them; the names are those of the files.


def ls(cli, screen) -> None:
    lines = screen("ls", "-l")
    assert [line.endswith(END) and "…" in line for line in lines] == [True, True]
    assert KEY in cli("ls", "-l").out
    assert WIDE in cli("ls", "-l").out
    assert "…" not in cli("ls").out
    assert any(line.endswith("写真の束/") for line in screen("ls", "-l", "-n"))


def du(cli, screen) -> None:
    lines = screen("du", "-d", "20")
    assert sum("…" in line for line in lines) > 2
    assert lines[-1].endswith(".")
    assert KEY.rpartition("/")[0] in cli("du", "-d", "20").out


def rm(cli, screen) -> None:
    lines = screen("rm", KEY, WIDE)
    assert all(line.startswith("deleted ") and line.endswith(END) for line in lines)


def info(cli, screen) -> None:
    lines = screen("stat", KEY)
    assert KEY in joined(lines)
    assert f"{'v' * 90}-END" in joined(lines)
    item = cli("stat", KEY)
    assert KEY in item.out.splitlines()[0]
    assert f"metadata {'n' * 60}  {'v' * 90}-END" in item.out
    screen("stats")
    screen("health")


def transfers(cli, screen) -> None:
    Path("data").mkdir()
    lines = screen("compare", "data", "store:", code=1)
    assert all(line.startswith("extra ") and line.endswith(END) and "…" in line for line in lines)
    assert KEY in cli("compare", "data", "store:", code=1).out
    lines = screen("sync", "store:", "copy")
    assert [line.split()[0] for line in lines] == ["copied", "copied"]


def stores(cli, screen) -> None:
    os.environ["CREDSTORE_STORES"] = str(Path("stores.toml").absolute())
    try:
        url = f"s3://my-bucket/{'prefix/' * 20}END?region=eu-west-1"
        cli("stores", "add", "a-name-for-it", url)
        cli("stores", "add", "n" * 64, "file:///srv/proofs")
        text = "\n".join(screen("stores", "list"))
        assert "n" * 64 in joined([text]) or "…" in text
        assert "a-name-for-it" in text
        assert url in cli("stores", "list").out
    finally:
        del os.environ["CREDSTORE_STORES"]


def doctor(cli, screen) -> None:
    lines = screen("doctor", f"file:{'f' * 120}/END", code=1)
    assert lines[0].startswith("ok    provider")
    assert any(line.startswith("FAIL") for line in lines)
    assert f"{'f' * 120}/END" in joined(lines)
    assert f"{'f' * 120}/END" in cli("doctor", f"file:{'f' * 120}/END", code=1).out


def explain(cli, screen) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        os.environ[f"R2_{name}"] = "example"
    try:
        arguments = ("--store", "r2://bucket?account_id=" + "0" * 32, "explain", "store", "20MB")
        text = "\n".join(screen(*arguments))
        for word in ("send the parts", "together", "US dollars", "r2/pricing"):
            assert word in text
        assert "R2 Standard: prices of " in cli(*arguments).out
    finally:
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
            del os.environ[f"R2_{name}"]


def providers(cli, screen) -> None:
    lines = screen("providers")
    assert any(line.split()[:1] == ["wasabi"] for line in lines)
    assert "cloudflare cloudflare_r2" in cli("providers").out


def keys(cli, screen) -> None:
    name = f"{'k' * 100}-END"
    made = cli("keys", "generate", name, "--json").document
    text = "\n".join(screen("keys", "show", name))
    assert "k-END" in text
    assert made["key_id"] in text
    assert name in cli("keys", "show", name).out


def rotate_keys(cli, screen) -> None:
    cli("keys", "generate", "a.key")
    text = "\n".join(screen("rotate-keys", "--wrapping-key", "a.key", "--store-id", "s"))
    assert "unencrypted" in text


def dictionary(cli, screen) -> None:
    for number in range(60):
        cli.put(f"r/{number}", json.dumps({"by": "the same author", "number": number}).encode() * 9)
    name = cli("dictionary", "train", "r/", "--size", "4KiB").out.strip()
    lines = screen("dictionary", "list")
    assert lines[0] == name  # Whole, since other commands take it.
    assert len(cli("dictionary", "list").out.splitlines()) == 1


def scrub(cli, screen) -> None:
    one, two = ((cli.root.parent / f"{number}{'x' * 60}").as_uri() for number in (1, 2))
    store = f"multi://redundant?store={one}&store={two}"
    cli("--store", store, "put", __file__, KEY)
    assert any(line.split() == ["equal", "yes"] for line in screen("--store", store, "scrub"))


def check_provider(cli, screen) -> None:
    cli.root.mkdir(exist_ok=True)
    lines = screen("check-provider", "--quick", "--samples", "1", os.environ["CREDSTORE_URL"])
    assert lines[-1] == "everything tried that is granted is honoured"


def proof_keys(lab, screen) -> None:
    lines = screen("proof", "keys", "list")
    assert ISSUER in joined(lines)
    assert ISSUER in lab("proof", "keys", "list").out


def issue(lab, screen) -> None:
    for name in ("p" * 100, "q" * 100):
        Path(name).write_bytes(b"photo")
    lines = screen("proof", "issue", "p" * 100, "q" * 100)
    assert all(re.match(r"[0-9a-f-]{36}  [pq]+…[pq]+$", line) for line in lines)


def issued(lab) -> str:
    Path("photo.jpg").write_bytes(b"a photo")
    return lab("proof", "issue", "photo.jpg", "--claims", json.dumps({"c": "c" * 200})).out.strip()


def proof_list(lab, screen) -> None:
    proof_id = issued(lab)
    (line,) = screen("proof", "list")
    assert line.startswith(proof_id)
    assert "  valid  " in line
    assert line.endswith("END")
    assert ISSUER in lab("proof", "list").out


def find(lab, screen) -> None:
    proof_id = issued(lab)
    (line,) = screen("proof", "find", "photo.jpg")
    assert (line.startswith(proof_id), line.endswith("END")) == (True, True)


def get(lab, screen) -> None:
    lines = screen("proof", "get", issued(lab))
    assert ISSUER in joined(lines)
    assert "c" * 200 in joined(lines)
    assert any(line.startswith("status") and "valid" in line for line in lines)


def history(lab, screen) -> None:
    proof_id = issued(lab)
    lab("proof", "revoke", proof_id)
    assert any("revoked" in line for line in screen("proof", "history", proof_id))
    (line,) = screen("proof", "history", "--asset", "photo.jpg")
    assert (line.startswith(proof_id), line.endswith("END")) == (True, True)


def proof_verify(lab, screen) -> None:
    lab("proof", "export", issued(lab), "-o", "photo.proof.json")
    lines = screen("proof", "verify", "photo.proof.json", "--asset", "photo.jpg")
    assert ISSUER in joined(lines)
    Path("photo.jpg").write_bytes(b"another")
    assert run(["proof", "verify", "photo.proof.json", "--asset", "photo.jpg"]) == 22


def proof_stats(lab, screen) -> None:
    issued(lab)
    assert screen("proof", "stats")[0].split() == ["proofs", "1"]


def log_writing(lab, screen) -> None:
    lab("log", "init")
    name = f"{'b' * 100}-END.json"
    lab("proof", "export", issued(lab), "-o", name)
    (line,) = screen("log", "append", name)
    assert (line.startswith("0  b"), line.endswith(END)) == (True, True)


def log_reading(lab, screen) -> None:
    vkey = lab("log", "init").out.strip()
    lab("proof", "export", issued(lab), "-o", "photo.proof.json")
    lab("log", "append", "photo.proof.json")
    Path("policy").write_text(f"log {vkey}\nquorum none\n")
    check = ("log", "check", "--policy", "policy")
    assert "1 entry" in " ".join(screen(*check))
    for tile in [path for path in lab.root.rglob("*") if "entries" in path.parts and path.is_file()]:
        tile.write_bytes(b"damaged")
    assert any("entries" in line for line in screen(*check, code=27))


def verify(lab, screen) -> None:
    lab.put("k", b"a store")
    Path("photo.jpg").write_bytes(b"no proof has this")
    lines = screen("verify", "photo.jpg", code=run(["-q", "verify", "photo.jpg"]))
    assert lines[0].split() == ["verdict", "nothing", "to", "verify"]


def verify_transfer(lab, screen) -> None:
    name = f"{'d' * 60}/{'e' * 60}"
    write(Path(name), {"a": b"1"})
    lab("migrate", name, "copy", "--evidence", "list.jsonl", "--issuer", ISSUER)
    lines = screen("verify-transfer", "list.jsonl")
    assert ISSUER in joined(lines)
    assert any(line.split() == ["complete", "yes"] for line in lines)


def trust(cli, screen) -> None:
    assert any("not fetched" in line for line in screen("trust", "list", "--folder", "lists"))


def dataset(lab, screen) -> None:
    long = f"{'d' * 60}/{'e' * 60}{END}"
    write(Path("data"), {"a": b"1"})
    lab("dataset", "save", "images", "data")
    write(Path("data"), {long: b"2"})
    lab("dataset", "save", "images", "data")
    (line,) = screen("dataset", "diff", "images", "1", "2")
    assert (line.startswith("+ d"), line.endswith(END)) == (True, True)
    for number in range(6):
        lab("dataset", "tag", "images", f"a-tag-of-some-length-{number}", "--version", "1")
    text = "\n".join(screen("dataset", "list", "images"))
    assert "…" in text
    assert "a-tag-of-some-length-5" in lab("dataset", "list", "images").out


def model(lab, screen) -> None:
    write(Path("data"), {"a": b"1"})
    lab("dataset", "save", "d" * 60, "data")
    metrics = [word for n in range(6) for word in ("--metric", f"a-metric-of-some-length-{n}=0.{n}")]
    lab("model", "register", "m", "data", *metrics, "--dataset", "d" * 60)
    text = "\n".join(screen("model", "list", "m"))
    assert "…" in text or "a-metric-of-some-length-5" in joined([text])
    assert f"{'d' * 60}@1" in lab("model", "list", "m").out
    lab("model", "stage", "m", "production")
    screen("model", "stage", "m", "--history")
    assert ISSUER in lab("model", "stage", "m", "--history").out
    lab("checkpoint", "save", "r", "1", "data", *metrics)
    screen("checkpoint", "list", "r")


WALK = {
    "commands/ls.py": ls,
    "commands/du.py": du,
    "commands/rm.py": rm,
    "commands/info.py": info,
    "transfers.py": transfers,
    "commands/stores.py": stores,
    "commands/doctor.py": doctor,
    "commands/explain.py": explain,
    "commands/providers.py": providers,
    "commands/keys.py": keys,
    "commands/rotate_keys.py": rotate_keys,
    "commands/dictionary.py": dictionary,
    "commands/scrub.py": scrub,
    "commands/check_provider.py": check_provider,
    "commands/trust.py": trust,
}
WALK_PROOFS = {
    "commands/proof/keys.py": proof_keys,
    "commands/proof/issue.py": issue,
    "commands/proof/list.py": proof_list,
    "commands/proof/find.py": find,
    "commands/proof/get.py": get,
    "commands/proof/history.py": history,
    "commands/proof/verify.py": proof_verify,
    "commands/proof/stats.py": proof_stats,
    "commands/log/writing.py": log_writing,
    "commands/log/reading.py": log_reading,
    "commands/verify.py": verify,
    "commands/verify_transfer.py": verify_transfer,
    "commands/artifacts/dataset.py": dataset,
    "commands/artifacts/model.py": model,
}
BY_THEMSELVES = {"commands/top.py", "commands/keep.py"}
"""Walked by tests of their own below."""


def printing() -> set[str]:
    """The modules that print rows."""
    found = set()
    for path in ROOT.rglob("*.py"):
        named = {each.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
                 for each in node.names}  # fmt: skip
        if named & PRINTS:
            found.add(str(path.relative_to(ROOT)))
    return found


def test_everything_that_prints_rows_is_walked() -> None:
    assert printing() == {*WALK, *WALK_PROOFS, *BY_THEMSELVES, *ELSEWHERE}


def watched(name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes which functions a module prints rows with."""
    module, used = import_module(f"credstore.cli.{name.removesuffix('.py').replace('/', '.')}"), []

    def watch(function: str):
        real = getattr(module, function)

        def noting(*arguments, **options):
            used.append(function)
            return real(*arguments, **options)

        return noting

    for function in PRINTS & vars(module).keys():
        monkeypatch.setattr(module, function, watch(function))
    return used


@pytest.mark.parametrize("name", WALK)
def test_a_table_fits_and_a_pipe_has_all_of_it(stocked, screen, name: str, monkeypatch) -> None:
    used = watched(name, monkeypatch)
    WALK[name](stocked, screen)
    assert used


@pytest.mark.parametrize("name", WALK_PROOFS)
def test_a_table_of_proofs_fits_and_a_pipe_has_all_of_it(lab, screen, name: str, monkeypatch) -> None:
    used = watched(name, monkeypatch)
    WALK_PROOFS[name](lab, screen)
    assert used


def test_versions_fit(cli: CommandLine, screen, moto_server: MotoServer, monkeypatch) -> None:
    used = watched("commands/keep.py", monkeypatch)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = moto_server.make_bucket(object_lock=True)
    monkeypatch.setenv("CREDSTORE_URL", f"s3://{bucket}?region=us-east-1&endpoint={moto_server.url}")
    for key in ("short", KEY):
        cli.put(key, b"1")
        cli.put(key, b"2")
    versions = [json.loads(line)["version_id"] for line in cli("versions", "--json").out.splitlines()]
    text = joined(screen("versions"))
    assert all(each in text for each in versions)
    assert KEY in text  # In a block of its own, whole.
    assert KEY in cli("versions").out
    screen("retention", "short")
    assert used


@pytest.mark.parametrize("label", ["s3", "redundant(s3,r2,local)"])
def test_top_fits(screen, monkeypatch, label: str) -> None:
    row = top.Row(123_456, 1234, 98.7 * 2**40, 987_654, 12_345, {0.1: 10, 30.0: 123_456})
    rows = {(label, verb): row for verb in ("list_dictionaries", "get_metadata", "store")}
    monkeypatch.setattr(top, "read", lambda url: rows)
    lines = screen("top", "--once")
    for word in ("123,456", "1,234", "≤30,000"):
        assert word in " ".join(lines)
    terminal = Terminal()
    from rich.console import Console

    console = Console(file=terminal, width=COLUMNS)
    console.print(top.shown(*top.table(rows, {}, 2.0), COLUMNS))
    assert max(map(output.cells, re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines())) <= COLUMNS


def test_the_verdict_stays_where_it_does_not_fit(screen, lab) -> None:
    """Whatever is shortened, the state of a proof is not."""
    proof_id = issued(lab)
    lab("proof", "revoke", proof_id)
    (line,) = screen("proof", "list")
    assert (proof_id in line, "revoked" in line, "…" in line) == (True, True, True)


def test_it_is_said_once_where_the_rest_is(stocked, screen, capfd) -> None:
    capfd.readouterr()
    screen("ls", "-l")
    assert capfd.readouterr().err.count("… stands for what had no room") == 1
    screen("stats")
    assert capfd.readouterr().err == ""
    assert "…" not in stocked("ls", "-l").err


@given(st.text(st.characters(exclude_categories=["C"]), max_size=60), st.integers(3, 40))
def test_a_shortened_text_has_both_ends(text: str, most: int) -> None:
    short = output.fitted(text, most)
    assert output.cells(short) <= most
    if output.cells(text) <= most:
        assert short == text
    else:
        head, _, tail = short.partition("…")
        assert text.startswith(head)
        assert text.endswith(tail) or "…" in text


@given(st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=200), st.integers(4, 40))
def test_a_folded_text_is_whole(text: str, most: int) -> None:
    lines = output.folded(text, most)
    assert all(output.cells(line) <= most for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_a_narrow_terminal_is_no_failure(stocked, monkeypatch) -> None:
    for columns in ("20", "1", "0"):
        monkeypatch.setenv("COLUMNS", columns)
        for command in (("ls", "-l"), ("stat", KEY), ("providers",), ("du",), ("doctor",)):
            with monkeypatch.context() as patch:
                patch.setattr("sys.stdout", Terminal())
                assert run([*command]) == 0
