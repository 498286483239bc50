"""The file of a resumable upload: what is not exactly a token is never gone on with."""

import asyncio
import json
from dataclasses import asdict

import pytest

from credstore.driver import ResumeToken
from credstore.errors import StorageInvalidRequestError
from credstore.provider.resume_file import FileJournal

TOKEN = ResumeToken(
    place="https://bucket.example.com",
    key="k",
    size=30,
    digest="00" * 32,
    part_size=10,
    upload_id="U1",
    write_id="f" * 32,
    options="00" * 32,
)


def load(path):
    return asyncio.run(FileJournal(path).load())


def written(path, **changes):
    """The file of a token of which some facts were changed; one that is None is left out."""
    facts = {"version": 1, **asdict(TOKEN), **changes}
    path.write_text(json.dumps({name: value for name, value in facts.items() if value is not None}))
    return path


def test_a_token_comes_back_until_it_is_cleared(tmp_path):
    path = tmp_path / "photo.resume"
    assert load(path) is None
    asyncio.run(FileJournal(path).save(TOKEN))
    assert load(path) == TOKEN
    assert [each.name for each in tmp_path.iterdir()] == ["photo.resume"]
    asyncio.run(FileJournal(path).clear())
    asyncio.run(FileJournal(path).clear())
    assert load(path) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0},
        {"size": -1},
        {"part_size": 0},
        {"part_size": -10},
        {"size": "30"},
        {"size": 30.0},
        {"part_size": True},
        {"key": 7},
        {"upload_id": None},
        {"version": 2},
        {"version": None},
        {"more": "than there is"},
    ],
    ids=str,
)
def test_a_file_whose_facts_are_not_those_of_an_upload_is_refused(tmp_path, changes):
    with pytest.raises(StorageInvalidRequestError, match="delete it") as caught:
        load(written(tmp_path / "photo.resume", **changes))
    assert (caught.value.code, caught.value.applied) == ("RESUME_MISMATCH", "no")


def test_parts_and_bodies_of_one_byte_are_facts_of_an_upload(tmp_path):
    found = load(written(tmp_path / "photo.resume", size=1, part_size=1))
    assert (found.size, found.part_size) == (1, 1)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 60_000, b'"' + b"x" * 70_000 + b'"']
)
def test_a_file_that_is_something_else_is_refused(tmp_path, text):
    path = tmp_path / "photo.resume"
    path.write_bytes(text)
    with pytest.raises(StorageInvalidRequestError, match="delete it"):
        load(path)
    assert path.read_bytes() == text
