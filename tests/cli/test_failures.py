"""Wrong input and failures: the exit code, one line or one document, never a traceback."""

import errno
import logging
import os
import re
from pathlib import Path

import pytest

from credstore import errors
from credstore.cli.commands.rm import exit_of_failures
from credstore.cli.errors import report
from credstore.cli.exits import MEANINGS, Exit, exit_of
from credstore.cli.options import Invocation
from credstore.model import BatchDeleteResult
from tests.cli.conftest import CommandLine

EXPECTED = {
    "StorageError": 1,
    "StorageNotFoundError": 3,
    "StorageObjectNotFoundError": 3,
    "StorageBucketNotFoundError": 3,
    "StorageAccessDeniedError": 4,
    "StorageVersionsRemainError": 9,
    "StorageAuthenticationError": 4,
    "StorageQuotaExceededError": 1,
    "StorageQuorumError": 6,
    "StorageReadOnlyError": 4,
    "StorageConflictError": 5,
    "StorageAlreadyExistsError": 5,
    "StoragePreconditionFailedError": 5,
    "StorageRateLimitedError": 6,
    "StorageUnavailableError": 6,
    "StorageTimeoutError": 6,
    "StorageConnectionError": 6,
    "StorageIntegrityError": 7,
    "StorageDecryptionError": 7,
    "StorageCodecError": 7,
    "StorageInvalidRequestError": 2,
    "StorageRetainedError": 4,
    "StorageInvalidKeyError": 2,
    "StorageConfigurationError": 8,
    "StorageUnsupportedError": 1,
}


def kinds() -> list[type[errors.StorageError]]:
    found = vars(errors).values()
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, errors.StorageError)]


def test_every_error_has_its_exit_code() -> None:
    assert {kind.__name__: int(exit_of(kind("x"))) for kind in kinds()} == EXPECTED
    assert exit_of(FileExistsError()) == Exit.CONFLICT
    assert exit_of(OSError(errno.ENOTEMPTY, "x")) == Exit.CONFLICT
    assert exit_of(OSError()) == exit_of(RuntimeError()) == Exit.FAILURE
    assert set(MEANINGS) == set(Exit)


