"""Retention on a disk: kept beside the file, respected by every writer, readable by older versions where unused."""

import asyncio
import json
import os
from datetime import UTC, datetime

import pytest

from credstore.driver import CopyRequest, Precondition
from credstore.errors import (
    ErrorCode,
    StorageIntegrityError,
    StorageObjectNotFoundError,
    StoragePreconditionFailedError,
    StorageRetainedError,
    StorageUnsupportedError,
)
from credstore.model import Retention
from tests.drivers.local.support import make_driver, put_request

FAR = datetime(2037, 1, 2, 3, 4, 5, tzinfo=UTC)
KEPT = Retention(mode="compliance", retain_until=FAR)


def on(root, test, **settings):
    async def main():
        driver = make_driver(root, **settings)
        try:
            return await test(driver)
        finally:
            await driver.aclose()

    return asyncio.run(main())


async def read(driver, key):
    async with await driver.get(key) as reader:
        return await reader.read()


def records(root):
    return [json.loads(path.read_text()) for path in (root / ".credstore/attributes").rglob("*.*")]


@pytest.mark.parametrize("group_commit", [False, True])
def test_another_process_respects_what_one_has_kept(tmp_path, group_commit):
    async def keep(driver):
        await driver.put(put_request("d/k", b"data", retention=KEPT))
        await driver.put(put_request("other", b"1"))

    async def break_it(driver):
        etag = (await driver.head("d/k")).etag
        source = await driver.head("other")
        copy = CopyRequest(source=source, destination="d/k", write_id="0" * 32)
        for call in (
            driver.put(put_request("d/k", b"new")),
            driver.put(put_request("d/k", b"new", precondition=Precondition("replace", etag))),
            driver.copy(copy),
            driver.delete("d/k"),
            driver.delete("d/k", if_match=etag),
        ):
            with pytest.raises(StorageRetainedError) as caught:
                await call
            assert (caught.value.retain_until, caught.value.applied) == (FAR, "no")
        with pytest.raises(StoragePreconditionFailedError):
            await driver.delete("d/k", if_match="another")
        outcomes = await driver.delete_many(["d/k", "other"])
        assert isinstance(outcomes["d/k"], StorageRetainedError)
        assert outcomes["other"].existed
        assert await read(driver, "d/k") == b"data"
        await driver.put(put_request("d/k/below", b"1"))  # Moves it aside, which is not a removal.
        with pytest.raises(StorageRetainedError):
            await driver.delete("d/k")
        assert await driver.get_retention("d/k") == KEPT
        assert await read(driver, "d/k") == b"data"

    on(tmp_path, keep, group_commit=group_commit)
    on(tmp_path, break_it, group_commit=group_commit)


def test_it_ends_by_the_clock(tmp_path):
    async def check(driver):
        await driver.put(put_request("k", b"data", retention=KEPT))
        with pytest.raises(StorageRetainedError):
            await driver.delete("k")

    async def later(driver):
        await driver.put(put_request("k", b"new"))
        assert await driver.get_retention("k") == Retention()

    on(tmp_path, check)
    on(tmp_path, later, clock=FAR.timestamp)


def test_locking_changes_nothing_else(tmp_path):
    async def check(driver):
        await driver.put(put_request("k", b"data", metadata={"a": "b"}, tags={"t": "u"}))
        before = await driver.head("k")
        await driver.set_retention("k", FAR, "governance")
        await driver.set_legal_hold("k", held=True)
        await driver.put_tags("k", {"t": "v"})
        assert await driver.head("k") == before
        assert await driver.get_tags("k") == {"t": "v"}
        assert await driver.get_retention("k") == Retention(
            mode="governance", retain_until=FAR, legal_hold=True
        )
        await driver.set_legal_hold("k", held=False)
        await driver.set_retention("k", None, "governance", bypass_governance=True)
        assert await driver.head("k") == before
        (record,) = records(tmp_path)
        assert "retention" not in record  # As earlier versions wrote it.

    on(tmp_path, check)


def test_a_file_of_another_tool_can_be_kept(tmp_path):
    (tmp_path / "foreign.txt").write_bytes(b"by hand")

    async def check(driver):
        await driver.set_legal_hold("foreign.txt", held=True)
        assert await read(driver, "foreign.txt") == b"by hand"
        assert (await driver.head("foreign.txt")).headers.content_type == "text/plain"
        with pytest.raises(StorageRetainedError):
            await driver.delete("foreign.txt")
        os.utime(tmp_path / "foreign.txt")  # Its bytes are the same.
        with pytest.raises(StorageRetainedError):
            await driver.put(put_request("foreign.txt", b"new"))
        await driver.set_legal_hold("foreign.txt", held=False)
        await driver.delete("foreign.txt")
        assert records(tmp_path) == []

    on(tmp_path, check)


def test_what_another_program_has_changed_can_be_stored_again(tmp_path):
    """Retention binds credstore, not other programs, and what they damaged must not block its repair."""

    async def check(driver):
        await driver.put(put_request("k", b"data", retention=KEPT))
        (tmp_path / "k").write_bytes(b"changed")
        with pytest.raises(StorageIntegrityError):
            await driver.get_retention("k")
        await driver.put(put_request("k", b"data", retention=KEPT))
        with pytest.raises(StorageRetainedError):
            await driver.delete("k")
        (tmp_path / "k").unlink()
        with pytest.raises(StorageObjectNotFoundError):
            await driver.get_retention("k")
        await driver.put(put_request("k", b"new"))

    on(tmp_path, check)


@pytest.mark.parametrize(
    "told",
    [
        {"mode": "forever", "retain_until": "2037-01-01T00:00:00+00:00", "legal_hold": False},
        {"mode": "compliance", "retain_until": None, "legal_hold": False},
        {"mode": "compliance", "retain_until": "2037-01-01T00:00:00", "legal_hold": False},
        {"mode": None, "retain_until": None, "legal_hold": 1},
        {"mode": None, "retain_until": None},
        [],
    ],
)
def test_a_damaged_retention_is_damage(tmp_path, told):
    async def write(driver):
        await driver.put(put_request("k", b"data", retention=Retention(legal_hold=True)))

    async def check(driver):
        with pytest.raises(StorageIntegrityError) as caught:
            await driver.head("k")
        assert caught.value.code == ErrorCode.ATTRIBUTES_DAMAGED

    on(tmp_path, write)
    (path,) = (tmp_path / ".credstore/attributes").rglob("*.*")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"retention": told}))
    on(tmp_path, check)


def test_versions_are_refused(tmp_path):
    async def check(driver):
        await driver.put(put_request("k", b"data"))
        for call in (
            driver.get_retention("k", "v"),
            driver.set_retention("k", FAR, "governance", version_id="v"),
            driver.set_legal_hold("k", held=True, version_id="v"),
        ):
            with pytest.raises(StorageUnsupportedError):
                await call

    on(tmp_path, check)
