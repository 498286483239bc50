"""Azurite's blob service in its own process, on an ephemeral loopback port, with a folder of its own."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from azure.storage.blob import BlobServiceClient

NODE = Path(__file__).parent / "node"
ACCOUNT = "devstoreaccount1"
NEWEST = "2025-11-05"
"""Version of the REST API that Azurite knows."""
# Public: learn.microsoft.com, "Use the Azurite emulator", "Well-known storage account and key".
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class AzuriteServer:
    """A running server.

    Attributes:
        url: Endpoint of its account.
        ca_file: PEM file of whoever vouches for it, for https.
    """

    def __init__(self, url: str, ca_file: str | None = None) -> None:
        self.url = url
        self.ca_file = ca_file
        self._numbers = count(1)

    def client(self) -> BlobServiceClient:
        """The vendor's own client of the account; close it."""
        verify = {} if self.ca_file is None else {"connection_verify": self.ca_file}
        credential = {"account_name": ACCOUNT, "account_key": KEY}
        return BlobServiceClient(self.url, credential=credential, api_version=NEWEST, **verify)

    def make_container(self) -> str:
        """A fresh, empty container."""
        name = f"container-{next(self._numbers)}"
        with self.client() as client:
            client.create_container(name)
        return name


@contextmanager
def running_azurite(*, certificate: tuple[Path, Path, Path] | None = None) -> Iterator[AzuriteServer]:
    """Serve until the block ends.

    Args:
        certificate: For https: files of the server's certificate, its key, and the authority's.
    """
    folder = tempfile.mkdtemp(prefix="azurite-")
    command = [
        "node",
        str(NODE / "node_modules/azurite/dist/src/blob/main.js"),
        "--silent",
        "--inMemoryPersistence",
    ]
    command += ["--disableTelemetry", "--blobHost", "127.0.0.1", "--blobPort", "0"]
    if certificate is not None:
        command += ["--cert", str(certificate[0]), "--key", str(certificate[1]), "--oauth", "basic"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert process.stdout is not None
    try:
        said = ""
        while (found := re.search(r"listens on https?://127\.0\.0\.1:(\d+)", said)) is None:
            line = process.stdout.readline().decode()
            assert line, f"Azurite did not start; run tests/servers/install_system.sh\n{said}"
            said += line
        scheme = "http" if certificate is None else "https"
        ca_file = None if certificate is None else str(certificate[2])
        yield AzuriteServer(f"{scheme}://127.0.0.1:{found[1]}/{ACCOUNT}", ca_file)
    finally:
        process.terminate()
        process.wait(600)
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