def test_the_disk_of_this_machine_has_the_codes_of_local_files() -> None:
    """As a library's error says it, which names a folder of the machine it runs on."""
    for number, code in ((errno.ENOTEMPTY, 5), (errno.EEXIST, 5), (errno.ENOENT, 2), (errno.ENOSPC, 1)):
        failed = errors.StorageError("x", code=errors.ErrorCode.IO_ERROR)
        failed.__cause__ = OSError(number, "x")
        assert exit_of(failed) == code
    assert exit_of(errors.StorageError("x", code=errors.ErrorCode.IO_ERROR)) == Exit.FAILURE


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["stat", "nothing"], 3, "'nothing': there is no such object [NOT_FOUND]"),
        (["cat", "nothing"], 3, "[NOT_FOUND]"),
        (["get", "nothing", "new"], 3, "[NOT_FOUND]"),
        (["cp", "nothing", "b"], 3, "[NOT_FOUND]"),
        (["mv", "nothing", "b"], 3, "[NOT_FOUND]"),
        (["link", "nothing"], 3, "[NOT_FOUND]"),
        (["put", "missing-file", "k"], 2, "missing-file"),
        (["put", ".", "k"], 2, "directory"),
        (["put", "file", ""], 2, "[INVALID_KEY]"),
        (["put", "file", "a\x1bb"], 2, "[INVALID_KEY]"),
        (["put", "file", "k" * 1025], 2, "[INVALID_KEY]"),
        (["put", "file", "../up"], 2, "[INVALID_KEY]"),
        (["put", "file", "k", "--storage-class", "GLACIER"], 1, "GLACIER"),
        (["put", "file", "k", "--encryption", "aes256"], 1, "[UNSUPPORTED]"),
        (["put", "file", "k", "--encryption", "rot13"], 2, "rot13"),
        (["put", "file", "k", "-m", "novalue"], 2, "name=value"),
        (["put", "file", "k", "-m", "a=1", "-m", "a=2"], 2, "twice"),
        (["put", "file", "k", "-m", "x-compression=zstd"], 2, "x-compression"),
        (["put", "file", "k", "--compress", "brotli"], 2, "brotli"),
        (["get", "a/..", "file2"], 2, "[INVALID_KEY]"),
        (["get", "a/"], 3, "there is nothing below it"),
        (["get", "here", "no/such/directory/file"], 2, "No such file or directory"),
        (["get", "here", "/dev/null", "--force"], 2, "not a regular file"),
        (["cat", "here", "--start", "2", "--end", "1"], 2, "[INVALID_RANGE]"),
        (["cat", "here", "--end", "5M"], 2, "--end"),
        (["cat", "here", "--start", "1GB"], 2, "[INVALID_RANGE]"),
        (["link", "here", "--expires", "8d"], 2, "604800"),
        (["link", "here", "--expires", "soon"], 2, "--expires"),
        (["link", "here", "--method", "PUT"], 1, "[UNSUPPORTED]"),
        (["form", "here", "--max-size", "1MB"], 1, "[UNSUPPORTED]"),
        (["form", "here"], 2, "--max-size"),
        (["form", "here", "--max-size", "0"], 2, "max_size"),
        (["rm"], 2, "keys or --prefix"),
        (["rm", "a", "--prefix", "b"], 2, "keys or --prefix"),
        (["rm", "--prefix", "", "--yes"], 2, "whole store"),
        (["ls", "--timeout", "yesterday"], 2, "--timeout"),
        (["ls", "--bogus"], 2, "--bogus"),
        (["lst"], 2, "did you mean 'ls'?"),
        (["upload"], 2, "did you mean 'put'?"),
        (["help"], 2, "did you mean '--help'?"),
        (["xyzzy"], 2, "see credstore --help"),
        (["--store", "gopher://x", "ls"], 8, "the scheme of the store URL"),
        (["--store", "nonsense", "ls"], 8, ""),
        (["serve", "--port", "70000"], 2, "70000"),
        (["serve", "--host", "192.0.2.1"], 8, "192.0.2.1"),
        (["demo", "--keep", "."], 5, "not empty"),
    ],
)
def test_wrong_input_is_one_line_and_its_code(
    cli: CommandLine, arguments: list[str], code: int, text: str
) -> None:
    Path("file").write_text("x")
    cli.put("here", b"x")
    ended = cli(*arguments, code=code)
    assert ended.out == ""
    assert ended.err.startswith("credstore: ")
    assert ended.err.count("\n") == 1
    assert text in ended.err
    assert sorted(path.name for path in Path().iterdir()) == ["file"]
    assert cli("ls").out.splitlines() == ["here"]

    told = cli(*arguments, "--json", code=code)
    assert told.out == ""
    assert told.error["exit_code"] == code
    assert told.error["message"]


def test_no_command_shows_the_help(cli: CommandLine) -> None:
    assert "Usage:" in cli(code=2).err


def test_no_store_is_named(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDSTORE_URL")
    assert "CREDSTORE_" in cli("ls", code=8).err
    assert cli("ls", "--json", code=8).error["type"] == "StorageConfigurationError"


def test_json_errors_have_the_facts(cli: CommandLine) -> None:
    cli.put("a", b"x")
    Path("file").write_text("x")
    error = cli("--json", "put", "file", "a", "--if-absent", code=5).error
    facts = errors.StorageError("x").facts()
    assert set(error) == {"type", "message", "exit_code", *facts}
    assert (error["code"], error["key"], error["operation"]) == ("ALREADY_EXISTS", "a", "store")
    assert (error["provider"], error["applied"], error["retryable"]) == ("local", "no", False)


def test_a_changed_object_is_found_out(cli: CommandLine) -> None:
    cli.put("a.json", b"0" * 100_000)
    path = cli.root / "a.json"
    times = path.stat()
    path.write_bytes(b"0" * 99_999 + b"1")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "DIGEST_MISMATCH" in cli("get", "a.json", code=7).err
    assert list(Path().iterdir()) == []
    assert cli("get", "a.json", "--json", code=7).error["code"] == "DIGEST_MISMATCH"


def test_a_truncated_gzip_is_found_out(cli: CommandLine) -> None:
    cli.put("a.json", b"0" * 100_000, "--compress", "gzip")
    path = cli.root / "a.json"
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-4] + b"\0" * 4)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    cli("cat", "a.json", code=7)
    cli("get", "a.json", code=7)
    assert list(Path().iterdir()) == []


