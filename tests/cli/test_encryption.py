"""Objects that are encrypted before they are sent, from the shell: keys, where they are named, what is shown."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.conftest import S3Server

RAW = b"canary-key-of-32-bytes-in-length"
OTHER = b"canary-key-of-32-bytes-otherwise"
PLAIN = b'{"claim": "nobody else may read this"}'
SEALED = ("--wrapping-key", "a.key", "--store-id", "photos")


def key_file(name: str, raw: bytes = RAW) -> str:
    path = Path(name)
    path.write_text(base64.b64encode(raw).decode())
    path.chmod(0o600)
    return name


@pytest.fixture(autouse=True)
def keys(root: Path) -> None:
    key_file("a.key")
    key_file("b.key", OTHER)


def files_of(root: Path) -> list[bytes]:
    return [
        path.read_bytes() for path in root.rglob("*") if path.is_file() and ".credstore" not in path.parts
    ]


def key_id(cli: CommandLine, name: str) -> str:
    [shown] = cli("keys", "show", name, "--json").document
    return shown["key_id"]


# The keys themselves


@pytest.mark.parametrize("option", ["--wrapping-key", "--older-wrapping-key"])
@pytest.mark.parametrize("prepare", ["key", "missing", "open"])
def test_a_name_for_a_store_needs_keys_that_are_there(
    cli: CommandLine, option: str, prepare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never keeps, or shows, one that was given in place of its path."""
    monkeypatch.setenv("CREDSTORE_STORES", "stores.toml")
    text = base64.b64encode(OTHER).decode()
    if prepare == "open":
        Path("b.key").chmod(0o644)
    given = {"key": text, "missing": "none.key", "open": "b.key"}[prepare]
    keys = (option, given, *(() if option == "--wrapping-key" else ("--wrapping-key", "a.key")))
    ended = cli("stores", "add", "sealed", "file:st", *keys, "--store-id", "photos", code=8)
    assert text not in ended.out + ended.err
    assert not Path("stores.toml").exists()
    cli("stores", "add", "sealed", "file:st", *SEALED)
    assert "a.key" in cli("stores", "list", "--json").out


def test_proofs_under_another_key_are_not_said_to_be_none(cli: CommandLine) -> None:
    Path("photo.json").write_bytes(PLAIN)
    cli("proof", "keys", "generate", "issuer.pem", "--trust", "trust.json", "--issuer", "https://example.org")
    cli("proof", "issue", "photo.json", "--key", "issuer.pem", "--trust", "trust.json", *SEALED)
    other = ("--wrapping-key", "b.key", "--store-id", "photos")
    assert (
        "DECRYPTION_FAILED" in cli("proof", "find", "photo.json", "--trust", "trust.json", *other, code=7).err
    )
    cli("proof", "find", "photo.json", "--trust", "trust.json", *SEALED)


def test_a_key_is_made_for_its_owner_alone_and_never_shown(cli: CommandLine) -> None:
    ended = cli("keys", "generate", "new.key")
    text = Path("new.key").read_text().strip()
    assert stat.S_IMODE(Path("new.key").stat().st_mode) == 0o600
    assert len(base64.b64decode(text)) == 32
    shown = cli("keys", "show", "new.key", "a.key")
    assert text not in ended.out + ended.err + shown.out
    assert key_id(cli, "new.key") in ended.out
    assert key_id(cli, "new.key") in shown.out
    assert cli("keys", "generate", "other.key", "--json").document.keys() == {"file", "key_id"}


