"""azure-storage-blob talking to the fake: its requests go to the same place as our driver's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerClient

from tests.drivers.answering import session_to
from tests.drivers.azure.fake import ACCOUNT, CONTAINER, FakeAzure
from tests.servers.azurite import KEY


@contextmanager
def vendor(fake: FakeAzure) -> Iterator[ContainerClient]:
    """The container of the fake, by the vendor's own client, which sends each request once."""
    transport = RequestsTransport(session=session_to(fake.answer), session_owner=False)
    with BlobServiceClient(
        f"https://{ACCOUNT}.blob.core.windows.net", credential=KEY, transport=transport, retry_total=0
    ) as client:
        yield client.get_container_client(CONTAINER)
