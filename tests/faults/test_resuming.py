"""Uploads that go on where they were cut off: in this process, after a kill, and never with other bytes."""

import asyncio
import json
import os
import random
import signal
import sys

import pytest

from credstore import MemoryConfig, MemoryStorageProvider, StorageFactory
from credstore.errors import (
    StorageAlreadyExistsError,
    StorageInvalidRequestError,
    StorageUnavailableError,
    StorageUnsupportedError,
)
from tests.faults.messages import error
from tests.faults.rig import BROKEN, KEY_ID, SECRET, raised, run
from tests.faults.script import Hold, Reset, Respond, Stall

PART = 50_000
DATA = random.Random(3).randbytes(20 * PART + 77)
PARTS = {"multipart_threshold": PART, "part_size": PART, "max_retries": 0}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "photo.resume"


async def cut_off(rig, source, journal, part=8, **options):
    """An upload that fails at this part."""
    rule = rig.origin.plan("before-apply", BROKEN, operation="UploadPart", nth=part)
    failed = await raised(rig.store.store("k", source, resume=journal, **options))
    assert (type(failed), failed.applied, rule.fired) == (StorageUnavailableError, "no", 1)
    assert (rig.body(), rig.origin.open_uploads, journal.exists()) == (None, 1, True)


def test_it_goes_on_with_the_parts_that_are_missing(source, journal):
    async def test(rig):
        await cut_off(rig, source, journal, metadata={"a": "b"})
        sent = rig.requests("UploadPart") - 1
        assert 7 <= sent <= 12
        told = []
        result = await rig.open(**PARTS).store(
            "k", source, resume=journal, metadata={"a": "b"}, progress=lambda *at: told.append(at)
        )
        assert rig.body() == DATA
        assert (result.size, result.plain_size) == (len(DATA), len(DATA))
        assert rig.requests("UploadPart") == 21 + 1
        assert rig.requests("CreateMultipartUpload") == 1
        assert (rig.origin.open_uploads, journal.exists()) == (0, False)
        assert told[-1] == (len(DATA), len(DATA))
        assert (await rig.store.get_metadata("k")).metadata == {"a": "b"}
        assert await rig.store.retrieve("k") == DATA

    run(test, **PARTS)


def test_a_cancel_leaves_what_is_needed_to_go_on(source, journal):
    async def test(rig):
        rule = rig.origin.plan("before-apply", Stall(), operation="UploadPart", nth=5, times=None)
        storing = asyncio.ensure_future(rig.store.store("k", source, resume=str(journal)))
        await rule.reached.wait()
        storing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await storing
        assert (rig.origin.open_uploads, rig.requests("AbortMultipartUpload")) == (1, 0)
        rule.times = 0
        await rig.store.store("k", source, resume=str(journal))
        assert rig.body() == DATA
        assert (rig.requests("CreateMultipartUpload"), rig.origin.open_uploads) == (1, 0)

    run(test, **PARTS)


CHILD = """
import asyncio, sys
from pathlib import Path
from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, Secret

async def main():
    url, key_id, secret, source, journal, part = sys.argv[1:]
    config = S3CompatibleConfig(
        bucket="bucket", endpoint=url, flavor="minio", access_key_id=key_id, secret_access_key=Secret(secret),
        part_size=int(part), multipart_threshold=int(part),
    )
    async with S3CompatibleStorageProvider(config) as store:
        await store.store("k", Path(source), resume=journal)

asyncio.run(main())
"""


def test_another_process_goes_on_after_a_kill(source, journal):
    async def test(rig):
        async def child():
            return await asyncio.create_subprocess_exec(
                sys.executable, "-c", CHILD, rig.origin.url, KEY_ID, SECRET, source, journal, str(PART)
            )

        gate = asyncio.Event()
        rule = rig.origin.plan("before-apply", Hold(gate), operation="UploadPart", nth=9, times=None)
        first = await child()
        await rule.reached.wait()
        os.kill(first.pid, signal.SIGKILL)
        await first.wait()
        rule.times = 0
        gate.set()
        assert (rig.body(), rig.origin.open_uploads, journal.exists()) == (None, 1, True)
        sent = rig.requests("UploadPart")
        second = await child()
        assert await second.wait() == 0
        assert rig.body() == DATA
        assert rig.requests("UploadPart") < sent + 21 - 5
        assert (rig.requests("CreateMultipartUpload"), rig.origin.open_uploads) == (1, 0)
        assert not journal.exists()

    run(test, faults_may_wait=True, **PARTS)


@pytest.mark.parametrize("change", ["a byte", "shorter", "longer"])
def test_a_source_that_was_changed_is_refused_before_anything_is_sent(source, journal, change):
    async def test(rig):
        await cut_off(rig, source, journal)
        changed = bytearray(DATA)
        changed[12 * PART] ^= 1
        source.write_bytes({"a byte": changed, "shorter": DATA[:-1], "longer": DATA + b"x"}[change])
        before = rig.requests()
        failed = await raised(rig.store.store("k", source, resume=journal))
        assert (type(failed), failed.code, failed.applied) == (
            StorageInvalidRequestError,
            "SOURCE_CHANGED",
            "no",
        )
        assert rig.requests() == before
        journal.unlink()
        await rig.store.store("k", source, resume=journal)
        assert rig.body() == source.read_bytes()

    run(test, **PARTS)


@pytest.mark.parametrize(
    ("key", "options"), [("other", {}), ("k", {"metadata": {"x": "y"}}), ("k", {"content_type": "image/png"})]
)
def test_another_key_or_other_options_are_refused(source, journal, key, options):
    async def test(rig):
        await cut_off(rig, source, journal)
        before = rig.requests()
        failed = await raised(rig.store.store(key, source, resume=journal, **options))
        assert (type(failed), failed.code) == (StorageInvalidRequestError, "RESUME_MISMATCH")
        assert (rig.requests(), journal.exists()) == (before, True)

    run(test, **PARTS)


