"""gcp-storage-emulator in a thread of this process, on an ephemeral loopback port."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from gcp_storage_emulator.server import create_server
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage


class GcsEmulator:
    """A running emulator.

    Attributes:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = count(1)

    @contextmanager
    def client(self) -> Iterator[storage.Client]:
        """The vendor's own client."""
        made = storage.Client(
            project="proofs",
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=self.url),
        )
        try:
            yield made
        finally:
            made.close()

    def make_bucket(self) -> str:
        """A fresh, empty bucket."""
        name = f"bucket-{next(self._numbers)}"
        with self.client() as client:
            client.create_bucket(name)
        return name


@contextmanager
def running_emulator() -> Iterator[GcsEmulator]:
    """Serve until the block ends."""
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    # It has no public name for the port that it was given.
    port = server._api._httpd.server_address[1]
    try:
        yield GcsEmulator(f"http://127.0.0.1:{port}")
    finally:
        server.stop()
