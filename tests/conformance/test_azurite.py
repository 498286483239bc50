"""The Azure driver keeps the contract, on Azurite, with http and https, with a key, a signature and a token."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import (
    BlobServiceClient,
    ContainerSasPermissions,
    ContentSettings,
    generate_container_sas,
)

from credstore.config.azure import AzureConfig
from credstore.drivers.azure.driver import AzureDriver, client_of
from credstore.encryption import Secret
from credstore.testing.checks import CHECKS, Check
from credstore.testing.conformance import DriverConformance
from credstore.testing.harness import Deviation, Harness
from credstore.testing.links import fetch_link
from credstore.testing.running import run_check
from credstore.testing.s3 import _Counting as Counting
from credstore.wire.azure.tokens import EntraTokens
from tests.servers.azurite import ACCOUNT, KEY, AzuriteServer, running_azurite
from tests.servers.certificates import make_certificate

pytestmark = pytest.mark.system

PART = 64 * 1024
TENANT = "ab1f708d-50f6-404c-a006-d71b2ac7a606"
SMALL = {
    "part_size": PART,
    "multipart_threshold": PART,
    "single_copy_limit": PART,
    "copy_part_size": PART,
    "capabilities": "-versions,-sse_c,-sse_kms",
    "max_retries": 1,
}
UNFIT = Deviation(
    check="lists_up_to_any_delimiter",
    shows="names up to 'b/'",
    reason="Azurite 3.35 takes only the first character of a delimiter",
)
"""The check that is not for Azurite; the fake in `test_azure.py` passes it."""
FIT = [each for each in CHECKS if each.__name__ != UNFIT.check]


class AzuriteConformance(DriverConformance):
    """All checks but the one that Azurite cannot pass."""

    @pytest.mark.parametrize("check", FIT, ids=lambda check: check.__name__)
    def test_contract(self, harness: Harness, check: Check) -> None:
        super().test_contract(harness, check)

    def test_what_is_unfit_is_so_in_the_way_that_is_told(self, harness: Harness) -> None:
        """Once Azurite passes it, this fails."""
        (check,) = (each for each in CHECKS if each.__name__ == UNFIT.check)
        assert asyncio.run(run_check(check, replace(harness, deviations=[UNFIT]))) == UNFIT.reason


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


def harness_of(
    server: AzuriteServer, *, tokens: Callable[[], EntraTokens] = lambda: None, **keys: object
) -> Harness:
    container = keys.pop("bucket", None) or server.make_container()
    settings = {"endpoint": server.url, "bucket": container, "ca_file": server.ca_file, **SMALL, **keys}
    config = AzureConfig(**settings)
    past, sent = Past(server, container), []
    return Harness(
        open=lambda: AzureDriver(config, tokens=tokens(), transport=Counting(client_of(config), sent)),
        peek=past.peek,
        poke=past.poke,
        requests=lambda: len(sent),
        large=PART + 1,
        fetch=partial(fetch_link, ca_file=server.ca_file),
        prefix="",  # So that drivers are closed that a deviation leaves open.
    )


class TestAzureByKey(AzuriteConformance):
    @pytest.fixture
    def harness(self, plain: AzuriteServer) -> Harness:
        return harness_of(plain, account_key=Secret(KEY))


class TestAzureBySignature(AzuriteConformance):
    """With a signature for one container that the vendor's client has made."""

    @pytest.fixture
    def harness(self, plain: AzuriteServer) -> Harness:
        container = plain.make_container()
        token = generate_container_sas(
            ACCOUNT,
            container,
            account_key=KEY,
            permission=ContainerSasPermissions.from_string("racwdxltf"),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        harness = harness_of(plain, bucket=container, sas_token=Secret(token))

        def opened() -> AzureDriver:
            driver = harness.open()
            # Azurite 3.35 answers 500, and not 501, to what it lacks if it comes with a signature.
            driver._container.lacks_from_url = True
            return driver

        # Copies go by Copy Blob then, at any size in one request, so requests are not counted.
        return replace(harness, open=opened, requests=None)


class Signed:
    """A credential like those of azure-identity, whose token Azurite takes at its word."""

    def get_token(self, *scopes: str) -> AccessToken:
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": now - 60,
            "nbf": now - 60,
            "exp": now + 3600,
            "oid": TENANT,
            "tid": TENANT,
        }
        parts = ({"alg": "RS256", "typ": "JWT"}, claims)
        encoded = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
        ]
        return AccessToken(".".join([*encoded, "c2lnbmF0dXJl"]), now + 3600)


class TestAzureByToken(AzuriteConformance):
    """Over https, with a token of Entra ID, and links from a user delegation key."""

    @pytest.fixture
    def harness(self, secure: AzuriteServer) -> Harness:
        return harness_of(secure, tokens=lambda: EntraTokens(Signed()), auth_mode="login")
