"""What the documents show works: tables agree with the code, and pages that need a server have one."""

import asyncio
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args

import click
import pytest

from credstore.artifacts import StorageManager
from credstore.cli.commands.providers import _store
from credstore.cli.main import COMMANDS
from credstore.cli.main import run as cli
from credstore.config.registry import Registry
from credstore.config.reports import LONGEST_AGE
from credstore.driver.capability_report import CapabilityFact, Honoured
from credstore.testing import running
from credstore.testing.checks import CHECKS
from credstore.testing.live.probes import PROBES
from tests.conftest import S3Server
from tests.docs.blocks import codes, run_python
from tests.faults.origin import Origin
from tests.servers.azurite import ACCOUNT, KEY, running_azurite

ROOT = Path(__file__).parents[2]
CHECKED = (ROOT / "docs" / "check-provider.md").read_text()
CAN = (ROOT / "docs" / "reference" / "what-each-store-can-do.md").read_text()
CLOUDS = (ROOT / "docs" / "clouds" / "index.md").read_text()


def test_the_guides_driver_keeps_the_contract(place):
    code = "\n".join(codes("docs/add-a-driver.md", "python"))
    (place / "test_guide.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "test_guide.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def at_moto(code: str, server: S3Server) -> str:
    """The page's code with another server."""
    bucket = f"custom://{server.url.removeprefix('http://')}/{server.bucket}/scratch?http=true&"
    assert "custom://s3.example.org/my-bucket/scratch?" in code
    return code.replace("custom://s3.example.org/my-bucket/scratch?", bucket).replace("=5MiB", "=64KiB")


def test_the_page_on_ones_own_server_tests_one(place, s3_server, monkeypatch):
    monkeypatch.delenv("CREDSTORE_URL")
    monkeypatch.setenv("CREDSTORE_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("CREDSTORE_SECRET_ACCESS_KEY", "example")
    lines, stated, accepting = codes("docs/test-your-server.md", "python")
    (place / "test_my_server.py").write_text(at_moto(lines, s3_server))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            "-k",
            "not lists_all",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(rf"^{len(CHECKS) - 1} passed, 1 deselected", done.stdout, re.MULTILINE), done.stdout

    some = [check for check in CHECKS if check.__name__ == "creates_once" or "parts" in check.__name__]
    monkeypatch.setattr(running, "CHECKS", some)
    names = run_python(at_moto(stated + "\n" + accepting, s3_server), "docs/test-your-server.md")
    (told,) = codes("docs/test-your-server.md", "text")
    report = names["report"]
    assert isinstance(report, running.Report)
    assert f"FAILED: keeps_conditions_in_parts: {report.failed['keeps_conditions_in_parts']}" in told
    assert list(report.failed) == ["keeps_conditions_in_parts"]
    again = asyncio.run(running.run_checks(names["harness"]))
    assert again.ok, str(again)
    assert list(again.deviating) == ["keeps_conditions_in_parts"]


def test_the_page_on_live_checks_opens_a_store_with_a_report(place):
    (place / "store").mkdir()
    assert cli(["check-provider", "file:store", "--quick", "--report", "report.json"]) == 0
    (code,) = codes("docs/check-provider.md", "python")
    names = run_python(code, "docs/check-provider.md")
    assert names["store"].capabilities.conditional_create
    asyncio.run(names["store"].aclose())


def test_the_page_on_live_checks_has_every_name_and_verdict():
    page = (ROOT / "docs/check-provider.md").read_text()
    table = page.partition("| Name |")[2].partition("\n\n")[0]
    named = {
        name for line in table.splitlines() for name in re.findall(r"`([a-z0-9_]+)`", line.split("|")[1])
    }
    assert named == {probe.name for probe in PROBES}
    verdicts = {
        CapabilityFact(name="tags", granted=granted, honoured=honoured).verdict
        for granted in (True, False, None)
        for honoured in get_args(Honoured)
    }
    told = page.partition("| Verdict |")[2].partition("\n\n")[0]
    assert {line.split("|")[1].strip() for line in told.splitlines()[2:]} == verdicts
    assert f"{LONGEST_AGE.days} days" in page


def told_of(server: str) -> list[str]:
    """What the page shows of a live check."""
    return plain(
        CHECKED.partition(f"<!-- check-provider: {server} -->")[2]
        .partition("```text\n")[2]
        .partition("```")[0]
    )


def plain(text: str) -> list[str]:
    """Lines of a live check that are not the same on every server, without figures and widths."""
    text = re.sub(r"request id: [0-9a-f-]+", "request id: 0", text)
    lines = [re.sub(r"[0-9]+(\.[0-9]+)?", "0", " ".join(line.split())) for line in text.splitlines()]
    return [re.sub("─+", "─", line) for line in lines if line and not line.endswith(" same")]


def test_the_pages_live_check_of_moto_is_one(place, s3_server, monkeypatch, capsys):
    monkeypatch.delenv("CREDSTORE_URL")
    monkeypatch.setenv("CREDSTORE_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("CREDSTORE_SECRET_ACCESS_KEY", "example")
    assert "custom://127.0.0.1:5000/proofs?http=true' --quick" in CHECKED
    url = f"custom://{s3_server.url.removeprefix('http://')}/{s3_server.bucket}?http=true&part_size=64KiB"
    assert cli(["check-provider", url, "--quick"]) == 0
    assert plain(capsys.readouterr().out.replace(s3_server.bucket, "proofs")) == told_of("moto")


def test_the_pages_live_check_of_a_server_that_ignores_conditions_is_one(place, monkeypatch):
    monkeypatch.delenv("CREDSTORE_URL")
    monkeypatch.setenv("CREDSTORE_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("CREDSTORE_SECRET_ACCESS_KEY", "example")

    async def main() -> tuple[int | None, str]:
        async with Origin(least_part=1024) as origin:
            origin.store.buckets["proofs"] = {}
            origin.store.lies = {"ignores conditions"}
            url = f"minio://127.0.0.1:{origin.port}/proofs?http=true&part_size=64KiB"
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "credstore",
                "-q",
                "check-provider",
                url,
                "--quick",
                stdout=subprocess.PIPE,
            )
            out, _ = await process.communicate()
            return process.returncode, out.decode()

    code, out = asyncio.run(main())
    assert code == 10
    assert plain(out) == told_of("ignoring")


@pytest.mark.system
def test_the_pages_live_check_of_azurite_is_one(place, monkeypatch, capsys):
    monkeypatch.delenv("CREDSTORE_URL")
    monkeypatch.setenv("AZURE_STORAGE_KEY", KEY)
    with running_azurite() as server:
        container = server.make_container()
        lacks = "-versions,-sse_c,-sse_kms"  # As Azurite does.
        url = f"az://{ACCOUNT}/{container}?endpoint={server.url}&part_size=64KiB&capabilities={lacks}"
        assert cli(["check-provider", url]) == 10
        with server.client() as client:
            assert list(client.get_container_client(container).list_blobs()) == []
    assert plain(capsys.readouterr().out.replace(container, "proofs")) == told_of("azurite")


def test_the_capability_table_is_the_codes():
    known = {row.name: row for row in Registry().rows()}
    table = CAN.partition("<!-- capabilities")[2].partition("\n")[2].partition("\n\n")[0]
    rows = {cells[0]: cells[1:] for cells in (
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    )}  # fmt: skip
    assert set(rows) == known.keys()
    for word, row in rows.items():
        can = _store(known[word]).capabilities
        facts = [
            can.conditional_create, can.conditional_replace, can.tags, bool(can.storage_classes), can.sse_s3,
            can.sse_kms, can.sse_c, can.versions, bool(can.retention_modes), can.legal_holds,
        ]  # fmt: skip
        wanted = ["yes" if fact else "-" for fact in facts]
        if can.sse_s3_implied:
            wanted[4] = "always on"
        links = " ".join(method for method in ("GET", "HEAD", "PUT", "DELETE") if method in can.presign)
        assert row == [*wanted, links or "-", "yes" if can.upload_forms else "-"], word


def table_of(word: str) -> dict[str, list[str]]:
    """Cells of a table by the first of their row, which is "" for the heads."""
    lines = CAN.partition(f"<!-- {word}")[2].partition("\n")[2].partition("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: rest for number, (first, *rest) in enumerate(cells) if number != 1}


PEERS = {
    "s3": {"moto", "fault origin"}, "custom": {"moto"}, "azure": {"Azurite"}, "gcs": {"emulator"},
    "local": {"itself"}, "memory": {"itself"},
}  # fmt: skip
"""What each cloud's driver is tried on; the others share the driver of S3, and none of their servers was tried."""


def test_what_was_tried_is_said_of_all_that_a_store_can_do():
    can, tried = table_of("capabilities"), table_of("tried")
    assert set(can) == set(tried)
    assert tried[""] == ["store, read, list, copy, delete", *can[""]]
    for word in can.keys() - {""}:
        first, *rest = tried[word]
        assert first != "-"
        assert [cell == "-" for cell in rest] == [cell == "-" for cell in can[word]], word
        assert set(tried[word]) <= {"-", "document", *PEERS.get(word, set())}, word
    # What these do not have, or ignore, cannot have been tried on them.
    heads = tried[""]
    lacks = {
        "azure": ("KMS", "own key (SSE-C)", "versions", "retention", "legal hold"),  # Azurite
        "gcs": ("if_absent", "if_match", "versions", "retention", "legal hold", "links", "forms"),
        "s3": ("forms",),  # moto takes any upload by a form.
    }
    for word, names in lacks.items():
        assert {tried[word][heads.index(name)] for name in names} == {"document"}, word
    assert tried["s3"][heads.index("own key (SSE-C)")] == "fault origin"  # moto ignores such keys.


def test_the_table_of_clouds_is_the_registrys():
    table = CLOUDS.partition("<!-- clouds")[2].partition("\n")[2].partition("\n\n")[0]
    told = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    rows = [[row.name, ", ".join(row.aliases) or "-", f"`{row.url}`"] for row in Registry().rows()]
    assert sorted(told) == sorted(rows)


@pytest.mark.parametrize("number", range(len(codes("docs/tables.md", "python"))))
def test_the_examples_of_tables_run(number, place, monkeypatch):
    monkeypatch.delenv("CREDSTORE_URL")
    run_python(codes("docs/tables.md", "python")[number], f"docs/tables.md, example {number}")


def test_the_commands_for_moving_data_are_there():
    table = (ROOT / "docs/what-does-what.md").read_text()
    commands = re.findall(r"`credstore ([a-z-]+)(?: ([a-z-]+))?", table)
    assert len(commands) > 10
    for name, inner in commands:
        if name == "COMMAND":
            continue
        module = import_module(f"credstore.cli.{COMMANDS[name][0]}")
        command = getattr(module, f"{name.replace('-', '_')}_command")
        if isinstance(command, click.Group) and inner:
            assert command.get_command(click.Context(command), inner) is not None, (name, inner)
    methods = re.findall(r"manager\.([a-z_]+)\(", table)
    assert methods
    assert all(hasattr(StorageManager, each) for each in methods)


def test_the_makefiles_targets_are_documented():
    targets = set(re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split())
    assert targets == set(re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text()))
