"""Whose a file is, as a table: nothing is told by size or time alone."""

import asyncio
from dataclasses import replace

import pytest

from credstore.drivers.local.atomic import Token
from credstore.drivers.local.attributes import Record, Shelf, foreign
from credstore.drivers.local.belonging import Mark, Verdict, belonging

from .support import make_driver, put_request

OURS, OTHER = "a" * 64, "b" * 64
FILE = Token(size=10, mtime=500, inode=7, changed=900)


def record(write_id="1", *, digest=OURS, size=10, inode=7, replaced=None):
    attributes = foreign("k")
    return Record(replace(attributes, write_id=write_id, digest=digest), size, inode, replaced)


def told(records, mark=None, digest=OURS):
    found = belonging(records, FILE, lambda: digest, mark)
    return found if isinstance(found, Verdict) else found[1].attributes.write_id


PUT = Mark("k", write_id="new")
PENDING = record("new", inode=8, replaced=FILE.identity)


@pytest.mark.parametrize(
    ("records", "mark", "digest", "whose"),
    [
        # Nothing is kept, or what is kept is of other versions.
        ({}, None, OTHER, Verdict.FOREIGN),
        ({}, PUT, OTHER, Verdict.FOREIGN),
        ({FILE.label: record()}, None, OTHER, "1"),
        ({FILE.label: record(inode=99)}, None, OTHER, "1"),  # a restored store
        ({"a-1": record()}, None, OURS, "1"),  # only touched
        ({"a-1": record()}, None, OTHER, Verdict.CHANGED),
        ({"b-1": record(size=11)}, None, OURS, Verdict.CHANGED),
        # A version that was not published over this very file, its mark there or lost.
        ({FILE.label: PENDING}, PUT, OTHER, Verdict.FOREIGN),
        ({FILE.label: PENDING}, None, OTHER, Verdict.FOREIGN),
        ({FILE.label: PENDING}, None, OURS, Verdict.FOREIGN),
        ({"a-1": PENDING}, PUT, OURS, Verdict.FOREIGN),
        ({"a-1": PENDING}, None, OTHER, Verdict.FOREIGN),
        ({FILE.label: record(), "a-1": PENDING}, PUT, OTHER, "1"),
        ({"a-2": record(), "a-1": PENDING}, PUT, OURS, "1"),
        ({"a-2": record(), "a-1": PENDING}, PUT, OTHER, Verdict.CHANGED),
        # One that may have been published: its bytes tell.
        ({FILE.label: record("new", inode=8)}, PUT, OURS, "new"),
        ({FILE.label: record("new", inode=8)}, PUT, OTHER, Verdict.FOREIGN),
        ({FILE.label: record("new", inode=7)}, PUT, OTHER, Verdict.CHANGED),
        ({"a-1": record("new", inode=8, replaced="gone")}, PUT, OURS, "new"),
        ({"a-1": record("new", inode=8, replaced="gone")}, PUT, OTHER, Verdict.FOREIGN),
        ({"a-1": record("new", inode=8, replaced="gone")}, None, OTHER, Verdict.CHANGED),
        # A deletion that was begun: of this file, or of one that is gone.
        ({"a-1": record()}, Mark("k", removed=FILE.identity), OTHER, Verdict.CHANGED),
        ({FILE.label: record()}, Mark("k", removed=FILE.identity), OTHER, "1"),
        ({FILE.label: record()}, Mark("k", removed="gone"), OTHER, Verdict.FOREIGN),
        ({"a-1": record()}, Mark("k", removed="gone"), OTHER, Verdict.FOREIGN),
        ({"a-1": record()}, Mark("k", removed="gone"), OURS, "1"),
        # What cannot be read.
        ({FILE.label: None}, None, OTHER, Verdict.DAMAGED),
        ({"a-1": None}, None, OTHER, Verdict.FOREIGN),
    ],
)
def test_whose_a_file_is(records, mark, digest, whose):
    assert told(records, mark, digest) == whose


def test_the_bytes_are_read_only_where_nothing_else_tells():
    def unread():
        raise AssertionError

    for records in ({}, {FILE.label: record()}, {"a-1": PENDING}, {"b-1": record(size=11)}):
        belonging(records, FILE, unread, None)


@pytest.mark.parametrize("mark", [PUT, Mark("é/" + "x" * 1000, removed=FILE.identity), Mark("k")])
def test_a_mark_comes_back_whole_or_not_at_all(mark):
    data = mark.encode()
    assert Mark.decode(data) == Mark.decode(data.ljust(3000, b"\0")) == mark
    for end in range(len(data)):
        assert Mark.decode(data[:end].ljust(3000, b"\0")) is None
    for end in range(len(data) - 1):
        assert Mark.decode(data[:end]) is None
    # What an earlier version wrote, which had no sign, and cut the file.
    assert Mark.decode(data[:-1]) == mark


def test_a_file_put_where_an_object_was_deleted_is_its_own_though_cleaning_up_failed(tmp_path, monkeypatch):
    """The mark of the deletion says so at first; once it was cleaned up after, nothing is left to be mistaken."""

    async def read(driver):
        reader = await driver.get("k")
        return await reader.read(), reader.info.write_id

    async def run():
        driver = make_driver(tmp_path, fsync=False)
        await driver.put(put_request("k", b"ours"))
        with monkeypatch.context() as patch:

            def sweep(self, keep):
                raise OSError(5, "no")

            patch.setattr(Shelf, "sweep", sweep)
            assert (await driver.delete("k")).existed
        for cleaned in (False, True):
            for data in (b"other", b"same", b"ours!"):
                (tmp_path / "k").write_bytes(data)
                assert await read(driver) == (data, None)
            if not cleaned:
                await driver.aclose()
                driver = make_driver(tmp_path, fsync=False)
                await driver.put(put_request("another", b"x"))
        await driver.aclose()

    asyncio.run(run())