def test_a_key_that_is_there_stays(cli: CommandLine) -> None:
    before = Path("a.key").read_bytes()
    assert "cannot make the key file 'a.key'" in cli("keys", "generate", "a.key", code=5).err
    assert Path("a.key").read_bytes() == before


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda path: path.unlink(), "cannot read the key file 'a.key'"),
        (lambda path: path.chmod(0o644), "may be read or changed by others (mode 0644)"),
        (lambda path: path.write_text("00" * 31), "holds no key: 32 random bytes in base64"),
        (lambda path: path.write_text(""), "holds no key"),
        (lambda path: path.write_bytes(RAW + RAW), "holds no key"),
    ],
    ids=["missing", "open to others", "too short", "empty", "not text"],
)
@pytest.mark.parametrize(
    "command",
    [("put", "x", "k"), ("get", "k"), ("ls",), ("sync", ".", "store:d/"), ("keys", "show", "a.key")],
)
def test_a_key_that_cannot_be_used_is_named_and_nothing_is_done(
    cli: CommandLine, prepare, said: str, command
) -> None:
    Path("x").write_bytes(PLAIN)
    prepare(Path("a.key"))
    # A file that a command is about is one of its arguments, and not a setting of the store.
    code = 2 if command[0] == "keys" and not Path("a.key").exists() else 8
    assert said in cli(*command, *SEALED, code=code).err
    assert not cli.root.exists()


@pytest.mark.parametrize("variable", ["CREDSTORE_WRAPPING_KEY", "CREDSTORE_OLDER_WRAPPING_KEYS"])
def test_a_key_in_place_of_its_path_is_refused_unseen(cli: CommandLine, monkeypatch, variable: str) -> None:
    for text in (base64.b64encode(RAW).decode(), RAW.hex()):
        monkeypatch.setenv(variable, text)
        for command in (("ls",), ("doctor",), ("-v", "ls"), ("--json", "ls")):
            ended = cli(*command, code=1 if command[0] == "doctor" else 8)
            assert text not in ended.out + ended.err
            assert "not the key itself" in " ".join((ended.out + ended.err).split())


def test_half_of_it_is_refused_before_anything_is_stored(cli: CommandLine, monkeypatch) -> None:
    Path("x").write_bytes(PLAIN)
    assert "`store_id` of local is missing" in cli("put", "x", "k", "--wrapping-key", "a.key", code=8).err
    assert "`wrapping_key` of local is missing" in cli("put", "x", "k", "--store-id", "s", code=8).err
    monkeypatch.setenv("CREDSTORE_OLDER_WRAPPING_KEYS", "b.key")
    assert "CREDSTORE_WRAPPING_KEY" in cli("put", "x", "k", code=8).err
    assert "has no comma" in cli("put", "x", "k", "--older-wrapping-key", "a,b", code=2).err
    assert not cli.root.exists()


# Storing and reading


def named_by_options(monkeypatch) -> tuple[str, ...]:
    return SEALED


def named_by_variables(monkeypatch) -> tuple[str, ...]:
    monkeypatch.setenv("CREDSTORE_WRAPPING_KEY", "a.key")
    monkeypatch.setenv("CREDSTORE_STORE_ID", "photos")
    return ()


def named_by_env_file(monkeypatch) -> tuple[str, ...]:
    Path("x.env").write_text("CREDSTORE_WRAPPING_KEY=a.key\nCREDSTORE_STORE_ID=photos\n")
    return ("--env-file", "x.env")


def named_by_url(monkeypatch) -> tuple[str, ...]:
    monkeypatch.setenv("CREDSTORE_URL", f"{os.environ['CREDSTORE_URL']}?wrapping_key=a.key&store_id=photos")
    return ()


def named_by_stores_file(monkeypatch) -> tuple[str, ...]:
    monkeypatch.setenv("CREDSTORE_STORES", str(Path("stores.toml").absolute()))
    url = os.environ["CREDSTORE_URL"]
    Path("stores.toml").write_text(
        f'[photos]\nprovider = "local"\npath = "{url.removeprefix("file://")}"\n'
        'wrapping_key = "a.key"\nstore_id = "photos"\n'
    )
    return ("--store", "photos")


