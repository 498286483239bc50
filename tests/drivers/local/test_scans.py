"""Pages of a listing on a disk: in order and whole whatever the names are, and little is kept between them."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.drivers.local import listing, scans, snapshots
from credstore.drivers.local import names as spelling
from credstore.drivers.local.listing import Asked
from credstore.drivers.local.scans import Scans
from credstore.drivers.local.snapshots import Spool
from credstore.testing.harness import names
from tests.drivers.local.support import list_keys, make_driver, open_files, put_request

SEGMENTS = st.one_of(
    st.sampled_from(
        [
            "a",
            "a-",
            "a-b",
            "a.b",
            "a0",
            "A",
            "b",
            "é",
            "\uffee",
            "\U0001f600",
            "",
            "..",
            ".credstore",
            "x" * 300,
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), max_size=3),
)
KEYS = st.sets(st.lists(SEGMENTS, min_size=1, max_size=4).map("/".join).filter(bool), min_size=1, max_size=25)


def expected(keys, prefix, after, delimiter):
    found = set()
    for key in keys:
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if cut < 0 else key[: cut + len(delimiter)])
    return sorted((name for name in found if name.encode() > after.encode()), key=str.encode)


ASKED = st.tuples(
    st.one_of(st.just(""), SEGMENTS, SEGMENTS.map("{}/".format)),
    st.one_of(st.just(""), SEGMENTS, st.lists(SEGMENTS, max_size=3).map("/".join)),
    st.sampled_from([None, "/", "-", "a"]),
)


@given(keys=KEYS, asked=ASKED, limit=st.integers(1, 7), small=st.booleans())
def test_pages_are_the_sorted_keys(tmp_path_factory, keys, asked, limit, small):
    """Also where directories are packed, spooled to a file and read in runs, and where each page starts anew."""
    root = tmp_path_factory.mktemp("root")
    prefix, after, delimiter = asked
    options = {"start_after": after or None, "delimiter": delimiter, "limit": limit}

    async def main(patch):
        driver = make_driver(root, fsync=False)
        for key in keys:
            await driver.put(put_request(key, b"x"))
        wanted = expected(keys, prefix, after, delimiter)
        found = await names(driver, prefix, **options)
        assert found == wanted
        for keeping in (1, 0):
            patch.setattr(scans, "MOST", keeping)
            patch.setattr(snapshots, "LARGE", 0 if keeping else snapshots.LARGE)
            assert await names(driver, prefix, **options) == wanted
        await driver.aclose()

    with pytest.MonkeyPatch.context() as patch:
        if small:
            patch.setattr(snapshots, "_FEW", 1)
            patch.setattr(snapshots, "_RUN", 2)
            patch.setattr(snapshots, "_PIECE", 1500)
            patch.setattr(snapshots, "RUN", 3)
            patch.setattr(spelling, "_RUN", 2)
            patch.setattr(listing, "_MORE", 0)
            patch.setattr(listing, "_OPEN", 1)
            patch.setattr(listing, "Spool", lambda: Spool(40))
        asyncio.run(main(patch))


def test_a_cursor_works_for_another_driver_at_the_cost_of_one_read(tmp_path, monkeypatch):
    for number in range(50):
        (tmp_path / f"{number:02d}").write_bytes(b"")
    reads = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda place: reads.append(place) or listdir(place))

    async def main():
        cursor, found = None, []
        while True:
            driver = make_driver(tmp_path)
            page = await driver.list(cursor=cursor, limit=20)
            found += [entry.key for entry in page.entries]
            cursor = page.cursor
            await driver.aclose()
            if cursor is None:
                return found

    assert asyncio.run(main()) == [f"{number:02d}" for number in range(50)]
    assert (
        len([place for place in reads if not str(place).startswith("/proc")]) == 3
    )  # Dask's monitor reads that.


def test_what_goes_away_between_pages_is_not_shown_and_what_stays_is(tmp_path):
    async def main():
        driver = make_driver(tmp_path, fsync=False)
        for key in ("a", "b", "c", "d", "e/1", "f/1", "g"):
            await driver.put(put_request(key, b"x"))
        page = await driver.list(limit=1)
        found = [entry.key for entry in page.entries]
        await driver.delete("b")  # Seen already, when the first page looked whether there are more.
        await driver.delete("d")
        await driver.put(put_request("c/below", b"x"))  # The object "c" makes way for a directory.
        await driver.delete("f/1")
        while page.cursor is not None:
            page = await driver.list(cursor=page.cursor, limit=1)
            found += [entry.key for entry in page.entries]
        await driver.aclose()
        return found

    found = asyncio.run(main())
    assert [key for key in found if key != "c/below"] == ["a", "c", "e/1", "g"]


def test_between_pages_no_directory_is_open_and_at_the_end_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "Spool", lambda: Spool(0))
    for number in range(600):
        (tmp_path / f"{number:03d}").mkdir()
        (tmp_path / f"{number:03d}/x").write_bytes(b"")

    async def main():
        driver = make_driver(tmp_path)
        page = await driver.list(limit=1)
        await driver.list(cursor=page.cursor, limit=1)
        before = open_files()
        page = await driver.list(limit=300)
        more = [path for fd, path in open_files().items() if fd not in before]
        assert len(driver._scans) == 2
        assert len(more) == 1, more  # The names of the first directory, in a file that has no name.
        assert "deleted" in str(more[0])
        while page.cursor is not None:
            page = await driver.list(cursor=page.cursor, limit=300)
        assert len(driver._scans) == 1
        await driver.aclose()
        assert len(driver._scans) == 0

    whole = set(open_files())
    asyncio.run(main())
    assert set(open_files()) <= whole


def test_few_walks_are_kept_and_for_a_short_time(tmp_path, monkeypatch):
    for number in range(40):
        (tmp_path / f"{number:02d}").write_bytes(b"")
    moment = [0.0]
    timers = []

    class Loop:
        def call_later(self, seconds, call):
            timers.append((seconds, call))
            return asyncio.TimerHandle(0, call, (), asyncio.get_running_loop())

    async def main():
        driver = make_driver(tmp_path)
        kept = driver._scans = Scans(lambda: moment[0])
        monkeypatch.setattr(kept, "_loop", Loop)
        for limit in range(1, 31):
            await driver.list(limit=limit)
        assert len(kept) == scans.MOST
        assert [seconds for seconds, _ in timers] == [scans.IDLE]
        moment[0] = scans.IDLE / 2
        await driver.list(cursor="29", limit=2)
        moment[0] = scans.IDLE
        timers.pop()[1]()
        assert len(kept) == 1
        assert [seconds for seconds, _ in timers] == [scans.IDLE / 2]
        moment[0] = scans.IDLE * 2
        timers.pop()[1]()
        assert (len(kept), timers) == (0, [])
        await driver.aclose()

    asyncio.run(main())


def test_names_kept_for_all_walks_have_a_limit(tmp_path, monkeypatch):
    for number in range(400):
        (tmp_path / f"{number:0100d}").write_bytes(b"")
    monkeypatch.setattr(scans, "MOST_HELD", 150_000)

    async def main():
        driver = make_driver(tmp_path)
        for limit in (300, 301, 302, 303, 304, 305):
            await driver.list(limit=limit)
        assert len(driver._scans) == 3
        await driver.aclose()

    asyncio.run(main())


def test_a_page_that_nobody_gets_leaves_nothing(tmp_path, monkeypatch):
    for number in range(40):
        (tmp_path / f"{number:02d}").write_bytes(b"")
    closed = []
    close = scans.Scan.close
    monkeypatch.setattr(scans.Scan, "close", lambda self: closed.append(self) or close(self))

    async def main():
        driver = make_driver(tmp_path)
        page = await driver.list(limit=10)
        turn = driver._turn

        def turned(*arguments):
            loop.call_soon_threadsafe(task.cancel)
            return turn(*arguments)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(driver, "_turn", turned)
        task = asyncio.ensure_future(driver.list(cursor=page.cursor, limit=10))
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(driver._scans) == 0
        assert closed
        monkeypatch.setattr(driver, "_turn", turn)
        assert await list_keys(driver, limit=10) == [f"{number:02d}" for number in range(40)]
        await driver.aclose()

    asyncio.run(main())


def test_a_directory_that_is_gone_at_the_next_page_ends_there(tmp_path):
    for number in range(20):
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / f"d/{number:02d}").write_bytes(b"")
    (tmp_path / "e").write_bytes(b"")

    async def main():
        driver = make_driver(tmp_path)
        page = await driver.list(limit=5)
        (tmp_path / "d").rename(tmp_path / "z")
        page = await driver.list(cursor=page.cursor, limit=100)
        await driver.aclose()
        return [entry.key for entry in page.entries]

    assert asyncio.run(main()) == ["e"]


@given(st.lists(st.text(max_size=3), min_size=1, max_size=60), st.data())
def test_the_least_of_many_names(found, data):
    first = data.draw(st.integers(1, len(found)))
    assert snapshots._least(found, first) == sorted(found)[:first]


def test_where_no_file_can_be_made_the_names_stay_in_memory(monkeypatch):
    def refuse(**options):
        raise OSError(28, "full")

    monkeypatch.setattr(snapshots.tempfile, "TemporaryFile", refuse)
    spool = Spool(0)
    packed = spool.pack(["a", "b"])
    assert list(packed.names()) == ["a", "b"]
    assert spool.held == 3
    packed.release()
    assert spool.held == 0
    spool.close()


def test_asked_leads_only_where_something_is_wanted():
    asked = Asked(prefix="", after="a-b")
    assert asked.below("", ["a", "a-", "a-b", "a-b/", "b", "A"]) == ["a", "a-", "a-b", "a-b/", "b"]
    assert asked.leads("a/")
    assert not asked.leads("A/")
