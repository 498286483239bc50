"""Durations as people write them, and files that were just written."""

import io
from datetime import UTC, datetime, timedelta

import pytest

from credstore import StorageInvalidRequestError
from tests.provider.support import run


@pytest.mark.parametrize("hour", [3600, 3600.0, timedelta(hours=1), "1h", "60m"])
def test_a_link_takes_a_duration(hour):
    async def main(provider):
        await provider.store("k", b"1")
        link = await provider.get_signed_url("k", expires_in=hour)
        assert timedelta(minutes=59) < link.expires_at - datetime.now(UTC) <= timedelta(hours=1, seconds=1)

    run(main)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (timedelta(days=8), r"not 691200 \(8 days\)"),
        ("8d", r"8 days"),
        ("soon", "a duration is"),
        (None, "not None"),
    ],
)
def test_a_wrong_one_is_refused_in_its_unit(wrong, words):
    async def main(provider):
        await provider.store("k", b"1")
        with pytest.raises(StorageInvalidRequestError, match=words):
            await provider.get_signed_url("k", expires_in=wrong)

    run(main)


def test_a_file_at_its_end_is_no_empty_object():
    async def main(provider):
        file = io.BytesIO()
        file.write(b"what a library has saved")
        with pytest.raises(StorageInvalidRequestError, match=r"file\.seek\(0\)"):
            await provider.store("k", file)
        assert not await provider.exists("k")
        file.seek(0)
        assert (await provider.store("k", file)).size == 24
        assert (await provider.store("empty", io.BytesIO())).size == 0

    run(main)
