"""Rows about waiting: what stands still is given up and gone on with, and nothing is sent or read in vain."""

import asyncio

import pytest

from credstore import S3Config, S3StorageProvider, Secret
from credstore.config.settings import MIB
from credstore.errors import StorageConnectionError, StorageIntegrityError
from tests.faults.messages import Answer
from tests.faults.rig import Rows, exchange_of, raised
from tests.faults.script import Reset, Respond, Stall

DATA = bytes(range(256)) * 2000
EARLY = Respond(Answer(200, b"", {"etag": '"e"', "x-amz-request-id": "1"}))
rows = Rows()


@pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
def test_row(row):
    row.run()


@rows("N23", max_retries=0, multipart_threshold=32 * MIB)
async def a_success_before_the_body_was_read_is_unclear_and_looked_up(rig):
    rig.origin.plan("head", EARLY, operation="PutObject")
    failed = await raised(rig.store.store("k", bytes(16 * MIB)))
    assert (type(failed), failed.code, failed.applied) == (StorageConnectionError, "BAD_ANSWER", "maybe")
    assert rig.requests("HeadObject") == 1
    assert rig.body() is None


@rows("N23", multipart_threshold=32 * MIB)
async def it_is_sent_again_and_succeeds(rig):
    rig.origin.plan("head", EARLY, operation="PutObject")
    await rig.store.store("k", bytes(16 * MIB), if_absent=True)
    assert rig.body() == bytes(16 * MIB)


@rows("N23", multipart_threshold=16 * MIB, part_size=16 * MIB)
async def so_it_is_with_a_part(rig):
    rig.origin.plan("head", EARLY, operation="UploadPart", nth=2)
    await rig.store.store("k", bytes(48 * MIB))  # Each part is more than the buffers on the way may hold.
    assert rig.body() == bytes(48 * MIB)


@rows("N04", idle=1.2, timeout=1.0)
async def a_body_that_stalls_is_gone_on_with_whatever_time_its_beginning_had(rig):
    """The time of the call is that of each answer's beginning, and was over when the body was given up."""
    await rig.store.store("k", DATA)
    rig.origin.plan("response-body", Stall(), offset=100_000)
    assert await rig.store.retrieve("k") == DATA
    first, second = rig.origin.sent("GetObject")
    assert "range" not in first.headers
    assert second.headers["if-match"] == rig.objects["k"].quoted
    assert second.headers["range"].startswith("bytes=")


@rows("N04", idle=0.15)
async def a_body_that_stalls_at_each_turn_ends(rig):
    await rig.store.store("k", DATA)
    rig.origin.plan("response-body", Stall(), offset=1000, times=None)
    failed = await raised(rig.store.retrieve("k"))
    assert failed.code == "TIMEOUT"
    assert rig.requests("GetObject") == 4


@rows("N04", idle=0.15)
async def one_that_stalls_and_was_replaced_is_an_error(rig):
    await rig.store.store("k", DATA)
    stalled = rig.origin.plan("response-body", Stall(), offset=100_000)
    reading = asyncio.ensure_future(raised(rig.store.retrieve("k")))
    await stalled.reached.wait()
    rig.objects["k"] = rig.objects["k"].__class__(DATA[::-1], "f" * 32, 0.0, rig.objects["k"].attributes)
    failed = await reading
    assert (type(failed), failed.code) == (StorageIntegrityError, "REPLACED")


@rows("N01", max_retries=0, multipart_threshold=2 * MIB, part_size=2 * MIB)
async def a_reset_within_a_part_ends_the_reading_of_the_users_stream(rig):
    """Nothing more is read of it than the parts that were on their way."""
    rig.origin.plan("body", Reset(), operation="UploadPart", offset=100_000)
    given = 0
    closed = asyncio.Event()

    async def endless():
        nonlocal given
        try:
            while True:
                given += 1
                yield bytes(MIB)
        finally:
            closed.set()

    failed = await raised(rig.store.store("k", endless()))
    assert (type(failed), failed.applied) == (StorageConnectionError, "no")
    assert closed.is_set()
    assert given < 64
    assert rig.origin.open_uploads == 0


def test_the_idle_time_is_a_setting_that_reaches_the_wire():
    async def main():
        for settings, wanted in (({}, 30.0), ({"idle_timeout": 7.5}, 7.5)):
            config = S3Config(bucket="bucket", access_key_id="a", secret_access_key=Secret("s"), **settings)
            async with S3StorageProvider(config) as store:
                assert exchange_of(store)._transport._idle_timeout == wanted

    asyncio.run(main())
