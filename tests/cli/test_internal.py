"""The command line shows and deletes users' objects only."""

import pytest

from tests.cli.conftest import CommandLine
from tests.servers.records import records

RECORDS = records(120)
HOME = ".credstore-.credstore"
"""The directory that the local driver gives the segment `.credstore` of a key."""


@pytest.fixture
def stocked(cli: CommandLine) -> CommandLine:
    for number, record in enumerate(RECORDS):
        place = cli.root / f"proofs/{number:03}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(record)
    name = cli("dictionary", "train", "proofs/", "--quiet", "--size", "16KiB").out.strip()
    cli.put("packed", RECORDS[0], "--dictionary", name)
    cli.put(".config", b"a user's")
    assert (cli.root / HOME / "dictionaries" / name).is_file()
    return cli


def test_listings_and_totals_are_of_users_objects(stocked: CommandLine) -> None:
    keys = stocked("ls").out.splitlines()
    assert len(keys) == 122
    assert not any("credstore" in key for key in keys)
    assert stocked("ls", "--no-recursive").out.splitlines() == [".config", "packed", "proofs/"]
    assert stocked("ls", ".").out.splitlines() == [".config"]
    assert stocked("ls", "--max-keys", "1").out.splitlines() == [".config"]
    assert stocked("stats", "--json").document["total_objects"] == 122


def test_deleting_by_a_prefix_leaves_the_dictionary_that_others_need(stocked: CommandLine) -> None:
    stocked("rm", "--prefix", ".", "--yes")
    stocked("rm", "--prefix", "proofs/", "--yes")
    assert stocked("ls").out.splitlines() == ["packed"]
    assert stocked("cat", "packed").out.encode() == RECORDS[0]


@pytest.mark.parametrize(
    "command",
    [
        ("ls", ".credstore/"),
        ("stats", ".credstore/dictionaries/"),
        ("rm", "--prefix", ".credstore/", "--yes"),
        ("rm", ".credstore/x"),
        ("cat", ".credstore/x"),
        ("get", ".credstore/x", "fetched"),
        ("stat", ".credstore/x"),
        ("put", "file", "a/.credstore/x"),
        ("cp", ".credstore/x", "b"),
        ("cp", "packed", ".credstore/x"),
        ("mv", "packed", ".credstore/x"),
        ("link", ".credstore/x"),
        ("link", ".credstore/x", "--method", "PUT"),
        ("dictionary", "train", ".credstore/"),
    ],
)
def test_a_name_inside_it_is_refused_with_the_code_of_a_wrong_argument(stocked: CommandLine, command) -> None:
    (stocked.root.parent / "here" / "file").write_bytes(b"x")
    assert "RESERVED_KEY" in stocked(*command, code=2).err
    assert stocked("cat", "packed").out.encode() == RECORDS[0]
