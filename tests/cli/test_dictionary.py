"""`credstore dictionary`: train on what is in the store, use it, list it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import CommandLine
from tests.servers.records import records

RECORDS = records(120)


@pytest.fixture
def stocked(cli: CommandLine) -> CommandLine:
    for number, record in enumerate(RECORDS):
        place = cli.root / f"proofs/{number:03}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(record)
    return cli


def test_train_use_list_and_train_again(stocked: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = stocked("dictionary", "train", "proofs/", "--size", "32KiB")
    name = trained.out.strip()
    assert len(name) == 64
    assert "trained on 108 objects; 12 others shrink from" in trained.err
    assert "times smaller than zstd alone" in trained.err
    assert stocked("dictionary", "list", "--json").document[0]["size"] <= 32 * 1024
    stocked.put("one", RECORDS[0], "--dictionary", name)
    monkeypatch.setenv("CREDSTORE_COMPRESS", "zstd")
    monkeypatch.setenv("CREDSTORE_DICTIONARY", name)
    stocked.put("two", RECORDS[1])
    for key, record in (("one", RECORDS[0]), ("two", RECORDS[1])):
        document = stocked("stat", key, "--json").document
        assert (document["dictionary"], document["compression"]) == (name, "zstd")
        assert document["size"] < 1500
        assert stocked("cat", key).out.encode() == record
    again = stocked("dictionary", "train", "--json", "--samples", "60", "--size", "16KiB").document
    assert again["name"] != name
    assert again["samples"] + again["measured"] == 60
    assert again["with_dictionary"] < again["alone"] < again["plain"]
    listed = stocked("dictionary", "list", "--json").document
    assert {each["name"] for each in listed} == {name, again["name"]}
    assert name in stocked("dictionary", "list").out
    assert stocked("cat", "one").out.encode() == RECORDS[0]


def test_an_object_that_cannot_be_read_is_told_as_ever(stocked: CommandLine) -> None:
    stocked.put("proofs/damaged", RECORDS[0])
    damaged = stocked.root / "proofs/damaged"
    damaged.write_bytes(damaged.read_bytes().swapcase())
    refused = stocked("dictionary", "train", "proofs/", code=7)
    assert "proofs/damaged" in refused.err
    assert "ExceptionGroup" not in refused.err


def test_a_missing_one_is_told(stocked: CommandLine) -> None:
    name = stocked("dictionary", "train", "proofs/", "--quiet").out.strip()
    stocked.put("one", RECORDS[0], "--dictionary", name)
    refused = stocked("rm", f".credstore/dictionaries/{name}", code=2)
    assert "RESERVED_KEY" in refused.err
    (stocked.root / f".credstore-.credstore/dictionaries/{name}").unlink()
    assert name in stocked("cat", "one", code=7).err
    other = "0" * 64
    Path("record.json").write_bytes(RECORDS[0])
    assert other in stocked("put", "record.json", "two", "--dictionary", other, code=7).err
    assert "64 hex digits" in stocked("put", "record.json", "two", "--dictionary", "x", code=2).err


@pytest.mark.parametrize(
    "arguments", [("dictionary", "train", "nothing/"), ("dictionary", "train", "proofs/00")]
)
def test_too_few_objects_are_told(stocked: CommandLine, arguments: tuple[str, ...]) -> None:
    for number in range(5, 10):
        (stocked.root / f"proofs/00{number}.json").unlink()
    ended = stocked(*arguments, code=2)
    assert "train" in ended.err
    assert stocked("dictionary", "list").out == ""
    assert "credstore dictionary train" in stocked("dictionary", "list").err


def test_help_tells_what_there_is(cli: CommandLine) -> None:
    text = cli("dictionary", "--help").out
    assert "train" in text
    assert "list" in text
    assert "--samples" in cli("dictionary", "train", "--help").out
    assert json.loads(cli("dictionary", "list", "--json").out) == []
