"""`credstore check-provider`, from the command line to an opened store, on servers that do what they say or not."""

import asyncio
import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

import pytest

from credstore import StorageAlreadyExistsError, StorageFactory, StorageUnsupportedError, load_report
from credstore.cli.commands import check_provider
from credstore.config.settings import CommonConfig
from credstore.drivers.memory import MemoryDriver
from credstore.testing import live, running
from credstore.testing.checks import CHECKS
from credstore.testing.harness import ConformanceError
from tests.cli.conftest import CommandLine, Processes
from tests.conftest import S3Server
from tests.faults.messages import error
from tests.faults.origin import Origin
from tests.faults.script import Respond
from tests.faults.signatures import Account

KEYS = {"CREDSTORE_ACCESS_KEY_ID": "AKIDEXAMPLE", "CREDSTORE_SECRET_ACCESS_KEY": "canary-secret-value"}
PARTS = "?http=true&part_size=64KiB&multipart_threshold=64KiB"
QUICK = ("--quick", "--samples", "2")
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@pytest.fixture(autouse=True)
def keys(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDSTORE_URL")  # The keys would be for the store that it names.
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def address(server: S3Server, prefix: str = "") -> str:
    return f"custom://{server.url.removeprefix('http://')}/{server.bucket}{prefix}{PARTS}"


def names_in(server: S3Server) -> list[str]:
    with urlopen(f"{server.url}/{server.bucket}?list-type=2") as answer:
        return [each.text or "" for each in ET.fromstring(answer.read()).iter(f"{NAMESPACE}Key")]


def uploads_in(server: S3Server) -> bytes:
    with urlopen(f"{server.url}/{server.bucket}?uploads") as answer:
        return answer.read()


def put_by_hand(server: S3Server, key: str) -> None:
    with urlopen(Request(f"{server.url}/{server.bucket}/{key}", data=b"theirs", method="PUT")):
        return


async def at_origin(origin: Origin, *arguments: str) -> tuple[int, str, str]:
    """The command as a process of its own, while this loop serves the origin."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "credstore", "check-provider", *arguments, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def facts_of(document: dict) -> dict[str, tuple[object, str]]:
    return {each["name"]: (each["granted"], each["honoured"]) for each in document["facts"]}


def test_what_moto_honours_beside_what_is_granted_to_it(cli: CommandLine, s3_server: S3Server) -> None:
    put_by_hand(s3_server, "team/theirs")
    ended = cli("check-provider", address(s3_server, "/team"), *QUICK, "--json")
    facts = facts_of(ended.document)
    # What moto is known for: it ignores conditions of copies, and If-Match when an upload is completed.
    assert facts["conditional_create"] == (False, "yes")
    assert facts["conditional_replace"] == (False, "yes")
    assert facts["create_by_multipart"] == (False, "yes")
    assert facts["replace_by_multipart"] == (False, "no")
    assert facts["create_by_copy"] == (False, "no")
    assert facts["pinned_copy"] == (False, "no")
    assert facts["tags"] == (False, "yes")
    assert facts["metadata"] == facts["multipart"] == facts["ranges"] == (True, "yes")
    assert facts["checksums"] == (None, "no")
    assert facts["sse_c"] == (False, "no")
    assert facts["object_lock"] == (False, "not tried")
    assert ended.document["ok"]
    assert ended.document["region"] == "us-east-1"
    assert ended.document["location_type"] == "unknown"
    verbs = {each["verb"]: each for each in ended.document["latencies_us"]}
    assert {verb: each["original"] for verb, each in verbs.items()} == {
        "store": 200_000, "retrieve": 150_000, "delete": 100_000, "batch_delete": 500_000,
        "get_signed_url": 10_000, "health_check": 50_000,
    }  # fmt: skip
    assert all(0 < each["p50"] <= each["p95"] <= each["p99"] for each in verbs.values())
    assert {each["samples"] for each in verbs.values()} == {2, 3}
    assert names_in(s3_server) == ["team/theirs"]
    assert b"<Upload>" not in uploads_in(s3_server)


def test_a_store_is_opened_with_the_report(cli: CommandLine, s3_server: S3Server) -> None:
    ended = cli("check-provider", address(s3_server), *QUICK, "--report", "report.json")
    assert "the report is in report.json\n" in ended.err
    url = f"{address(s3_server)}&capabilities=report:report.json"

    async def use() -> None:
        async with StorageFactory() as factory:
            plain, granted = factory.create(address(s3_server)), factory.create(url)
            with pytest.raises(StorageUnsupportedError):
                await plain.store("key", b"1", if_absent=True)
            await granted.store("key", b"1", if_absent=True)
            with pytest.raises(StorageAlreadyExistsError):
                await granted.store("key", b"2", if_absent=True)
            assert await granted.retrieve("key") == b"1"
            large = bytes(100_000)
            with pytest.raises(StorageAlreadyExistsError):
                await granted.store("key", large, if_absent=True)
            etag = (await granted.store("large", large)).etag
            with pytest.raises(StorageUnsupportedError):  # moto ignores it, as the report says.
                await granted.store("large", large, if_match=etag)

    asyncio.run(use())
    # What was found once is not what is granted the next time.
    again = cli("check-provider", url, *QUICK, "--json")
    assert facts_of(again.document)["conditional_create"] == (False, "yes")


def test_a_signed_report_names_its_key_and_counts_by_it(cli: CommandLine, s3_server: S3Server) -> None:
    cli("proof", "keys", "generate", "key.pem", "--trust", "keys.json", "--issuer", "https://issuer.example")
    address_of = address(s3_server)
    ended = cli("check-provider", address_of, *QUICK, "--report", "report.json", "--key", "key.pem")
    (key,) = json.loads(Path("keys.json").read_text())["keys"]
    assert f"report.json, signed by {key['keyid']}\n" in ended.err
    assert json.loads(Path("report.json").read_text())["signatures"][0]["keyid"] == key["keyid"]
    url = f"{address_of}&capabilities=report:report.json&capabilities_trust=keys.json"
    assert cli("--store", url, "ls").out == ""
    forged = Path("report.json").read_bytes().replace(b'"sig":"', b'"sig":"AAAA')
    Path("report.json").write_bytes(forged)
    told = cli("--store", url, "ls", code=8)
    assert "the report 'report.json' does not count: no signature fits" in told.err


def test_a_server_that_ignores_conditions_is_found_out(tmp_path: Path) -> None:
    async def main() -> None:
        async with Origin(least_part=1024) as origin:
            origin.store.buckets["proofs"] = {}
            origin.store.lies = {"ignores conditions"}
            url = f"minio://127.0.0.1:{origin.port}/proofs{PARTS}"
            report = str(tmp_path / "report.json")
            code, out, err = await at_origin(origin, url, *QUICK, "--report", report)
            assert (code, origin.store.buckets["proofs"], origin.open_uploads) == (10, {}, 0), out + err
            assert "winners among 16 creators: 16, where 1 is right" in out
            assert "this store does not do 5 things that are granted to it" in out
            broken = [line.split()[0] for line in out.splitlines() if "granted but not honoured" in line]
            # The origin takes no forms and keeps no locks either, both of which MinIO does.
            conditions = ["conditional_create", "conditional_replace", "create_by_multipart"]
            assert broken == [*conditions, "upload_forms", "object_lock"]
            async with StorageFactory() as factory:
                store = factory.create(f"{url}&capabilities=report:{quote(report)}")
                assert not store.capabilities.conditional_create
                with pytest.raises(StorageUnsupportedError):
                    await store.store("key", b"1", if_absent=True)

    asyncio.run(main())


def test_an_honest_server_does_all_that_is_granted(tmp_path: Path) -> None:
    async def main() -> None:
        async with Origin(least_part=1024) as origin:
            origin.store.buckets["proofs"] = {}
            url = f"s3://proofs?endpoint={origin.url}&part_size=64KiB&region=us-east-1"
            report = tmp_path / "report.json"
            code, out, err = await at_origin(origin, url, *QUICK, "--json", "--report", str(report))
            assert code == 10, out + err
            async with StorageFactory() as factory:
                store = factory.create(f"{url}&capabilities=report:{quote(str(report))}")
                assert store.capabilities.storage_classes
                assert not store.capabilities.upload_forms
                await store.store("key", b"1", storage_class="STANDARD_IA")
            facts = facts_of(json.loads(out))
            # The origin speaks no forms and knows no locks; all else is honest.
            assert {name for name, told in facts.items() if told == (True, "no")} == {
                "upload_forms",
                "object_lock",
            }
            wanted = ("conditional_create", "conditional_replace", "conditional_delete", "pinned_copy",
                      "create_by_multipart", "replace_by_multipart", "create_by_copy", "replace_by_copy",
                      "tags", "content_etags", "sse_s3", "sse_c")  # fmt: skip
            assert {name: facts[name] for name in wanted} == dict.fromkeys(wanted, (True, "yes"))
            assert facts["checksums"] == (None, "yes")

    asyncio.run(main())


def test_wrong_credentials_are_no_finding() -> None:
    async def main() -> None:
        async with Origin() as origin:
            origin.store.buckets["proofs"] = {}
            origin.allow(Account("SOMEBODYELSE", "secret-of-somebody-else"))
            url = f"minio://127.0.0.1:{origin.port}/proofs?http=true"
            code, out, err = await at_origin(origin, url, "--quick")
            assert (code, out) == (4, "")
            assert err.count("\n") == 1
            assert KEYS["CREDSTORE_SECRET_ACCESS_KEY"] not in err

    asyncio.run(main())


def test_a_bucket_that_may_only_be_read_is_no_finding() -> None:
    """Missing permissions end the check before anything is taken for a fact."""

    async def main() -> None:
        async with Origin() as origin:
            origin.store.buckets["proofs"] = {}
            refused = error(403, "AccessDenied")
            origin.plan("before-apply", Respond(lambda _: refused), times=None, operation="PutObject")
            url = f"minio://127.0.0.1:{origin.port}/proofs?http=true"
            code, out, err = await at_origin(origin, url, "--quick")
            assert (code, out) == (4, ""), err
            assert "denied" in err.lower()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["custom://127.0.0.1:9/proofs?http=true&max_retries=0"], 6, "credstore: "),
        (["nothing://x"], 8, "does not name a known provider"),
        (["file:///no/such/folder"], 8, "is missing"),
        (["memory:x", "--key", "key.pem"], 2, "say where to write it with --report"),
        (["memory:x", "--report", "r.json", "--key", "key.pem"], 2, "key.pem: No such file"),
        (["memory:x", "--report", "no/such/folder/r.json"], 2, "is not there"),
        (["memory:x", "--report", "."], 2, "is a folder"),
        (["memory:x", "--samples", "0"], 2, "0 is not in the range"),
        (["memory:x", "--store", "memory:y"], 2, "give the store once"),
        (["memory:x", "memory:y"], 2, "unexpected extra argument"),
    ],
)
def test_wrong_input_is_refused(cli: CommandLine, arguments: list[str], code: int, says: str) -> None:
    ended = cli("check-provider", *arguments, code=code)
    assert says in ended.err
    assert ended.out == ""
    assert list(Path().iterdir()) == []


def test_a_bucket_that_is_not_there(cli: CommandLine, s3_server: S3Server) -> None:
    ended = cli("check-provider", address(s3_server).replace(s3_server.bucket, "no-such-bucket"), code=3)
    assert re.fullmatch(
        r"credstore: there is no such bucket; check the bucket's name and region "
        r"\[BUCKET_NOT_FOUND; request id: \w+\]\n",
        ended.err,
    )
    error = cli("check-provider", "--json", address(s3_server).replace("bucket", "buckets"), code=3).error
    assert error["exit_code"] == 3


def test_a_folder_is_checked_and_left_as_it_was(cli: CommandLine) -> None:
    cli.put("mine", b"x", "--store", cli.root.as_uri())
    ended = cli("check-provider", cli.root.as_uri(), *QUICK)
    assert "everything tried that is granted is honoured" in ended.out
    assert "local at" in ended.out
    assert cli("--store", cli.root.as_uri(), "ls", "--json").out.count("\n") == 1
    left = [path for path in cli.root.rglob("*") if path.is_file() and ".credstore" not in path.parts]
    assert left == [cli.root / "mine"]
    assert [path.name for path in cli.root.iterdir() if path.is_dir()] == [".credstore"]


def test_the_conformance_list_is_run_too(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(harness: object) -> None:
        del harness
        raise ConformanceError("a reason\x1b[31m")

    monkeypatch.setattr(running, "CHECKS", [*CHECKS[:3], breaks])
    ended = cli("check-provider", "memory:x", "--samples", "1", code=10)
    assert "FAILED: breaks: a reason\\x1b[31m\n" in ended.out
    assert "conformance: 2 passed, 1 failed, 1 not run\n" in ended.out
    document = cli("check-provider", "memory:x", "--samples", "1", "--json", code=10).document
    assert document["conformance"] == {
        "passed": 2,
        "failed": {"breaks": "a reason\x1b[31m"},
        "not_run": 1,
    }
    assert not document["ok"]
    assert "is honoured" not in ended.out


def test_what_could_not_be_removed_is_told(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ignored(self: MemoryDriver, keys: list[str], *, deadline: float | None = None) -> dict:
        del self, deadline
        return dict.fromkeys(keys)

    monkeypatch.setattr(MemoryDriver, "delete_many", ignored)
    ended = cli("check-provider", "memory:x", *QUICK, code=6)
    assert "what it stored below 'credstore-check-" in ended.err
    assert "could not be removed" in ended.err


def test_a_store_of_a_plug_in_is_refused() -> None:
    class Acme(CommonConfig):
        provider = "acme"

    with pytest.raises(Exception, match="plug-in 'acme' is checked with its own conformance tests"):
        asyncio.run(live.look_at(Acme()))


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_what_was_found_is_shown_where_the_report_cannot_be_written(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    def full(path: str, data: bytes) -> None:
        assert data
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(check_provider, "replace_file", full)
    ended = cli("check-provider", "memory:x", *QUICK, *how, "--report", "report.json", code=1)
    assert "conditional_create" in ended.out
    assert "report.json: No space left on device" in ended.err
    assert "the report is in" not in ended.err


def test_the_report_is_written_where_nobody_reads_what_is_shown(cli: CommandLine) -> None:
    command = [sys.executable, "-m", "credstore", "check-provider", "memory:x", *QUICK]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}  # So that it is noticed at the first line.
        subprocess.run(
            [*command, "--report", "report.json"], check=False, stdout=closed, stderr=-1, env=unbuffered
        )
    assert load_report("report.json").provider == "memory"


# Ended in the middle of it

ENDINGS = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "terminated")}


@pytest.mark.parametrize("number", ENDINGS)
@pytest.mark.parametrize("stage", ["/", "/speed/"])
def test_a_check_that_is_ended_leaves_nothing(
    processes: Processes, s3_server: S3Server, number: signal.Signals, stage: str
) -> None:
    put_by_hand(s3_server, "team/theirs")
    samples = ["--quick", "--samples", "10000"]
    process = processes.start("check-provider", address(s3_server, "/team"), *samples)
    while process.poll() is None and not any(
        "credstore-check-" in name and stage in name for name in names_in(s3_server)
    ):
        continue
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    code, word = ENDINGS[number]
    lines = err.decode().splitlines()
    assert (process.returncode, out) == (code, b""), err
    assert lines[0].startswith("credstore: checking below team/credstore-check-")
    below = lines[0].rpartition(" ")[2]
    assert lines[1:] == [f"credstore: everything below {below} was removed", f"credstore: {word}"]
    assert names_in(s3_server) == ["team/theirs"]
    assert b"<Upload>" not in uploads_in(s3_server)


def test_help_says_what_the_exit_code_means(cli: CommandLine) -> None:
    assert "does not do what is granted to it (check-provider)" in cli("--help").out
    told = subprocess.run(
        [sys.executable, "-m", "credstore", "check-provider", "--help"], capture_output=True, check=True
    )
    assert b"also on Ctrl-C" in told.stdout
