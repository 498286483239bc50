"""Clients to compare, each with its defaults as a user of it would have them: open, put, get, close."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.floor import Floor
from benchmarks.null_s3 import BUCKET

KEY_ID, SECRET, REGION = "AKIDEXAMPLE", "example-secret", "us-east-1"


class Credstore:
    """All defaults on: digest, signed payload, write-id, verified reads."""

    checks = "each read against the SHA-256 stored with the object; what it sends is signed with its SHA-256"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, Secret

        self.store = S3CompatibleStorageProvider(
            S3CompatibleConfig(
                bucket=BUCKET,
                endpoint=url,
                access_key_id=KEY_ID,
                secret_access_key=Secret(SECRET),
                max_connections=max(64, concurrency),
                ca_file=ca_file,
            )
        )

    async def put(self, key: str, data: bytes) -> None:
        await self.store.store(key, data)

    async def get(self, key: str) -> bytes:
        found = await self.store.retrieve(key)
        assert found is not None
        return found

    async def close(self) -> None:
        await self.store.aclose()


class BareAiohttp:
    """Unsigned requests on aiohttp."""

    checks = "nothing"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        import aiohttp

        self.url = f"{url}/{BUCKET}"
        trust: ssl.SSLContext | bool = True
        if ca_file:  # Besides the system's authorities, as in the clients that take one.
            trust = ssl.create_default_context()
            trust.load_verify_locations(ca_file)
        connector = aiohttp.TCPConnector(limit=max(64, concurrency), ssl=trust)
        self.session = aiohttp.ClientSession(connector=connector)

    def headers(self, method: str, key: str, data: bytes) -> dict[str, str]:
        return {}

    async def put(self, key: str, data: bytes) -> None:
        headers = self.headers("PUT", key, data)
        async with self.session.put(f"{self.url}/{key}", data=data, headers=headers) as answer:
            await answer.read()
            assert answer.status < 300

    async def get(self, key: str) -> bytes:
        async with self.session.get(f"{self.url}/{key}", headers=self.headers("GET", key, b"")) as answer:
            return await answer.read()

    async def close(self) -> None:
        await self.session.close()


class SignedAiohttp(BareAiohttp):
    """Signed requests on aiohttp, and nothing else."""

    checks = "nothing on reads; what it sends is signed with its SHA-256"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        from credstore import Secret
        from credstore.wire.aws.credentials import Credentials

        await super().open(url, concurrency, ca_file)
        self.host = url.partition("://")[2]
        self.credentials = Credentials(KEY_ID, Secret(SECRET))

    def headers(self, method: str, key: str, data: bytes) -> dict[str, str]:
        from credstore.wire.aws.sigv4 import sign_headers

        return sign_headers(
            method=method,
            host=self.host,
            path=f"/{BUCKET}/{key}",
            query=(),
            headers={},
            payload_hash=hashlib.sha256(data).hexdigest(),
            credentials=self.credentials,
            region=REGION,
            service="s3",
            now=datetime.now(UTC),
        )


class Obstore:
    checks = "nothing on reads; what it sends is signed with its SHA-256"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        from obstore.store import S3Store

        options: Any = {"allow_http": True}
        if ca_file:
            options["root_certificate"] = Path(ca_file).read_text()
        self.store = S3Store(
            BUCKET,
            endpoint=url,
            access_key_id=KEY_ID,
            secret_access_key=SECRET,
            region=REGION,
            client_options=options,
        )

    async def put(self, key: str, data: bytes) -> None:
        await self.store.put_async(key, data)

    async def get(self, key: str) -> bytes:
        return bytes(await (await self.store.get_async(key)).bytes_async())

    async def close(self) -> None:
        return


class Aiobotocore:
    checks = "a checksum of S3 where the server has one, which this one has not; sends a CRC"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self.context = get_session().create_client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            verify=ca_file,
            config=AioConfig(max_pool_connections=max(64, concurrency)),
        )
        self.client: Any = await self.context.__aenter__()

    async def put(self, key: str, data: bytes) -> None:
        await self.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    async def get(self, key: str) -> bytes:
        answer = await self.client.get_object(Bucket=BUCKET, Key=key)
        async with answer["Body"] as body:
            return await body.read()

    async def close(self) -> None:
        await self.context.__aexit__(None, None, None)


class Boto3Threads:
    checks = "as aiobotocore"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        import boto3
        from botocore.config import Config

        self.client: Any = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            verify=ca_file,
            config=Config(max_pool_connections=max(64, concurrency)),
        )
        self.threads = ThreadPoolExecutor(min(concurrency, 32))

    async def put(self, key: str, data: bytes) -> None:
        await asyncio.get_running_loop().run_in_executor(
            self.threads, lambda: self.client.put_object(Bucket=BUCKET, Key=key, Body=data)
        )

    async def get(self, key: str) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self.threads, self._get, key)

    def _get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    async def close(self) -> None:
        self.threads.shutdown()


class S3fs:
    checks = "as aiobotocore"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        import s3fs

        self.fs: Any = s3fs.S3FileSystem(
            asynchronous=True, key=KEY_ID, secret=SECRET, endpoint_url=url, skip_instance_cache=True,
            config_kwargs={"max_pool_connections": max(64, concurrency)}, client_kwargs={"verify": ca_file},
        )  # fmt: skip
        self.session = await self.fs.set_session()

    async def put(self, key: str, data: bytes) -> None:
        await self.fs._pipe_file(f"{BUCKET}/{key}", data)

    async def get(self, key: str) -> bytes:
        return await self.fs._cat_file(f"{BUCKET}/{key}")

    async def close(self) -> None:
        await self.session.close()


class OpenDal:
    checks = "nothing on reads; what it sends is not hashed"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        import opendal

        if ca_file:
            os.environ["SSL_CERT_FILE"] = ca_file
        self.operator = opendal.AsyncOperator(
            "s3", endpoint=url, bucket=BUCKET, region=REGION, access_key_id=KEY_ID, secret_access_key=SECRET
        )

    async def put(self, key: str, data: bytes) -> None:
        await self.operator.write(key, data)

    async def get(self, key: str) -> bytes:
        return bytes(await self.operator.read(key))

    async def close(self) -> None:
        return


class Miniopy:
    checks = "nothing on reads; what it sends is signed with its SHA-256"

    async def open(self, url: str, concurrency: int, ca_file: str | None = None) -> None:
        import io

        import miniopy_async

        if ca_file:
            os.environ["SSL_CERT_FILE"] = ca_file
        self.memory = io.BytesIO
        scheme, _, host = url.partition("://")
        self.client = miniopy_async.Minio(host, KEY_ID, SECRET, secure=scheme == "https", region=REGION)

    async def put(self, key: str, data: bytes) -> None:
        await self.client.put_object(BUCKET, key, self.memory(data), len(data))

    async def get(self, key: str) -> bytes:
        answer = await self.client.get_object(BUCKET, key)
        try:
            return await answer.read()
        finally:
            answer.release()

    async def close(self) -> None:
        await self.client.close_session()


PEERS: dict[str, type[Any]] = {
    "credstore": Credstore,
    "bare protocol (the floor)": Floor,
    "aiohttp, signed": SignedAiohttp,
    "obstore": Obstore,
    "aiohttp, unsigned": BareAiohttp,
    "aiobotocore": Aiobotocore,
    "boto3 in threads": Boto3Threads,
    "s3fs": S3fs,
    "OpenDAL": OpenDal,
    "miniopy-async": Miniopy,
}
MAIN = list(PEERS)[:4]
"""Those that every case has."""
PACKAGES = (
    "credstore", "obstore", "aiohttp", "aiobotocore", "botocore", "boto3", "s3fs", "opendal", "miniopy-async",
    "httptools", "uvloop", "cryptography",
)  # fmt: skip


def versions() -> str:
    """What was measured, with versions."""
    found = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    return ", ".join([f"Python {platform.python_version()}", ssl.OPENSSL_VERSION, *found])
