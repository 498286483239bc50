"""Clients to compare, each with its defaults as a user of it would have them: open, put, get, close."""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.null_s3 import BUCKET

CA_FILE = os.environ.get("BENCH_CA_FILE")
"""Certificate of the authority to trust, if the server speaks TLS."""
KEY_ID, SECRET, REGION = "AKIDEXAMPLE", "example-secret", "us-east-1"


class Credstore:
    """All defaults on: digest, signed payload, write-id, verified reads."""

    async def open(self, url: str, concurrency: int) -> None:
        from credstore import S3CompatibleConfig, S3CompatibleStorageProvider, Secret

        self.store = S3CompatibleStorageProvider(
            S3CompatibleConfig(
                bucket=BUCKET,
                endpoint=url,
                access_key_id=KEY_ID,
                secret_access_key=Secret(SECRET),
                max_connections=max(64, concurrency),
                ca_file=CA_FILE,
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
    """The floor: unsigned requests on aiohttp."""

    async def open(self, url: str, concurrency: int) -> None:
        import aiohttp

        self.url = f"{url}/{BUCKET}"
        trust = ssl.create_default_context(cafile=CA_FILE) if CA_FILE else True
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

    async def open(self, url: str, concurrency: int) -> None:
        from credstore import Secret
        from credstore.wire.aws.credentials import Credentials

        await super().open(url, concurrency)
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
    async def open(self, url: str, concurrency: int) -> None:
        from obstore.store import S3Store

        options: Any = {"allow_http": True}
        if CA_FILE:
            options["root_certificate"] = Path(CA_FILE).read_text()
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
    async def open(self, url: str, concurrency: int) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        self.context = get_session().create_client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            verify=CA_FILE,
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
    async def open(self, url: str, concurrency: int) -> None:
        import boto3
        from botocore.config import Config

        self.client: Any = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=KEY_ID,
            aws_secret_access_key=SECRET,
            region_name=REGION,
            verify=CA_FILE,
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
    async def open(self, url: str, concurrency: int) -> None:
        import s3fs

        self.fs: Any = s3fs.S3FileSystem(
            asynchronous=True, key=KEY_ID, secret=SECRET, endpoint_url=url, skip_instance_cache=True,
            config_kwargs={"max_pool_connections": max(64, concurrency)}, client_kwargs={"verify": CA_FILE},
        )  # fmt: skip
        self.session = await self.fs.set_session()

    async def put(self, key: str, data: bytes) -> None:
        await self.fs._pipe_file(f"{BUCKET}/{key}", data)

    async def get(self, key: str) -> bytes:
        return await self.fs._cat_file(f"{BUCKET}/{key}")

    async def close(self) -> None:
        await self.session.close()


class OpenDal:
    async def open(self, url: str, concurrency: int) -> None:
        import opendal

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
    async def open(self, url: str, concurrency: int) -> None:
        import io

        import miniopy_async

        self.memory = io.BytesIO
        host = url.partition("://")[2]
        self.client = miniopy_async.Minio(host, KEY_ID, SECRET, secure=False, region=REGION)

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
    "aiohttp, unsigned (the floor)": BareAiohttp,
    "aiohttp, signed": SignedAiohttp,
    "obstore": Obstore,
    "aiobotocore": Aiobotocore,
    "boto3 in threads": Boto3Threads,
    "s3fs": S3fs,
    "OpenDAL": OpenDal,
    "miniopy-async": Miniopy,
}