def test_an_upload_that_is_gone_is_begun_anew(source, journal):
    async def test(rig):
        await cut_off(rig, source, journal)
        async for upload in rig.store._session.driver.list_uploads():
            await rig.store._session.driver.abort_upload(upload.key, upload.upload_id)
        await rig.store.store("k", source, resume=journal)
        assert (rig.body(), rig.requests("CreateMultipartUpload")) == (DATA, 2)
        assert (rig.origin.open_uploads, journal.exists()) == (0, False)

    run(test, **PARTS)


def test_an_upload_that_was_completed_before_the_end_is_known(source, journal):
    async def test(rig):
        rig.origin.plan("after-apply", Reset(), operation="CompleteMultipartUpload")
        rig.origin.plan("before-apply", BROKEN, operation="HeadObject")
        failed = await raised(rig.store.store("k", source, resume=journal))
        assert (failed.applied, journal.exists(), rig.body()) == ("maybe", True, DATA)
        await rig.store.store("k", source, resume=journal)
        assert (rig.requests("UploadPart"), rig.requests("CreateMultipartUpload")) == (21, 1)
        assert not journal.exists()

    run(test, **PARTS)


def test_parts_of_another_length_are_sent_again(source, journal):
    async def test(rig):
        await cut_off(rig, source, journal)
        (upload,) = rig.origin.store.uploads.open.values()
        upload.parts[1] = upload.parts[1][:-1]
        await rig.store.store("k", source, resume=journal)
        assert rig.body() == DATA

    run(test, **PARTS)


def test_what_can_never_succeed_is_cleaned_up(source, journal):
    async def test(rig):
        rig.origin.plan("before-apply", Respond(error(403, "AccessDenied")), operation="UploadPart", nth=3)
        failed = await raised(rig.store.store("k", source, resume=journal))
        assert (failed.code, rig.origin.open_uploads, journal.exists()) == ("ACCESS_DENIED", 0, False)
        await cut_off(rig, source, journal, if_absent=True)
        await rig.open(aws=True).store("k", b"theirs")
        failed = await raised(rig.store.store("k", source, resume=journal, if_absent=True))
        assert isinstance(failed, StorageAlreadyExistsError)
        assert (rig.body(), rig.origin.open_uploads, journal.exists()) == (b"theirs", 0, False)

    run(test, aws=True, **PARTS)


def test_small_objects_need_no_journal(source, journal):
    async def test(rig):
        source.write_bytes(DATA[:100])
        await rig.store.store("k", source, resume=journal)
        await rig.store.store("bytes", DATA, resume=journal)
        with source.open("rb") as file:
            await rig.store.store("file", file, resume=journal)
        assert (rig.body(), rig.body("bytes"), rig.body("file")) == (DATA[:100], DATA, DATA[:100])
        assert not journal.exists()

    run(test, **PARTS)


@pytest.mark.parametrize(
    "options", [{"compress": "zstd"}, {"compress": "gzip"}, {"resume": 5}, {"resume": b"\0"}]
)
def test_what_cannot_be_resumed_is_refused(source, journal, options):
    async def test(rig):
        failed = await raised(rig.store.store("k", source, **{"resume": journal, **options}))
        assert isinstance(failed, StorageInvalidRequestError)

        async def stream():
            yield DATA

        failed = await raised(rig.store.store("k", stream(), resume=journal))
        assert isinstance(failed, StorageInvalidRequestError)
        assert rig.requests() == 0

    run(test, **PARTS)


def test_stores_that_cannot_say_so(source, journal, tmp_path):
    async def main():
        async with MemoryStorageProvider(MemoryConfig()) as store, StorageFactory() as factory:
            fallback = factory.create_with_fallback("memory://one", "memory://two")
            for each in (store, fallback):
                assert each.capabilities.resumable is False
                with pytest.raises(StorageUnsupportedError, match="resume"):
                    await each.store("k", source, resume=journal)

    asyncio.run(main())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b"not json",
        b"\xff",
        b'{"version": 2}',
        b"null",
        b'"x"',
        b"x" * 100_000,
        None,
        "part_size",
    ],
)
def test_a_file_that_is_no_journal_is_refused(source, journal, content):
    async def test(rig):
        if content == "part_size":
            await cut_off(rig, source, journal)
            journal.write_text(json.dumps({**json.loads(journal.read_text()), "part_size": True}))
        elif content is None:
            journal.mkdir()
        else:
            journal.write_bytes(content)
        before = rig.requests()
        failed = await raised(rig.store.store("k", source, resume=journal))
        assert isinstance(failed, StorageInvalidRequestError)
        assert str(journal) in str(failed)
        assert rig.requests() == before

    run(test, **PARTS)


def test_the_journal_is_private_and_has_no_secret(source, journal):
    async def test(rig):
        await cut_off(rig, source, journal)
        assert journal.stat().st_mode & 0o077 == 0
        assert SECRET not in journal.read_text()
        assert [path.name for path in sorted(journal.parent.iterdir())] == [source.name, journal.name]

    run(test, **PARTS)


def test_a_journal_that_cannot_be_written_begins_nothing(source, tmp_path):
    async def test(rig):
        failed = await raised(rig.store.store("k", source, resume=tmp_path / "no" / "such" / "folder"))
        assert isinstance(failed, StorageInvalidRequestError)
        assert rig.origin.open_uploads == 0

    run(test, **PARTS)