def test_rm_of_a_part_tells_which(cli: CommandLine) -> None:
    cli.put("a", b"x")
    ended = cli("rm", "a", "..", code=9)
    assert ended.out == "deleted a\n"
    assert "'..'" in ended.err
    cli.put("a", b"x")
    told = cli("rm", "a", "..", "--json", code=9)
    assert told.document["deleted"] == ["a"]
    assert told.document["failed"][".."]["code"] == "INVALID_KEY"
    assert told.error["exit_code"] == 2
    cli("rm", "..", code=2)


def test_failures_of_several_kinds_are_a_part() -> None:
    denied, gone = errors.StorageAccessDeniedError("x"), errors.StorageUnavailableError("x")
    assert exit_of_failures(BatchDeleteResult(deleted=(), failed={"a": denied})) == Exit.DENIED
    assert exit_of_failures(BatchDeleteResult(deleted=(), failed={"a": denied, "b": gone})) == Exit.PARTIAL
    assert exit_of_failures(BatchDeleteResult(deleted=("c",), failed={"a": denied})) == Exit.PARTIAL


def test_verbose_errors_tell_all_facts(cli: CommandLine) -> None:
    cli.root.mkdir()
    call, error = cli("stat", "a", "-v", code=3).err.splitlines()
    assert call.startswith("get_metadata a  ")
    assert call.endswith(" ms")
    assert "get_metadata of 'a' at local" in error


@pytest.mark.parametrize(
    ("level", "lines"),
    [("info", ["INFO credstore.store local 'a' ok", "WARNING credstore.store local 'a' ALREADY_EXISTS"]),
     ("WARNING", ["WARNING credstore.store local 'a' ALREADY_EXISTS"]), ("error", [])],
)  # fmt: skip
def test_a_variable_turns_on_the_log(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, level: str, lines: list[str]
) -> None:
    Path("file").write_text("x")
    logger = logging.getLogger("credstore")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "level", logger.level)
    monkeypatch.setenv("CREDSTORE_LOG", level)
    put = ("put", "file", "a", "--if-absent")
    said = cli(*put).err + cli(*put, code=5).err
    logged = [line for line in said.splitlines() if not line.startswith("credstore:")]
    assert len(logged) == len(lines)
    for line, expected in zip(logged, lines, strict=True):
        assert re.fullmatch(rf"20\S+T\S+Z {re.escape(expected)}.* [0-9.]+ ms", line)


def test_a_level_that_is_none_is_refused(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDSTORE_LOG", "loud")
    assert "CREDSTORE_LOG is one of debug, info, warning, error, not 'loud'" in cli("ls", code=8).err


def test_an_unforeseen_error_tells_its_place_but_not_its_text(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("canary-4711")

    monkeypatch.setattr("credstore.cli.places.settings", broken)
    for options in ([], ["-v"], ["--json"]):
        err = cli("ls", *options, code=1).err
        assert "RuntimeError at test_failures.py:" in err
        assert "canary" not in err


def test_remarks_say_what_may_help(capsys: pytest.CaptureFixture[str]) -> None:
    unclear = errors.StorageTimeoutError("no answer came", key="a", applied="maybe")
    assert report(unclear, Invocation()) == Exit.UNAVAILABLE
    told = "'a': no answer came; it may have happened anyway; a retry may help [TIMEOUT]"
    assert capsys.readouterr().err == f"credstore: {told}\n"


def test_an_error_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report(errors.StorageError("two\nlines \x1b[31m"), Invocation())
    assert capsys.readouterr().err == "credstore: two\\nlines \\x1b[31m [STORAGE_ERROR]\n"