@pytest.mark.parametrize(
    "way", [named_by_options, named_by_variables, named_by_env_file, named_by_url, named_by_stores_file]
)
def test_each_way_of_naming_the_key_encrypts_and_decrypts(cli: CommandLine, monkeypatch, way) -> None:
    Path("x.json").write_bytes(PLAIN * 10)
    how = way(monkeypatch)
    cli(*how, "put", "x.json", "2026/x.json", "--compress", "gzip")
    [stored] = files_of(cli.root)
    assert b"claim" not in stored
    assert RAW not in stored
    assert cli(*how, "cat", "2026/x.json").out.encode() == PLAIN * 10
    assert cli(*how, "cat", "2026/x.json", "--start", "3", "--end", "9").out.encode() == PLAIN[3:9]
    cli(*how, "cp", "2026/x.json", "copy.json")
    cli(*how, "mv", "copy.json", "moved.json")
    cli(*how, "get", "moved.json", "back.json")
    assert Path("back.json").read_bytes() == PLAIN * 10
    assert "client side    encrypted" in cli(*how, "stat", "moved.json").out
    assert cli(*how, "stat", "moved.json", "--json").document["client_side"] is True
    assert "with the key local-" in cli(*how, "stats").out
    assert cli(*how, "storage", "info", "--json").document["wrapping_key_id"] == key_id(cli, "a.key")
    assert cli(*how, "cat", "2026/x.json", "--wrapping-key", "off", code=2).err.count("[ENCRYPTED]") == 1


def test_without_the_right_key_nothing_is_read(cli: CommandLine) -> None:
    cli.put("k", PLAIN, *SEALED)
    assert "the object is encrypted; name its key and store id" in cli("cat", "k", code=2).err
    for wrong in (("--wrapping-key", "b.key"), ("--store-id", "other")):
        ended = cli("get", "k", "out", *SEALED, *wrong, code=7)
        assert "[DECRYPTION_FAILED]" in ended.err
        assert not Path("out").exists()


def test_what_is_not_encrypted_is_refused_where_everything_should_be(cli: CommandLine) -> None:
    cli.put("k", PLAIN)
    assert "[DECRYPTION_FAILED]" in cli("cat", "k", *SEALED, code=7).err
    assert cli("cat", "k", *SEALED, "--wrapping-key", "off").out.encode() == PLAIN


def test_options_win_over_what_the_store_that_is_set_says(cli: CommandLine, monkeypatch) -> None:
    url = os.environ["CREDSTORE_URL"]
    monkeypatch.setenv("CREDSTORE_URL", f"{url}?wrapping_key=a.key&store_id=photos")
    cli.put("k", PLAIN, "--wrapping-key", "b.key")
    assert "[DECRYPTION_FAILED]" in cli("cat", "k", code=7).err
    assert cli("cat", "k", "--wrapping-key", "b.key").out.encode() == PLAIN
    Path("own.env").write_text(
        f"CREDSTORE_URL={url}\nCREDSTORE_WRAPPING_KEY=a.key\nCREDSTORE_STORE_ID=photos\n"
    )
    monkeypatch.setenv("CREDSTORE_STORES", str(Path("stores.toml").absolute()))
    Path("stores.toml").write_text(f'[mine]\nurl = "{url}"\nenv_file = "own.env"\n')
    assert cli("--store", "mine", "cat", "k", "--wrapping-key", "b.key").out.encode() == PLAIN
    assert "[DECRYPTION_FAILED]" in cli("--store", "mine", "cat", "k", code=7).err


@pytest.mark.parametrize("named", [False, True])
def test_several_stores_as_one_are_encrypted_as_the_options_say(
    cli: CommandLine, tmp_path: Path, monkeypatch, named: bool
) -> None:
    Path("x").write_bytes(PLAIN)
    one, two = (tmp_path / name for name in ("one", "two"))
    store = url = f"multi://redundant?store={one.as_uri()}&store={two.as_uri()}"
    if named:
        monkeypatch.setenv("CREDSTORE_STORES", str(tmp_path / "stores.toml"))
        (tmp_path / "empty.env").write_text("")
        (tmp_path / "stores.toml").write_text(f'[both]\nurl = "{url}"\nenv_file = "empty.env"\n')
        store = "both"
    cli("--store", store, "put", "x", "k", *SEALED)
    for root in (one, two):
        [stored] = files_of(root)
        assert PLAIN not in stored
    assert cli("--store", store, "cat", "k", *SEALED).out.encode() == PLAIN
    assert "[ENCRYPTED]" in cli("--store", store, "cat", "k", code=2).err


