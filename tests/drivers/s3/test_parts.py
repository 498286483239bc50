"""How bodies are cut and links made, without any server."""

import asyncio
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.config.settings import GIB, MIB
from credstore.driver import SignRequest
from credstore.driver.parts import cut
from credstore.drivers.s3.dialect import MAX_PARTS
from credstore.drivers.s3.multipart import plan_part_size
from credstore.encryption import Secret
from credstore.errors import StorageAuthenticationError, StorageInvalidRequestError, StorageUnsupportedError
from credstore.wire.aws.credentials import Credentials
from tests.drivers.s3.support import make_driver

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=30)), st.integers(1, 20))
def test_a_cut_body_is_the_same_bytes_in_equal_pieces(chunks, size):
    async def source():
        for chunk in chunks:
            yield chunk

    async def main():
        return [piece async for piece in cut(source(), size)]

    parts = asyncio.run(main())
    pieces = [b"".join(part.views) for part in parts]
    assert [part.size for part in parts] == [len(piece) for piece in pieces]
    assert b"".join(pieces) == b"".join(chunks)
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces[-1:])


@pytest.mark.parametrize(
    ("length", "part_size", "size"),
    [
        (None, 8 * MIB, 8 * MIB),
        (1, 8 * MIB, 8 * MIB),
        (8 * MIB * MAX_PARTS, 8 * MIB, 8 * MIB),
        (8 * MIB * MAX_PARTS + 1, 8 * MIB, 9 * MIB),
        (5 * GIB * MAX_PARTS, 8 * MIB, 5 * GIB),
        (100, 6 * GIB, 5 * GIB),
        (5_000_001 * MAX_PARTS, 5_000_001, 5_000_001),
    ],
)
def test_k02_parts_grow_so_that_ten_thousand_suffice(length, part_size, size):
    found = plan_part_size(length, part_size, 5 * GIB)
    assert found == size
    assert length is None or -(-length // found) <= MAX_PARTS


@pytest.mark.parametrize("largest", [5 * GIB, 5_000_001])
def test_k02_the_longest_body_fills_ten_thousand_parts_and_one_beyond_is_refused(largest):
    assert plan_part_size(largest * MAX_PARTS, MIB, largest) == largest
    with pytest.raises(StorageInvalidRequestError) as caught:
        plan_part_size(largest * MAX_PARTS + 1, MIB, largest)
    assert caught.value.code == "TOO_LARGE"


class Source:
    def __init__(self, expires_at=None):
        self.expires_at = expires_at

    async def get(self):
        return Credentials("AKID", Secret("s"), Secret("tok en+"), self.expires_at)

    refresh = get

    async def aclose(self):
        self.closed = True


def sign(expires_at=None, **fields):
    async def main():
        driver = make_driver(None, credentials=Source(expires_at), clock=NOW.timestamp)
        try:
            return await driver.sign(SignRequest(key="k +", **fields))
        finally:
            await driver.aclose()

    return asyncio.run(main())


def query(link) -> dict:
    return {name: values[0] for name, values in parse_qs(urlsplit(link.url).query).items()}


@pytest.mark.parametrize(
    ("expires_in", "life", "seconds"),
    [(1, None, 1), (604_800, None, 604_800), (59.9, None, 59), (3600, 600, 600), (60, 600, 60), (60, 1.5, 1)],
)
def test_a_link_ends_when_it_says_and_never_after_its_credentials(expires_in, life, seconds):
    link = sign(NOW + timedelta(seconds=life) if life else None, expires_in=expires_in)
    assert link.expires_at == NOW + timedelta(seconds=seconds)
    assert query(link)["X-Amz-Expires"] == str(seconds)
    assert query(link)["X-Amz-Date"] == "20261120T120000Z"
    assert query(link)["X-Amz-Security-Token"] == "tok en+"


def test_a_link_of_credentials_that_have_ended_is_refused():
    with pytest.raises(StorageAuthenticationError) as caught:
        sign(NOW + timedelta(seconds=0.5))
    assert caught.value.code == "CREDENTIALS_EXPIRED"


@pytest.mark.parametrize("expires_in", [0, 0.5, -1, 604_801, float("nan"), float("inf")])
def test_a_link_outside_one_second_to_seven_days_is_refused(expires_in):
    with pytest.raises(StorageInvalidRequestError, match="604800"):
        sign(expires_in=expires_in)


def test_what_a_link_imposes_is_part_of_it():
    link = sign(overrides={"content-type": "a/b", "cache-control": "no-store"}, version_id="v 1")
    assert query(link)["response-content-type"] == "a/b"
    assert query(link)["response-cache-control"] == "no-store"
    assert query(link)["versionId"] == "v 1"
    put = sign(method="PUT", headers={"content-type": "a/b"})
    assert query(put)["X-Amz-SignedHeaders"] == "content-type;host"
    assert (put.method, put.headers) == ("PUT", {"content-type": "a/b"})


def test_what_a_link_cannot_impose_is_refused():
    with pytest.raises(StorageUnsupportedError):
        sign(method="PUT", overrides={"content-type": "a/b"})
    with pytest.raises(StorageInvalidRequestError, match="x-evil"):
        sign(overrides={"x-evil": "1"})
