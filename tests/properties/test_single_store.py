"""Any sequence of calls and faults: a store over S3 never tells a lie; and a lying one is caught."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from credstore.driver import DeleteOutcome
from credstore.driver.reader import ObjectReader
from credstore.drivers.s3 import deleting, multipart, reading, settling
from credstore.provider import copying as moving
from credstore.wire import exchange
from tests.properties.single_store import SingleStore

EXAMPLES = int(os.environ.get("CREDSTORE_TEST_EXAMPLES", "200"))
"""More of them, and others each time, where more than the normal suite is wanted."""


def run(**more):
    how = {"max_examples": EXAMPLES, "derandomize": "CREDSTORE_TEST_EXAMPLES" not in os.environ, **more}
    run_state_machine_as_test(
        SingleStore,
        settings=settings(
            stateful_step_count=50,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            **how,
        ),
    )


def test_it_never_tells_a_lie():
    run()


def success_without_a_look(monkeypatch):
    """Whatever is at the key after an unclear write is taken for ours."""
    monkeypatch.setattr(settling, "settle", lambda *_, exists: "yes" if exists else "maybe")


def conflict_with_itself(monkeypatch):
    """A refusal after an unclear attempt is believed."""
    monkeypatch.setattr(settling, "settle", lambda *_, **__: "no")


def no_for_what_is_unclear(monkeypatch):
    """An attempt without an answer counts as not applied."""
    judged = exchange._judged
    monkeypatch.setattr(
        exchange, "_judged", lambda error, call, progress, **_: judged(error, call, progress, definite=True)
    )


def no_for_a_server_error(monkeypatch):
    """A 500 counts as a refusal."""
    monkeypatch.setattr(exchange, "_REFUSALS", range(400, 600))


def cut_bodies(monkeypatch):
    """A reader gives what came until the connection broke."""
    chunks = reading.Body.chunks

    async def ended(body):
        try:
            async for chunk in chunks(body):
                yield chunk
        except Exception:
            return

    monkeypatch.setattr(reading, "MAX_RESUMES", 0)
    monkeypatch.setattr(reading.Body, "chunks", ended)
    monkeypatch.setattr(ObjectReader, "_check_end", lambda _: None)


def unchecked_bytes(monkeypatch):
    """A reader does not compare the digest."""
    monkeypatch.setattr(ObjectReader, "_check_end", lambda _: None)


def a_move_that_deletes_first(monkeypatch):
    """A move whose copy fails has lost the object."""

    async def moved(session, request, *others):
        await session.driver.delete(request.source.key)
        return await move(session, request, *others)

    move = moving.move_object
    monkeypatch.setattr("credstore.provider.provider.move_object", moved)


def silence_as_success(monkeypatch):
    """A batch delete that failed half way says that all is gone."""

    async def deleted(bucket, keys, *, deadline):
        try:
            return await delete_many(bucket, keys, deadline=deadline)
        except Exception:
            return dict.fromkeys(keys, DeleteOutcome(existed=None))

    delete_many = deleting.delete_many
    monkeypatch.setattr(deleting, "delete_many", deleted)


def unconditional_parts(monkeypatch):
    """The condition of a large write is not sent."""
    complete = multipart.complete_upload
    monkeypatch.setattr(
        multipart, "complete_upload", lambda key, upload, etags, _: complete(key, upload, etags, {})
    )


LIES = [
    success_without_a_look,
    conflict_with_itself,
    no_for_what_is_unclear,
    no_for_a_server_error,
    cut_bodies,
    unchecked_bytes,
    a_move_that_deletes_first,
    silence_as_success,
    unconditional_parts,
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_lie_is_caught(lie, monkeypatch):
    lie(monkeypatch)
    with pytest.raises(AssertionError):
        run(max_examples=400, derandomize=True, phases=[Phase.generate])
