"""Small objects on Azure Blob Storage and Google Cloud Storage: one store and one retrieve, peers taking turns."""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import Any

from benchmarks.null_s3 import BUCKET, running_null_s3
from benchmarks.report import Figures, checked, comparison
from benchmarks.small import NAMES, lanes
from benchmarks.worker import LOOPS, Scale, Stopwatch, add, run

TITLE = "Azure and Google"
ACCOUNT, KEY = "nullaccount", base64.b64encode(b"a key of an account that is none" * 2).decode()
SIZE, AT_ONCE = 4096, 32
Cases = dict[str, dict[str, Figures]]


class AzureCredstore:
    """All defaults on."""

    checks = "each read against the SHA-256 stored with the object"

    async def open(self, url: str) -> None:
        from credstore import AzureConfig, AzureStorageProvider, Secret

        config = AzureConfig(
            account=ACCOUNT, endpoint=f"{url}/{ACCOUNT}", bucket=BUCKET, account_key=Secret(KEY)
        )
        self.store: Any = AzureStorageProvider(config)

    async def put(self, key: str, data: bytes) -> None:
        await self.store.store(key, data)

    async def get(self, key: str) -> bytes:
        return await self.store.retrieve(key)

    async def close(self) -> None:
        await self.store.aclose()


class GcsCredstore(AzureCredstore):
    """All defaults on."""

    checks = "each read against the SHA-256 stored with the object; a CRC32C goes with each write"

    async def open(self, url: str) -> None:
        from credstore import GcsConfig, GoogleCloudStorageProvider

        config = GcsConfig(endpoint=url, bucket=BUCKET, auth_mode="anonymous", allow_http=True)
        self.store = GoogleCloudStorageProvider(config)


class AzureSdk:
    """azure-storage-blob on aiohttp."""

    checks = "nothing unless `validate_content`"

    async def open(self, url: str) -> None:
        from azure.storage.blob.aio import ContainerClient

        self.container = ContainerClient(
            f"{url}/{ACCOUNT}", BUCKET, {"account_name": ACCOUNT, "account_key": KEY}
        )

    async def put(self, key: str, data: bytes) -> None:
        await self.container.upload_blob(key, data, overwrite=True)

    async def get(self, key: str) -> bytes:
        return await (await self.container.download_blob(key)).readall()

    async def close(self) -> None:
        await self.container.close()


class GcloudAio:
    """gcloud-aio-storage without credentials."""

    checks = "nothing"

    async def open(self, url: str) -> None:
        os.environ["STORAGE_EMULATOR_HOST"] = url
        from gcloud.aio.storage import Storage

        self.storage: Any = Storage(api_root=url)

    async def put(self, key: str, data: bytes) -> None:
        await self.storage.upload(BUCKET, key, data, metadata={"metadata": {"made": "by a bench"}})

    async def get(self, key: str) -> bytes:
        return await self.storage.download(BUCKET, key)

    async def close(self) -> None:
        await self.storage.close()


class AzureObstore:
    """obstore."""

    checks = "nothing"

    async def open(self, url: str) -> None:
        from obstore.store import AzureStore

        self.store: Any = AzureStore(
            BUCKET,
            account_name=ACCOUNT,
            account_key=KEY,
            endpoint=f"{url}/{ACCOUNT}",
            client_options={"allow_http": True},
        )

    async def put(self, key: str, data: bytes) -> None:
        await self.store.put_async(key, data)

    async def get(self, key: str) -> bytes:
        return bytes(await (await self.store.get_async(key)).bytes_async())

    async def close(self) -> None:
        return


class GcsObstore(AzureObstore):
    """obstore, without credentials."""

    async def open(self, url: str) -> None:
        from obstore.store import GCSStore

        account = {
            "gcs_base_url": url,
            "disable_oauth": True,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        }
        self.store = GCSStore(
            BUCKET, service_account_key=json.dumps(account), client_options={"allow_http": True}
        )


PEERS: dict[str, dict[str, type[Any]]] = {
    "azure": {"credstore": AzureCredstore, "azure-storage-blob": AzureSdk, "obstore": AzureObstore},
    "gcs": {"credstore": GcsCredstore, "gcloud-aio-storage": GcloudAio, "obstore": GcsObstore},
}
SHOWN = {"azure": "Azure Blob Storage", "gcs": "Google Cloud Storage"}


def measure(scale: Scale) -> Cases:
    """Case to peer to figures."""
    cases: Cases = {}
    for cloud, peers in PEERS.items():
        with running_null_s3(speak=cloud) as server:
            for loop in LOOPS:
                case = cases.setdefault(f"{SHOWN[cloud]}, {SIZE} bytes, {AT_ONCE} at once, HTTP, {loop}", {})
                for number in range(scale.rounds):
                    for peer in peers:
                        print(f"clouds, {cloud}, {loop}, round {number + 1}: {peer}", file=sys.stderr)
                        arguments = [server.url, scale.count]
                        found = run(__name__, loop, cloud=cloud, peer=peer, arguments=arguments)
                        add(case.setdefault(peer, {}), found, 1)
    return cases


async def work(cloud: str, peer: str, arguments: tuple[str, int]) -> dict[str, float]:
    """Microseconds of CPU for one operation of each verb."""
    url, count = arguments
    found: dict[str, float] = {}
    data = os.urandom(SIZE)
    client = PEERS[cloud][peer]()
    await client.open(url)
    try:
        for verb in NAMES:

            async def one(index: int, verb: str = verb) -> None:
                key = f"k{index % 64}"
                if verb == "put":
                    await client.put(key, data)
                else:
                    assert await client.get(key) == data

            await one(0)
            await lanes(one, 2 * AT_ONCE, AT_ONCE)
            watch = Stopwatch()
            await lanes(one, count, AT_ONCE)
            found[verb] = watch.read()[0] / count * 1e6
    finally:
        await client.close()
    return found


def render(cases: Cases) -> list[str]:
    """The results as Markdown."""
    checks = {
        f"{peer} ({SHOWN[cloud].split()[0]})": kind.checks
        for cloud, peers in PEERS.items()
        for peer, kind in peers.items()
    }
    lines = [
        "Client CPU per operation in microseconds, against a server on loopback in a process of its own that says "
        "what each cloud says and returns what was stored with its metadata. On Azure everyone signs with the "
        "account's key; on Google there are no credentials, since a token costs a header.",
        "",
        checked({**checks, "the benchmark": "that each retrieve returns the bytes that were stored"}),
    ]
    for case, peers in cases.items():
        lines += ["", f"### {case}", "", *comparison(peers, "credstore", NAMES)]
    return lines