def test_a_member_that_would_be_encrypted_otherwise_is_refused(cli: CommandLine, tmp_path: Path) -> None:
    one, two = (tmp_path / name for name in ("one", "two"))
    sealed = f"{two.as_uri()}?wrapping_key=a.key%26store_id=s"
    url = f"multi://redundant?store={one.as_uri()}&store={sealed}"
    assert "encrypted as the first of them" in cli("--store", url, "ls", code=8).err
    Path("x").write_bytes(PLAIN)
    first = f"multi://redundant?store={sealed}&store={one.as_uri()}"
    cli("--store", first, "put", "x", "k")
    assert all(PLAIN not in stored for root in (one, two) for stored in files_of(root))


# Folders, and places that are URLs


def test_folders_are_compared_by_what_is_in_the_objects(cli: CommandLine) -> None:
    Path("data/s").mkdir(parents=True)
    Path("data/1").write_bytes(b"one")
    Path("data/s/2").write_bytes(b"two" * 5000)
    bare = ("--no-journal", *SEALED)
    assert "2 copied" in cli("sync", "data", "store:d/", *bare).err
    assert "2 same" in cli("sync", "data", "store:d/", *bare).err
    assert "2 same" in cli("compare", "data", "store:d/", *bare).err
    assert "2 same" in cli("compare", "data", "store:d/", "--checksum", *bare).err
    Path("data/1").write_bytes(b"eno")
    os.utime("data/1", (4e9, 4e9))
    assert "differing 1" in cli("compare", "data", "store:d/", *bare, code=1).out
    cli("get", "-r", "d/", "out/", *SEALED)
    assert Path("out/s/2").read_bytes() == b"two" * 5000
    cli("put", "-r", "data", "e/", *SEALED)
    assert cli("cat", "e/1", *SEALED).out == "eno"
    assert all(b"twotwo" not in stored for stored in files_of(cli.root))


def test_what_was_synced_in_plain_text_is_encrypted_by_the_next_run_with_a_key(cli: CommandLine) -> None:
    Path("data").mkdir()
    Path("data/1").write_bytes(PLAIN)
    assert "1 copied" in cli("sync", "data", "store:d/").err
    for how in ((), ("--checksum",)):
        assert "1 differing" in cli("compare", "data", "store:d/", *how, *SEALED, code=1).err
    assert "1 copied" in cli("sync", "data", "store:d/", *SEALED).err
    assert "1 same" in cli("sync", "data", "store:d/", *SEALED).err
    assert all(PLAIN not in stored for stored in files_of(cli.root))


def test_with_another_key_a_sync_replaces_nothing(cli: CommandLine) -> None:
    Path("data").mkdir()
    Path("data/1").write_bytes(PLAIN)
    cli("sync", "data", "store:d/", *SEALED)
    before = files_of(cli.root)
    ended = cli("sync", "data", "store:d/", "--no-journal", *SEALED, "--wrapping-key", "b.key", code=7)
    assert "[DECRYPTION_FAILED]" in ended.err
    assert files_of(cli.root) == before


def test_each_url_may_say_for_itself_how_it_is_encrypted(cli: CommandLine, tmp_path: Path) -> None:
    """So that a store is encrypted, or decrypted, on the way to another."""
    cli.put("k", PLAIN)
    plain = os.environ["CREDSTORE_URL"]
    sealed = (tmp_path / "sealed").as_uri()
    cli("sync", f"{plain}?wrapping_key=off", sealed, *SEALED)
    [stored] = files_of(tmp_path / "sealed")
    assert PLAIN not in stored
    back = tmp_path / "back"
    cli("sync", f"{sealed}?wrapping_key=a.key&store_id=photos", back.as_uri())
    assert files_of(back) == [PLAIN]
    other = f"{(tmp_path / 'other').as_uri()}?wrapping_key=b.key&store_id=other"
    cli("migrate", f"{sealed}?wrapping_key=a.key&store_id=photos", other)
    assert cli("--store", other, "cat", "k").out.encode() == PLAIN


