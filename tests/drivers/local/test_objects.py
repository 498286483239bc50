"""An object and what is kept beside it, while other tools and other keys come in between."""

import asyncio
import errno
import os
import threading

import pytest

from credstore.driver import CREATE, OVERWRITE
from credstore.errors import (
    StorageAccessDeniedError,
    StorageAlreadyExistsError,
    StorageIntegrityError,
    StorageNotFoundError,
)

from .support import make_driver, put_request, read_pair


async def seen_by_others(root, key):
    """What a reader that has just opened the store is given: bytes, None, or the code of a refusal."""
    driver = make_driver(root)
    try:
        return await (await driver.get(key)).read()
    except StorageNotFoundError:
        return None
    except StorageIntegrityError as error:
        return error.code
    finally:
        await driver.aclose()


def test_a_deletion_never_brings_an_older_object_of_its_name_back(tmp_path, monkeypatch):
    async def run():
        driver = make_driver(tmp_path)
        await driver.put(put_request("a", b"older"))
        await driver.put(
            put_request("a/b", b"below")
        )  # Now `a` is beside the directory of its name, for good.
        await driver.delete("a/b")
        (tmp_path / "a").write_bytes(b"newer, of another tool")
        found, real = [], os.unlink

        def unlink(*args, **options):
            real(*args, **options)
            if threading.current_thread().name.startswith("credstore-local"):
                found.append(asyncio.run(seen_by_others(tmp_path, "a")))

        monkeypatch.setattr(os, "unlink", unlink)
        assert (await driver.delete("a")).existed
        monkeypatch.undo()
        assert len(found) >= 2
        assert b"older" not in found
        assert found[-1] is None
        assert await seen_by_others(tmp_path, "a") is None
        await driver.aclose()

    asyncio.run(run())


def kept(root):
    """Names of the files of attributes."""
    return {path.name for path in (root / ".credstore/attributes").glob("*/*")}


@pytest.mark.parametrize("theirs", [b"theirs", b"longer than ours", b""])
def test_an_object_that_was_not_published_leaves_nothing_to_the_file_that_came_first(
    tmp_path, monkeypatch, theirs
):
    async def run():
        driver = make_driver(tmp_path)
        planted, real = [], os.link

        def link(source, name, **options):
            if name == "k":
                (tmp_path / "k").write_bytes(theirs)  # Another tool takes the name at the last moment.
                planted.append(len(kept(tmp_path)))
            real(source, name, **options)

        monkeypatch.setattr(os, "link", link)
        with pytest.raises(StorageAlreadyExistsError) as caught:
            await driver.put(put_request("k", b"oursss", CREATE))
        assert caught.value.applied == "no"
        monkeypatch.undo()
        assert planted == [1]
        assert kept(tmp_path) == set()
        await driver.aclose()
        again = make_driver(tmp_path)
        await again.put(put_request("other", b"x"))  # Whoever writes first cleans up.
        reader = await again.get("k")
        assert (await reader.read(), reader.info.write_id) == (theirs, None)
        await again.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("call", ["link", "rename"])
def test_a_write_that_the_system_refused_leaves_no_attributes(tmp_path, monkeypatch, call):
    async def run():
        driver = make_driver(tmp_path)
        if call == "rename":
            await driver.put(put_request("k", b"older"))
        before = kept(tmp_path)
        real, seen = getattr(os, call), []

        def refuse(source, name, **options):
            if name != "k":
                return real(source, name, **options)
            seen.append(len(kept(tmp_path) - before))
            raise OSError(errno.EACCES, "refused")

        monkeypatch.setattr(os, call, refuse)
        with pytest.raises(StorageAccessDeniedError) as caught:
            await driver.put(put_request("k", b"newer", CREATE if call == "link" else OVERWRITE))
        assert (caught.value.applied, seen) == ("no", [1])
        assert kept(tmp_path) == before, "what was kept for it is still there"
        await driver.aclose()

    asyncio.run(run())


def test_attributes_of_another_key_are_never_those_of_an_object(tmp_path):
    async def run():
        driver = make_driver(tmp_path)
        for key in ("a", "b"):
            await driver.put(put_request(key, b"same bytes", metadata={"of": key}, tags={"of": key}))
        one, other = sorted((tmp_path / ".credstore/attributes").glob("*/*"))
        text = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(text)
        for key in ("a", "b"):
            try:
                seen = [(await driver.head(key)).metadata, await driver.get_tags(key)]
            except StorageIntegrityError:
                continue
            assert seen == [{}, {}], "it has what was kept for another"
        await driver.put(put_request("a", b"stored again"))
        assert await read_pair(driver, "a") == b"stored again"
        await driver.aclose()

    asyncio.run(run())
