import asyncio
import hashlib
import os
import stat
import time
from contextlib import ExitStack

import pytest

from credstore.driver import CREATE, CopyRequest, Precondition, ReadOptions
from credstore.encryption import CustomerKey
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageConfigurationError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StoragePreconditionFailedError,
    StorageTimeoutError,
    StorageUnsupportedError,
)

from .children import child
from .crash_child import work
from .support import StreamBody, leftovers, list_keys, make_driver, put_request, read_pair

AWKWARD = [
    "a",
    "a/b",
    "a/b/c",
    "x/",
    "//",
    "/",
    "..",
    ".",
    "../../etc/passwd",
    ".credstore/format",
    "é/" + "z" * 300,
    "x" * 1024,
    "/".join("y" * 512),
    "+ % ? # & ' \" ~ *",
]


def test_awkward_keys_hold_their_own_objects_and_list_in_order(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        for key in AWKWARD:
            await driver.put(put_request(key, key.encode()))
        for key in AWKWARD:
            assert await read_pair(driver, key) == key.encode()
        assert await list_keys(driver, limit=2) == sorted(AWKWARD, key=str.encode)
        for key in AWKWARD:
            assert (await driver.delete(key)).existed
        assert await list_keys(driver) == []
        await driver.aclose()

    asyncio.run(run())
    assert leftovers(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == [".credstore"]


@pytest.mark.parametrize("order", [("a", "a/b"), ("a/b", "a"), ("a", "a/b/c", "a/b")])
def test_a_key_and_keys_below_it_live_together(tmp_path, order):
    async def run():
        driver = make_driver(tmp_path)
        for key in order:
            await driver.put(put_request(key, key.encode()))
        for key in order:
            assert await read_pair(driver, key) == key.encode()
            await driver.put(put_request(key, b"again " + key.encode()))
        assert await list_keys(driver) == sorted(order)
        for key in order:
            assert (await driver.delete(key)).existed
            assert not (await driver.delete(key)).existed
        await driver.aclose()

    asyncio.run(run())


def test_no_read_is_lost_while_an_object_makes_way_for_a_directory(tmp_path):
    async def run():
        driver = make_driver(tmp_path, threads=4, fsync=False)
        await driver.put(put_request("a", b"kept"))

        async def read():
            for _ in range(150):
                assert await read_pair(driver, "a") == b"kept"

        async def write():
            for number in range(30):
                await driver.put(put_request(f"a/{number}", b"below"))
                await driver.delete(f"a/{number}")

        await asyncio.gather(read(), write())
        await driver.aclose()

    asyncio.run(run())


def test_plain_bytes_are_in_plain_files_and_foreign_files_are_objects(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/page.html").write_bytes(b"<p>")

    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("sub/proof.json", b"{}"))
        assert (tmp_path / "sub/proof.json").read_bytes() == b"{}"
        reader = await driver.get("sub/page.html")
        assert await reader.read() == b"<p>"
        assert reader.info.digest is None
        assert reader.info.write_id is None
        assert reader.info.headers.content_type == "text/html"
        assert await list_keys(driver) == ["sub/page.html", "sub/proof.json"]
        copied = await driver.copy(CopyRequest(source=reader.info, destination="copy", write_id="0" * 32))
        assert copied.digest == hashlib.sha256(b"<p>").digest()
        await driver.put(put_request("sub/page.html", b"ours", Precondition("replace", reader.info.etag)))
        assert await read_pair(driver, "sub/page.html") == b"ours"
        await driver.aclose()

    asyncio.run(run())


def test_touching_a_file_keeps_its_attributes(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("k", b"same"))
        os.utime(tmp_path / "k", ns=(1, 1))
        assert await read_pair(driver, "k") == b"same"
        await driver.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("change", [b"diff", b"sam", b"same and more", b""])
def test_a_file_that_was_changed_never_passes_for_the_object(tmp_path, change):
    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("k", b"same"))
        await driver.put(put_request("other", b"x"))
        (tmp_path / "k").write_bytes(change)
        for call in (driver.get("k"), driver.head("k")):
            with pytest.raises(StorageIntegrityError) as caught:
                await call
            assert caught.value.code == "CHANGED_OUTSIDE"
        assert await list_keys(driver) == ["k", "other"]
        await driver.put(put_request("k", b"again"))
        assert await read_pair(driver, "k") == b"again"
        (tmp_path / "k").write_bytes(change)
        assert (await driver.delete("k")).existed
        (tmp_path / "k").write_bytes(b"of another tool")
        reader = await driver.get("k")
        assert await reader.read() == b"of another tool"
        assert reader.info.write_id is None
        await driver.aclose()

    asyncio.run(run())


def test_a_file_of_another_tool_is_readable_while_it_is_replaced(tmp_path):
    """Its successor's attributes are there before the successor; they are not taken for its own."""
    (tmp_path / "k").write_bytes(b"theirs")

    async def run():
        driver = make_driver(tmp_path)
        objects = driver._objects()
        real = objects._keep
        seen = []

        def keep(shelf, file, token, attributes, replaced):
            kept = real(shelf, file, token, attributes, replaced)
            opened = objects.lookup.open("k")
            seen.append((os.read(opened.fd, 100), opened.attributes.write_id))
            opened.close()
            return kept

        objects._keep = keep
        await driver.put(put_request("k", b"ours"))
        assert seen == [(b"theirs", None)]
        assert await read_pair(driver, "k") == b"ours"
        await driver.aclose()

    asyncio.run(run())


def test_damage_that_keeps_size_and_time_is_found(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("k", b"good"))
        status = (tmp_path / "k").stat()
        (tmp_path / "k").write_bytes(b"evil")
        os.utime(tmp_path / "k", ns=(status.st_mtime_ns, status.st_mtime_ns))
        with pytest.raises(StorageIntegrityError):
            await (await driver.get("k")).read()
        await driver.aclose()

    asyncio.run(run())


def test_links_and_special_files_are_no_objects_and_lead_nowhere(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside / "secret")
    (root / "dir").symlink_to(outside)
    os.mkfifo(root / "fifo")

    async def run():
        driver = make_driver(root)
        for key in ("link", "dir/secret", "fifo"):
            with pytest.raises(StorageNotFoundError):
                await driver.get(key)
            assert not (await driver.delete(key)).existed
        with pytest.raises(StorageAccessDeniedError):
            await driver.put(put_request("dir/new", b"x"))
        for key in ("link", "fifo"):
            await driver.put(put_request(key, b"ours", CREATE))
            assert await read_pair(driver, key) == b"ours"
        assert await list_keys(driver) == ["fifo", "link"]
        await driver.aclose()

    asyncio.run(run())
    assert (outside / "secret").read_bytes() == b"secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (root / "link").is_symlink()
    assert stat.S_ISFIFO((root / "fifo").stat().st_mode)


def test_a_planted_control_link_is_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root/.credstore").symlink_to(tmp_path / "elsewhere")

    async def run():
        driver = make_driver(tmp_path / "root")
        with pytest.raises(StorageConfigurationError, match="credstore"):
            await driver.put(put_request("k", b"x"))
        await driver.aclose()

    asyncio.run(run())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_conditions(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        first = await driver.put(put_request("k", b"1", CREATE))
        with pytest.raises(StorageAlreadyExistsError):
            await driver.put(put_request("k", b"2", CREATE))
        second = await driver.put(put_request("k", b"2", Precondition("replace", first.etag)))
        for attempt in (
            driver.put(put_request("k", b"3", Precondition("replace", first.etag))),
            driver.put(put_request("absent", b"3", Precondition("replace", first.etag))),
            driver.delete("k", if_match=first.etag),
            driver.delete("absent", if_match=first.etag),
            driver.get("k", ReadOptions(if_match=first.etag)),
            driver.head("k", ReadOptions(if_match=first.etag)),
        ):
            with pytest.raises(StoragePreconditionFailedError):
                await attempt
        assert (await driver.head("k")).etag == second.etag == (await driver.list()).entries[0].etag
        assert (await driver.delete("k", if_match=second.etag)).existed
        await driver.aclose()

    asyncio.run(run())


def test_sixteen_tasks_create_one_key_and_one_wins(tmp_path):
    async def run():
        drivers = [make_driver(tmp_path) for _ in range(4)]
        puts = (drivers[n % 4].put(put_request("k", b"writer %d" % n, CREATE)) for n in range(16))
        results = await asyncio.gather(*puts, return_exceptions=True)
        won = [n for n, result in enumerate(results) if not isinstance(result, BaseException)]
        assert len(won) == 1
        assert all(isinstance(r, StorageAlreadyExistsError) for n, r in enumerate(results) if n != won[0])
        assert await read_pair(drivers[0], "k") == b"writer %d" % won[0]
        for driver in drivers:
            await driver.aclose()

    asyncio.run(run())


def test_processes_create_one_key_and_one_wins(tmp_path):
    with ExitStack() as stack:
        pipes = [stack.enter_context(child(work, str(tmp_path), "create", "none", 1)).pipe for _ in range(6)]
        assert [pipe.recv() for pipe in pipes] == ["ready"] * 6
        for pipe in pipes:
            pipe.send("now")
        answers = [pipe.recv() for pipe in pipes]
    assert sorted(answers) == ["done"] + ["exists"] * 5


def test_processes_that_increment_lose_nothing(tmp_path):
    async def run():
        drivers = [make_driver(tmp_path, fsync=False) for _ in range(4)]
        await drivers[0].put(put_request("n", b"0"))

        async def increment(driver):
            done = 0
            while done < 10:
                reader = await driver.get("n")
                number = int(await reader.read())
                try:
                    await driver.put(
                        put_request("n", b"%d" % (number + 1), Precondition("replace", reader.info.etag))
                    )
                    done += 1
                except StoragePreconditionFailedError:
                    continue

        await asyncio.gather(*map(increment, drivers))
        assert await read_pair(drivers[0], "n") == b"40"
        for driver in drivers:
            await driver.aclose()

    asyncio.run(run())
    assert leftovers(tmp_path) == []


def test_readers_see_whole_pairs_while_writers_replace(tmp_path):
    async def run():
        driver = make_driver(tmp_path, threads=4, fsync=False)
        await driver.put(put_request("k", b"0" * 3_000))

        async def write(start):
            for number in range(40):
                await driver.put(put_request("k", b"%d" % (start + number) * 1_000))

        async def read():
            for _ in range(80):
                await read_pair(driver, "k")

        await asyncio.gather(write(0), write(100), read(), read())
        await driver.aclose()

    asyncio.run(run())
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("group", [False, True])
def test_what_progress_raises_ends_the_write_of_bytes(tmp_path, group):
    def ends(done, total):
        assert (done, total) == (3, 3)
        raise ZeroDivisionError

    async def run():
        driver = make_driver(tmp_path, group_commit=group)
        with pytest.raises(ZeroDivisionError):
            await driver.put(put_request("k", b"new", progress=ends))
        assert await list_keys(driver) == []
        await driver.aclose()

    asyncio.run(run())


def test_streams_ranges_and_copies_of_large_objects(tmp_path):
    data = os.urandom(3_000_001)

    async def run():
        driver = make_driver(tmp_path)
        seen = []
        body = StreamBody([data[at : at + 70_000] for at in range(0, len(data), 70_000)])
        request = put_request("big", data, body=body, progress=lambda done, total: seen.append((done, total)))
        result = await driver.put(request)
        assert result.digest == hashlib.sha256(data).digest()
        assert seen[-1] == (len(data), None)
        assert await read_pair(driver, "big") == data
        part = await driver.get("big", ReadOptions(start=5, end=2_500_000))
        assert await part.read() == data[5:2_500_000]
        head = await driver.head("big")
        await driver.copy(CopyRequest(source=head, destination="twin", write_id="1" * 32))
        assert await read_pair(driver, "twin") == data
        assert (await driver.head("twin")).write_id == "1" * 32
        await driver.put(put_request("big", b"new"))
        with pytest.raises(StoragePreconditionFailedError):
            await driver.copy(CopyRequest(source=head, destination="late", write_id="2" * 32))
        with pytest.raises(StorageInvalidRequestError) as caught:
            await driver.get("big", ReadOptions(start=3))
        assert caught.value.code == "INVALID_RANGE"
        await driver.put(put_request("empty", b""))
        assert await (await driver.get("empty")).read() == b""
        await driver.aclose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (StreamBody([b"x" * 600_000], error=RuntimeError("source")), RuntimeError),
        (StreamBody([b"x"], length=2), StorageInvalidRequestError),
        (StreamBody([b"xxx"], length=2), StorageInvalidRequestError),
    ],
)
def test_a_body_that_fails_leaves_nothing(tmp_path, body, error):
    async def run():
        driver = make_driver(tmp_path)
        with pytest.raises(error):
            await driver.put(put_request("k", b"", body=body))
        assert await list_keys(driver) == []
        await driver.aclose()

    asyncio.run(run())
    assert leftovers(tmp_path) == []


