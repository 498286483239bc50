"""The Google driver keeps the contract on gcp-storage-emulator, as far as that keeps Google's promises."""

from collections.abc import Iterator

import pytest

from credstore.config.gcs import GcsConfig
from credstore.drivers.gcs.driver import GcsDriver, client_of
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Deviation, Harness
from credstore.testing.s3 import _Counting as Counting
from tests.servers.gcs_emulator import GcsEmulator, running_emulator

PART = 256 * 1024


@pytest.fixture(scope="module")
def emulator() -> Iterator[GcsEmulator]:
    with running_emulator() as server:
        yield server


def harness_of(server: GcsEmulator, *deviations: Deviation) -> Harness:
    name = server.make_bucket()
    config = GcsConfig(
        bucket=name, emulator_host=server.url, part_size=PART, multipart_threshold=PART, max_retries=1
    )
    sent: list[str] = []

    async def peek(key: str) -> bytes | None:
        with server.client() as client:
            blob = client.bucket(name).get_blob(key)
            return None if blob is None else blob.download_as_bytes(raw_download=True)

    async def poke(key: str, data: bytes) -> None:
        with server.client() as client:
            blob = client.bucket(name).get_blob(key)
            new = client.bucket(name).blob(key)
            new.metadata, new.content_encoding = blob.metadata, blob.content_encoding
            new.upload_from_string(data, content_type=blob.content_type)

    return Harness(
        open=lambda: GcsDriver(config, transport=Counting(client_of(config), sent)),
        peek=peek,
        poke=poke,
        requests=lambda: len(sent),
        large=PART + 1,
        fetch=None,
        deviations=deviations,
    )


class TestGcsOnTheEmulator(DriverConformance):
    @pytest.fixture
    def harness(self, emulator: GcsEmulator) -> Harness:
        return harness_of(emulator)
