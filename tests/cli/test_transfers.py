"""Many objects from the shell: folders, other stores, globs, what is asked, printed and remembered."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine, Processes
from tests.transfer.ends import make_tree, tree_of

TREE = {"a.json": b"{}", "b/c.txt": b"text", "b/d.json": b"[1]"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/credstore/transfers"


@pytest.fixture
def folder() -> Path:
    return make_tree(Path("data"), TREE)


@pytest.fixture
def bucket(s3_server, monkeypatch: pytest.MonkeyPatch):
    """URLs below one bucket at moto."""
    monkeypatch.setenv("MINIO_ACCESS_KEY", "a")
    monkeypatch.setenv("MINIO_SECRET_KEY", "s")
    place = f"minio://{s3_server.url.removeprefix('http://')}/{s3_server.bucket}"
    return lambda path: f"{place}/{path}?http=true"


def keys(cli: CommandLine, *where: str) -> list[str]:
    return cli("ls", *where).out.splitlines()


def events(ended) -> list[dict]:
    return [json.loads(line) for line in ended.out.splitlines()]


def test_sync_to_a_cloud_and_back(cli, folder, bucket, state):
    ended = cli("sync", "./data", bucket("data"))
    assert sorted(ended.out.splitlines()) == ["copied    a.json", "copied    b/c.txt", "copied    b/d.json"]
    assert ended.err.startswith("3 copied (9 B); ")
    assert keys(cli, bucket("data/")) == ["a.json", "b/c.txt", "b/d.json"]
    again = cli("sync", "data/", bucket("data/"))
    assert again.out == ""
    assert "3 same" in again.err
    assert "3 by journal" in again.err
    assert len(list(state.glob("*.sqlite"))) == 1
    cli("sync", bucket("data"), "back")
    assert tree_of(Path("back")) == TREE
    assert "3 same" in cli("compare", "data", "back").err


def test_a_dry_run_shows_and_changes_nothing(cli, folder, state):
    ended = cli("sync", "data", "copy", "-n")
    assert ended.out.splitlines() == ["missing   a.json", "missing   b/c.txt", "missing   b/d.json"]
    assert not Path("copy").exists()


def test_deleting_shows_the_plan_and_needs_a_yes(cli, folder):
    make_tree(Path("copy"), {"old": b"1"})
    ended = cli("sync", "data", "copy", "--delete", code=2)
    assert "delete    old" in ended.err
    assert "copy 3 (9 B) and delete 1" in ended.err
    assert "--yes" in ended.err
    assert set(tree_of(Path("copy"))) == {"old"}
    cli("sync", "data", "copy", "--delete", "--max-delete", "0", "--yes", code=2)
    assert set(tree_of(Path("copy"))) == {"old"}
    assert "deleted   old" in cli("sync", "data", "copy", "--delete", "--yes").out
    assert tree_of(Path("copy")) == TREE
    assert "extra     new" not in cli("sync", "data", "copy").out


def test_compare_says_what_differs_by_its_exit_code(cli, folder):
    make_tree(Path("copy"), {**TREE, "a.json": b"other", "extra": b""})
    (Path("copy") / "b/c.txt").unlink()
    ended = cli("compare", "data", "copy", "--combined", "found", code=1)
    assert ended.out.splitlines() == ["differing a.json", "missing   b/c.txt", "extra     extra"]
    assert Path("found").read_text().splitlines() == ["* a.json", "+ b/c.txt", "= b/d.json", "- extra"]
    cli("compare", "data", "copy", "--include", "d.json", "--checksum")


def test_json_lines_and_the_report(cli, folder):
    *lines, last = events(cli("migrate", "data", "store:data", "--json"))
    assert {line["event"] for line in lines} == {"copied"}
    assert {line["name"] for line in lines} == set(TREE)
    assert last["report"]["counts"] == {"missing": 3, "copied": 3}
    assert last["report"]["dry_run"] is False
    cli("migrate", "data", "store:data", "--delete-source")
    assert tree_of(Path("data")) == {}
    assert keys(cli) == ["data/a.json", "data/b/c.txt", "data/b/d.json"]


def test_put_into_a_folder_and_folders(cli, folder):
    cli("put", "data/a.json", "docs/")
    cli("put", "data/b/c.txt", "data/b/d.json", "docs/")
    assert keys(cli) == ["docs/a.json", "docs/c.txt", "docs/d.json"]
    assert "directory" in cli("put", "data", "docs/", code=2).err
    cli("put", "data/a.json", "data/b/c.txt", "docs", code=2)
    cli("put", "-r", "data", "all", "--compress", "gzip", "-m", "who=me")
    document = cli("stat", "all/b/d.json", "--json").document
    assert document["compression"] == "gzip"
    assert document["metadata"]["who"] == "me"
    assert document["content_type"] == "application/json"
    assert cli("cat", "all/b/d.json").out == "[1]"


def test_get_into_a_folder_and_folders(cli, folder):
    cli("put", "-r", "data", "docs/")
    cli("get", "docs/a.json", "out/")
    assert tree_of(Path("out")) == {"a.json": b"{}"}
    cli("get", "docs/a.json", "far/away/x", code=2)
    cli("get", "docs/a.json", "far/away/x", "--parents")
    assert tree_of(Path("far")) == {"away/x": b"{}"}
    cli("get", "-r", "docs", "all")
    assert tree_of(Path("all")) == TREE
    cli("get", "docs/b/", "b")
    assert tree_of(Path("b")) == {"c.txt": b"text", "d.json": b"[1]"}
    cli("get", "docs/*.json", "globbed")
    assert tree_of(Path("globbed")) == {"a.json": b"{}"}
    (Path("all") / "a.json").write_bytes(b"mine")
    assert "kept" in cli("get", "-r", "docs", "all").err
    assert (Path("all") / "a.json").read_bytes() == b"mine"
    cli("get", "-r", "docs", "all", "--force")
    assert tree_of(Path("all")) == TREE
    assert "nothing below" in cli("get", "-r", "typo", "none", code=3).err


def test_cp_with_a_store_url_is_another_store(cli, folder, bucket):
    cli("put", "-r", "data", "docs")
    cli("cp", "data/a.json", bucket("x.json"))
    assert keys(cli) == ["docs/a.json", "docs/b/c.txt", "docs/b/d.json"]
    assert cli("cat", bucket("x.json")).out == "{}"
    cli("cp", "data/a.json", "data/b/c.txt", bucket("in/"))
    cli("cp", "-r", "data", bucket("tree"))
    cli("cp", "store:docs/b/", bucket("tree/more/"))
    assert keys(cli, bucket("")) == [
        "in/a.json", "in/c.txt", "tree/a.json", "tree/b/c.txt", "tree/b/d.json", "tree/more/c.txt",
        "tree/more/d.json", "x.json",
    ]  # fmt: skip
    cli("cp", bucket("tree/b/d.json"), "./fetched.json")
    cli("cp", bucket("tree/**"), "./globbed/")
    assert Path("fetched.json").read_bytes() == b"[1]"
    assert "more/c.txt" in tree_of(Path("globbed"))
    assert "a slash" in cli("cp", "./data", bucket("y"), code=2).err
    assert "no such object" in cli("cp", bucket("nothing"), "./y", code=3).err
    cli("cp", "./nothing", bucket("y"), code=2)


def test_mv_between_stores_and_inside_one(cli, folder, bucket):
    cli("mv", "data/a.json", bucket("moved.json"))
    assert "a.json" not in tree_of(Path("data"))
    cli("mv", bucket("moved.json"), bucket("deep/"))
    assert keys(cli, bucket("")) == ["deep/moved.json"]
    cli("mv", bucket("deep/"), "store:here/")
    assert keys(cli) == ["here/moved.json"]
    cli("mv", "here/moved.json", "there/")
    cli("mv", "-r", "there", "back")
    assert keys(cli) == ["back/moved.json"]


def test_ls_and_du_of_another_store(cli, folder, bucket):
    cli("sync", "data", bucket("d"))
    assert keys(cli, bucket("d/"), "-n") == ["a.json", "b/"]
    lines = [line.split() for line in cli("du", bucket("d/"), "-b").out.splitlines()]
    assert lines == [["7", "2", "b/"], ["9", "3", "."]]
    assert events(cli("du", bucket("d/"), "-s", "--json")) == [{"prefix": "", "objects": 3, "size": 9}]
    cli("put", "-r", "data", "x/")
    lines = [line.split() for line in cli("du", "x/", "-b", "-d", "1").out.splitlines()]
    assert lines == [["7", "2", "x/b/"], ["9", "3", "x/"]]


def test_the_words_of_the_original_design(cli, folder):
    cli("storage", "upload", "data/a.json", "a.json")
    assert cli("storage", "list").out == "a.json\n"
    cli("storage", "download", "a.json", "b.json")
    cli("storage", "sync", "data", "store:all")
    assert cli("storage", "info", "--json").document["total_objects"] == 4
    assert "upload" in cli("storage", "--help").out


def test_wrong_places_are_one_line_each(cli, folder, bucket):
    for arguments, code, text in (
        (["sync", "missing", "copy"], 2, "there is no file or folder missing"),
        (["sync", "data", "data/b"], 2, "inside the other"),
        (["sync", "data", "gopher://x"], 8, "scheme"),
        (["sync", bucket("data").replace("minio", "s3"), "x", "--timeout", "5s"], 8, ""),
        (["compare", "data", "store:typo"], 8, "missing"),
        (["cp", "data/a.json", "data/b/c.txt", "./new"], 2, "several sources"),
        (["sync", "data", "copy", "--include", "[a"], 2, "without its ]"),
        (["du", "--depth", "x"], 2, "depth"),
    ):
        ended = cli(*arguments, code=code)
        assert ended.out == ""
        assert ended.err.startswith("credstore: ")
        assert ended.err.count("\n") == 1
        assert text in ended.err
    assert not cli.root.exists()


def test_objects_that_fail_are_one_line_each_and_the_others_are_copied(cli, folder):
    (folder / "b/line\nbreak").write_bytes(b"")
    (folder / "link").symlink_to("a.json")
    ended = cli("sync", "data", "store:data", "--combined", "lines", code=9)
    marks = ["! b/line\\nbreak", "+ a.json", "+ b/c.txt", "+ b/d.json"]
    assert sorted(Path("lines").read_text().splitlines()) == marks
    assert len(ended.out.splitlines()) == 3
    *lines, summary = ended.err.splitlines()
    refused, left_out = sorted(lines)
    assert refused.startswith("credstore: b/line\\nbreak: a key has no control characters")
    assert left_out == "credstore: link: left out: a symbolic link, which is not followed"
    assert "1 refused" in summary


def test_a_read_of_a_store_that_is_not_there_makes_nothing(cli, tmp_path):
    for command in (["ls"], ["health"], ["stats"], ["du"], ["get", "a"], ["cat", "a"], ["stat", "a"]):
        ended = cli(*command, code=1 if command == ["health"] else 8)
        assert "missing" in ended.err
        assert not cli.root.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on_and_does(cli, processes: Processes, number):
    tree = {f"f{n:04}": os.urandom(2_000) for n in range(2_000)}
    make_tree(Path("many"), tree)
    process = processes.start("sync", "many", "copy", "--transfers", "2")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"copied")
    process.send_signal(number)
    process.stdout.read()
    assert process.wait(timeout=600) == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert b"; the same command continues where this one ended\n" in process.stderr.read()
    assert all(tree[name] == data for name, data in tree_of(Path("copy")).items())
    assert cli("sync", "many", "copy").err.startswith("continued; ")
    assert tree_of(Path("copy")) == tree


def test_progress_is_for_those_who_watch(cli, folder, monkeypatch):
    from credstore.cli import progress

    monkeypatch.setattr(progress, "PATIENCE", 0)
    monkeypatch.setattr(progress, "SELDOM", 0)
    assert "objects, " not in cli("sync", "data", "one").err
    assert "3 of 3 objects, 9 B, " in cli("sync", "data", "two", "--progress").err


def test_evidence_is_checked_offline_and_at_both_ends(cli, folder, bucket):
    cli("proof", "keys", "generate", "key.pem", "--issuer", "https://news.example")
    signing = ["--key", "key.pem", "--issuer", "https://news.example"]
    cli("migrate", "data", bucket("data"), "--evidence", "list.jsonl", code=2)
    cli("migrate", "data", bucket("data"), "--evidence", "list.jsonl", *signing)
    check = ["verify-transfer", "list.jsonl", "--trust", "keys.json"]
    assert "objects      3 (9 B)" in cli(*check).out
    ends = ["--source", "data", "--destination", bucket("data")]
    assert cli(*check, *ends, "--json").document["problems"] == []
    (folder / "a.json").write_bytes(b"[]")
    assert "credstore: a.json: " in cli(*check, *ends, code=7).err
    Path("list.jsonl").write_text("")
    assert "not the one that was signed" in cli(*check, code=22).err


def test_files_of_one_name_are_not_put_over_each_other(cli, folder):
    make_tree(Path("one"), {"x": b"1"})
    make_tree(Path("two"), {"x": b"2"})
    for arguments, text in (
        (["put", "-r", "one/x", "data/a.json", "k"], "give it a slash"),
        (["put", "one/x", "two/x", "k/"], "would both be called x"),
        (["put", "-r", "one/x", "two/x", "k/"], "would both be called x"),
        (["cp", "./one/x", "./two/x", "store:k/"], "would both be called x"),
        (["mv", "./one/x", "./two/x", "./k/"], "would both be called x"),
        (["mv", "one/x", "two/x", "k/"], "would both be called x"),
        (["mv", "./one/", "./two/", "./k/"], "one by one"),
        (["mv", "-r", "./one", "./two/x", "./k/"], "one by one"),
        (["mv", "./one/*", "./two/x", "./k/"], "one by one"),
    ):
        assert re.search(text, cli(*arguments, code=2).err)
    assert not cli.root.exists()
    assert tree_of(Path("one")) | tree_of(Path("two")) == {"x": b"2"}
    cli("put", "-r", "one", "data/a.json", "k/")
    assert keys(cli) == ["k/a.json", "k/x"]


def test_a_glob_and_include_hold_together(cli, folder):
    cli("put", "-r", "data", "k")
    cli("cp", "store:k/b/*", "./one/", "--include", "*.json")
    assert tree_of(Path("one")) == {"d.json": b"[1]"}
    cli("sync", "./data/b/*.txt", "store:two", "--include", "*.json", "--include", "c.*")
    assert keys(cli, "two") == ["two/c.txt"]
    assert "nothing matches" in cli("cp", "./data/b/*.txt", "store:two/", "--include", "*.json", code=3).err


def test_a_key_with_a_bracket_is_written_with_a_backslash(cli, folder):
    cli("put", "data/a.json", "app/[id].js")
    for arguments in (["get", "app/[id].js", "out"], ["cp", "store:app/[id].js", "./out"]):
        assert "write a backslash before it" in cli(*arguments, code=3).err
    cli("cp", r"store:app/\[id].js", "./out/")
    cli("get", r"app/\[id].js", "more")
    assert tree_of(Path("out")) == tree_of(Path("more")) == {"[id].js": b"{}"}


def test_a_folder_in_the_place_of_a_file_is_said_and_makes_way_where_it_may_be_deleted(cli, folder):
    make_tree(Path("copy"), {"a.json/x": b"", "b": b""})
    ended = cli("sync", "data", "copy", code=1).err.replace("'", "")
    assert "a.json: the file cannot be written: there is a folder of that name; remove it first" in ended
    assert "b/c.txt: the file cannot be written: there is a file where its folder has to be" in ended
    assert tree_of(Path("copy")) == {"a.json/x": b"", "b": b""}
    assert "3 copied (9 B), 2 deleted" in cli("sync", "data", "copy", "--delete", "--yes").err
    assert tree_of(Path("copy")) == tree_of(Path("data"))


@pytest.mark.parametrize("verb", ["cp", "mv"])
def test_options_hold_inside_one_store_too(cli, folder, verb):
    cli("put", "data/a.json", "a")
    cli("put", "data/b/c.txt", "b")
    assert cli(verb, "a", "b", "--overwrite", "never").err.startswith("1 kept")
    cli(verb, "a", "b", "--exclude", "b", code=9)
    cli(verb, "a", "b", "--max-transfer", "0", "--overwrite", "always", code=9)
    assert [cli("cat", key).out for key in "ab"] == ["{}", "text"]
    cli(verb, "a", "c", "--combined", "lines")
    assert Path("lines").read_text() == "+ c\n"
    assert keys(cli) == (["a", "b", "c"] if verb == "cp" else ["b", "c"])


def test_what_may_not_be_replaced_is_code_5_wherever_it_is(cli, folder, bucket):
    make_tree(Path("new"), {"x": b"new"})
    for place in ("store:k", bucket("k"), "./k"):
        cli("cp", "./data/a.json", place)
        assert "already" in cli("cp", "./new/x", place, "--if-absent", code=5).err
        assert "already" in cli("mv", "./new/x", place, "--if-absent", code=5).err
    assert [cli("cat", "k").out, cli("cat", bucket("k")).out, Path("k").read_text()] == ["{}"] * 3
    assert Path("new/x").read_bytes() == b"new"


def test_a_list_of_names_that_are_not_there(cli, folder):
    make_tree(Path("new"), {"a.json": b"{}"})
    cli("sync", "data", "store:k")
    Path("names").write_text("a.json\nb/c.txt\n")
    ended = cli("sync", "new", "store:k", "--files-from", "names", code=9)
    assert ended.err.startswith("credstore: b/c.txt: the source has no such object\n")
    assert cli("compare", "new", "store:k", "--files-from", "names", code=1).out == "extra     b/c.txt\n"
    cli("sync", "new", "store:k", "--files-from", "names", "--delete", "--yes")
    assert keys(cli, "k/") == ["k/a.json", "k/b/d.json"]
    Path("names").write_bytes(b"a.json\n\xff\n")
    assert "UTF-8" in cli("sync", "new", "store:k", "--files-from", "names", code=2).err


def test_a_dry_run_says_what_the_run_would(cli, folder):
    cli("sync", "data", "store:k")
    (folder / "a.json").unlink()
    (folder / "new").write_bytes(b"1")
    assert "would copy 1 (1 B); " in cli("sync", "data", "store:k", "-n").err
    assert "would copy 1 (1 B) and delete 1; " in cli("sync", "data", "store:k", "-n", "--delete").err
    ended = cli("sync", "data", "store:k", "-n", "--delete", "--max-delete", "0", code=2)
    assert "more than max_delete" in ended.err
    assert "would" not in cli("compare", "data", "store:k", code=1).err
    gone = cli("migrate", "data", "store:k", "-n", "--delete-source").err
    assert "would copy 1 (1 B) and delete 2 at the source; " in gone


def test_a_plan_that_is_refused_leaves_nothing_to_continue(cli, folder):
    cli("sync", "data", "store:k")
    (folder / "a.json").write_bytes(b"[]x")
    (folder / "b/c.txt").unlink()
    cli("sync", "data", "store:k", "--delete", code=2)
    cli("sync", "data", "store:k", "--delete", "--yes", "--max-delete", "0", code=2)
    ended = cli("sync", "data", "store:k", "--delete", "--yes")
    assert ended.err.startswith("1 copied (3 B), 1 deleted, 1 same; ")


def test_the_scheme_of_a_url_may_be_in_capitals(cli, folder, bucket):
    cli("cp", "./data/a.json", bucket("k").replace("minio", "MinIO", 1))
    assert cli("cat", bucket("k")).out == "{}"


def test_an_unwritable_list_or_a_worthless_issuer_is_said_first(cli, folder):
    cli("proof", "keys", "generate", "key.pem", "--issuer", "https://news.example")
    for path, issuer in (
        ("no/list", "https://news.example"),
        ("data", "https://news.example"),
        ("list", "not a uri"),
    ):
        signing = ["--evidence", path, "--key", "key.pem", "--issuer", issuer]
        assert cli("migrate", "data", "store:k", *signing, code=2).err.startswith("credstore: ")
    assert not cli.root.exists()
    assert not Path("list").exists()


def test_a_member_and_the_whole_are_not_moved_into_each_other(cli, folder):
    here = Path.cwd().as_uri()
    whole = f"multi://load-balanced?store={here}/b&store={here}/a"
    cli("sync", "data", f"{here}/a/")
    before = tree_of(Path("a"))
    for verb in (["mv", "-r"], ["cp", "-r"], ["sync", "--delete"], ["migrate", "--delete-source"]):
        for pair in ((f"{here}/a/", whole), (whole, f"{here}/a/")):
            assert "the same place" in cli(*verb, *pair, code=2).err
    for name in ("a", "."):
        assert "the same place" in cli("--store", whole, "put", "-r", name, "x/", code=2).err
        assert "the same place" in cli("--store", whole, "get", "-r", "", name, code=2).err
    assert tree_of(Path("a")) == before