def test_a_url_of_any_length_leads_to_the_same_store(
    cli: CommandLine, s3_server: S3Server, monkeypatch
) -> None:
    monkeypatch.delenv("CREDSTORE_URL")
    monkeypatch.setenv("CREDSTORE_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("CREDSTORE_SECRET_ACCESS_KEY", "example")
    named_by_variables(monkeypatch)
    bucket = f"custom://{s3_server.url.removeprefix('http://')}/{s3_server.bucket}"
    here, end = Path("x"), "?http=true"
    here.write_bytes(PLAIN)
    cli("put", "x", f"{bucket}/2026/s/x{end}")
    cli("put", "-r", ".", f"{bucket}/2026/all/{end}")
    for name in ("2026/s/x", "2026/all/x"):
        assert cli("cat", f"{bucket}/{name}{end}").out.encode() == PLAIN
        assert cli("--store", f"{bucket}{end}", "cat", name).out.encode() == PLAIN
    cli("sync", f"{bucket}/2026/{end}", "out")
    assert Path("out/s/x").read_bytes() == PLAIN
    cli("cp", f"{bucket}/2026/s/x{end}", f"{bucket}/2026/y{end}")
    assert cli("cat", f"{bucket}/2026/y{end}").out.encode() == PLAIN
    # A part of the bucket that is set as the store is one of its own, by its URL as well.
    part = f"{bucket}/2026{end}"
    for how in (("--store", part), ()):
        if not how:
            monkeypatch.setenv("CREDSTORE_URL", part)
        assert "[DECRYPTION_FAILED]" in cli(*how, "cat", "s/x", code=7).err
        cli(*how, "put", "x", "own/x")
        assert cli(*how, "cat", f"{bucket}/2026/own/x{end}").out.encode() == PLAIN
        cli(*how, "cp", f"{bucket}/2026/own/x{end}", "store:own/y")
        assert cli(*how, "cat", "own/y").out.encode() == PLAIN
    assert "[DECRYPTION_FAILED]" in cli("--store", f"{bucket}{end}", "cat", "2026/own/x", code=7).err


# Rotation, and what says how it is


def test_keys_are_rotated_from_the_shell(cli: CommandLine, monkeypatch) -> None:
    for name in ("1", "2"):
        cli.put(name, PLAIN, *SEALED)
    both = ("--wrapping-key", "b.key", "--older-wrapping-key", "a.key", "--store-id", "photos")
    assert "cannot be decrypted" in cli("rotate-keys", *SEALED, "--wrapping-key", "b.key", code=9).err
    assert cli("cat", "1", *both).out.encode() == PLAIN
    ended = cli("rotate-keys", *both)
    assert f"with {key_id(cli, 'b.key')}  2" in ended.out
    for name in ("1", "2"):
        assert cli("cat", name, *SEALED, "--wrapping-key", "b.key").out.encode() == PLAIN
    # As it is left in a file of variables.
    monkeypatch.setenv("CREDSTORE_WRAPPING_KEY", "b.key")
    monkeypatch.setenv("CREDSTORE_OLDER_WRAPPING_KEYS", "a.key, b.key,a.key")
    monkeypatch.setenv("CREDSTORE_STORE_ID", "photos")
    assert cli("rotate-keys", "--json").document["rotated"] == 0


def test_without_a_key_nothing_is_rotated(cli: CommandLine) -> None:
    cli.put("k", PLAIN)
    assert "credstore keys generate" in cli("rotate-keys", code=8).err


def test_the_doctor_says_how_objects_are_encrypted(cli: CommandLine, monkeypatch) -> None:
    cli.put("k", PLAIN)
    assert "nothing is encrypted before it is sent" in cli("doctor").out
    found = {each["check"]: each for each in cli("doctor", "--json", *SEALED, code=1).document["findings"]}
    assert found["wrapping_key"]["detail"] == "a.key (--wrapping-key)"
    assert found["encryption"]["detail"] == (
        f"before anything is sent, with the key {key_id(cli, 'a.key')}, bound to the store id photos"
    )
    assert found["may decrypt"]["state"] == "failed"
    assert "--wrapping-key off" in found["may decrypt"]["cure"]
    cli("rm", "k")
    monkeypatch.setenv("CREDSTORE_WRAPPING_KEY", "a.key")
    monkeypatch.setenv("CREDSTORE_STORE_ID", "photos")
    found = {each["check"]: each for each in cli("doctor", "--json").document["findings"]}
    assert found["may decrypt"]["state"] == "not tried"
    assert found["link"]["state"] == "not tried"
    cli.put("k", PLAIN)
    ended = cli("doctor", "--json")
    found = {each["check"]: each for each in ended.document["findings"]}
    assert (found["may decrypt"]["state"], found["may read"]["state"]) == ("ok", "ok")
    assert found["wrapping_key"]["detail"] == "a.key (CREDSTORE_WRAPPING_KEY)"
    assert base64.b64encode(RAW).decode() not in json.dumps(ended.document)


def test_what_is_for_strangers_is_refused(cli: CommandLine) -> None:
    cli.put("k", PLAIN, *SEALED)
    for command in (("link", "k"), ("link", "k", "--method", "PUT")):
        assert "encrypt" in cli(*command, *SEALED, code=1).err
    cli("proof", "keys", "generate", "log.pem", "--issuer", "https://log.example", "--trust", "unused.json")
    ended = cli("log", "init", "--origin", "log.example/proofs", "--key", "log.pem", *SEALED, code=8)
    assert "no one else could read the log" in ended.err


def test_a_store_that_has_a_name_keeps_its_key_wherever_it_is_used(cli: CommandLine, monkeypatch) -> None:
    monkeypatch.setenv("CREDSTORE_STORES", str(Path("stores.toml").absolute()))
    url = os.environ["CREDSTORE_URL"]
    assert "--store-id" in cli("stores", "add", "s", url, "--wrapping-key", "a.key", code=2).err
    cli("stores", "add", "sealed", url, *SEALED)
    assert (
        "off" in cli("stores", "add", "--json", "plain", url, "--wrapping-key", "off", "--store-id", "x").out
    )
    assert RAW.hex() not in Path("stores.toml").read_text()
    Path("elsewhere").mkdir()
    Path("elsewhere/x").write_bytes(PLAIN)
    monkeypatch.chdir("elsewhere")
    cli("--store", "sealed", "put", "x", "k")
    assert cli("--store", "sealed", "cat", "k").out.encode() == PLAIN
    assert "[ENCRYPTED]" in cli("--store", "plain", "cat", "k", code=2).err
    several = f"multi://redundant?store={url}/1&store={url}/2"
    assert "URL of each" in cli("stores", "add", "m", several, *SEALED, code=2).err


def test_a_store_is_checked_without_its_encryption(cli: CommandLine) -> None:
    """What the bucket does is looked at, and what credstore does with it is not."""
    cli.root.mkdir()
    assert (
        "everything tried that is granted is honoured"
        in cli("check-provider", "--quick", "--samples", "1", os.environ["CREDSTORE_URL"], *SEALED).out
    )


def test_no_dictionary_of_what_is_encrypted_is_kept(cli: CommandLine) -> None:
    for number in range(60):
        cli.put(f"r/{number}", PLAIN * 9 + str(number).encode(), *SEALED)
    told = cli("dictionary", "train", "r/", "--size", "4KiB", *SEALED, code=1)
    assert "kept unencrypted" in told.err
    assert all(b"claim" not in path.read_bytes() for path in cli.root.rglob("*") if path.is_file())