def test_a_wrong_digest_is_refused(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.put(put_request("k", b"x", digest=b"\0" * 32))
        assert caught.value.applied == "no"
        assert await list_keys(driver) == []
        await driver.aclose()

    asyncio.run(run())


def test_nothing_appears_after_a_cancellation(tmp_path):
    async def run():
        driver = make_driver(tmp_path, threads=1)
        await driver.put(put_request("first", b"1"))
        for turns in range(12):
            key = f"k{turns}"
            task = asyncio.create_task(driver.put(put_request(key, b"x" * 400_000)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            there = (tmp_path / key).exists()
            await driver.ping()
            assert (tmp_path / key).exists() == there
        stream = StreamBody([b"x" * 600_000] * 3)
        task = asyncio.create_task(driver.put(put_request("stream", b"", body=stream)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not (tmp_path / "stream").exists()
        await driver.aclose()

    asyncio.run(run())
    assert list((tmp_path / ".credstore/tmp").iterdir()) == []


def test_twenty_five_thousand_objects_list_exactly_once(tmp_path):
    names = sorted(f"d{n % 50:02}/{n:05}" if n % 5 else f"flat-{n:05}" for n in range(25_000))
    for each in {name.partition("/")[0] for name in names if "/" in name}:
        (tmp_path / each).mkdir()
    for name in names:
        os.close(os.open(tmp_path / name, os.O_CREAT | os.O_WRONLY))

    async def run():
        driver = make_driver(tmp_path)
        assert await list_keys(driver) == names
        assert await list_keys(driver, "d07/") == [name for name in names if name.startswith("d07/")]
        assert await list_keys(driver, "flat-0001") == [
            name for name in names if name.startswith("flat-0001")
        ]
        assert await list_keys(driver, "none/") == []
        await driver.aclose()

    asyncio.run(run())


def test_roots_that_cannot_be_used_say_what_to_do(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cases = [
        (make_driver(tmp_path / "missing", create=False), "create it"),
        (make_driver(tmp_path / "file"), "not a directory"),
        (make_driver(tmp_path / "file/below"), "not a directory"),
    ]

    async def run():
        for driver, text in cases:
            with pytest.raises(StorageConfigurationError, match=text):
                await driver.ping()
            await driver.aclose()
        driver = make_driver(tmp_path / "made/by/us")
        await driver.ping()
        (tmp_path / "made/by/us").rename(tmp_path / "made/by/them")
        with pytest.raises(StorageConfigurationError, match="missing"):
            await driver.ping()
        await driver.aclose()
        await driver.aclose()
        with pytest.raises(StorageInvalidRequestError, match="closed"):
            await driver.ping()

    asyncio.run(run())


def test_what_is_not_there_is_refused(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("k", b"x"))
        for attempt in (
            driver.put(put_request("k", b"y", storage_class="COLD")),
            driver.put(put_request("k", b"y", encryption="AES256")),
            driver.get("k", ReadOptions(version_id="1")),
            driver.head("k", ReadOptions(customer_key=CustomerKey(b"k" * 32))),
            driver.delete("k", version_id="1"),
        ):
            with pytest.raises(StorageUnsupportedError):
                await attempt
        past = time.monotonic() - 1
        with pytest.raises(StorageTimeoutError) as caught:
            await driver.put(put_request("k", b"y", deadline=past))
        assert caught.value.applied == "no"
        assert await read_pair(driver, "k") == b"x"
        await driver.aclose()

    asyncio.run(run())
