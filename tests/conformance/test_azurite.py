"""The Azure driver keeps the contract, on Azurite, with http and https, with a key, a signature and a token."""

from collections.abc import Iterator

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import (
    BlobServiceClient,
    ContentSettings,
)

from credstore.config.azure import AzureConfig
from credstore.drivers.azure.driver import AzureDriver, client_of
from credstore.encryption import Secret
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Deviation, Harness
from credstore.testing.s3 import _Counting as Counting
from tests.servers.azurite import KEY, AzuriteServer, running_azurite
from tests.servers.certificates import make_certificate

pytestmark = pytest.mark.system

PART = 64 * 1024
SMALL = {
    "part_size": PART,
    "multipart_threshold": PART,
    "single_copy_limit": PART,
    "copy_part_size": PART,
    "capabilities": "-versions",
    "max_retries": 1,
}
TWICE = Deviation(
    check="reads_the_last_bytes",
    shows="wire requests of the last 1 bytes: 2",
    reason="Azure has no range of the last bytes, so a HEAD says how many there are",
)
LONG_DELIMITER = Deviation(
    check="lists_up_to_any_delimiter",
    shows="names up to 'b/'",
    reason="Azurite 3.35 takes only the first character of a delimiter",
)


class Past:
    """What is in a container, by the vendor's own client."""

    def __init__(self, server: AzuriteServer, container: str) -> None:
        self._server = server
        self._container = container

    def _blobs(self, client: BlobServiceClient):
        return client.get_container_client(self._container)

    async def peek(self, key: str) -> bytes | None:
        with self._server.client() as client:
            try:
                return self._blobs(client).download_blob(key).readall()
            except ResourceNotFoundError:
                return None

    async def poke(self, key: str, data: bytes) -> None:
        with self._server.client() as client:
            blob = self._blobs(client).get_blob_client(key)
            found = blob.get_blob_properties()
            settings = found.content_settings
            kept = ContentSettings(settings.content_type, settings.content_encoding)
            blob.upload_blob(data, overwrite=True, metadata=found.metadata, content_settings=kept)


@pytest.fixture(scope="module")
def plain() -> Iterator[AzuriteServer]:
    with running_azurite() as server:
        yield server


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteServer]:
    certificate, key = make_certificate(tmp_path_factory.mktemp("azurite"))
    with running_azurite(certificate=(certificate, key, certificate)) as server:
        yield server


def harness_of(server: AzuriteServer, **keys: object) -> Harness:
    container = server.make_container()
    settings = {"endpoint": server.url, "bucket": container, "ca_file": server.ca_file, **SMALL, **keys}
    config = AzureConfig(**settings)
    past, sent = Past(server, container), []
    return Harness(
        open=lambda: AzureDriver(config, transport=Counting(client_of(config), sent)),
        peek=past.peek,
        poke=past.poke,
        requests=lambda: len(sent),
        large=PART + 1,
        prefix="",  # So that drivers are closed that a deviation leaves open.
        deviations=[TWICE, LONG_DELIMITER],
    )


class TestAzureByKey(DriverConformance):
    @pytest.fixture
    def harness(self, plain: AzuriteServer) -> Harness:
        return harness_of(plain, account_key=Secret(KEY))
