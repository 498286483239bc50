"""Users' code, read by mypy and pyright and never run: what they must accept, and what refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_type

from credstore import (
    BatchDeleteResult,
    Capabilities,
    CommonPrefix,
    Container,
    CustomerKey,
    HealthCheckResult,
    KmsKey,
    Listing,
    LocalConfig,
    LocalStorageProvider,
    ObjectReader,
    R2Config,
    R2StorageProvider,
    Secret,
    SignedUrl,
    StorageError,
    StorageFactory,
    StorageItem,
    StorageProvider,
    StorageResult,
    StorageStats,
    StoreOptions,
)


async def chunks() -> AsyncIterator[bytes]:
    yield b""


async def verbs(provider: StorageProvider) -> None:
    assert_type(await provider.store("key", b"data"), StorageResult)
    await provider.store("key", Path("file"), compress="zstd", metadata={"a": "b"}, if_absent=True)
    await provider.store("key", chunks(), encryption=KmsKey("id"), progress=lambda done, total: None)
    await provider.store("key", [b"a"], encryption=CustomerKey(bytes(32)))
    assert_type(await provider.retrieve("key"), bytes | None)
    assert_type(await provider.get_metadata("key"), StorageItem | None)
    assert_type(await provider.exists("key"), bool)
    assert_type(await provider.delete("key"), bool | None)
    assert_type(await provider.batch_delete(["a", "b"]), BatchDeleteResult)
    assert_type(await provider.list("prefix/", max_keys=5), Listing)
    items: list[StorageItem] = await provider.list("prefix/", delimiter="/", start_after="prefix/a")
    assert_type(items[0], StorageItem)
    assert_type((await provider.list(delimiter="/")).prefixes, tuple[str, ...])
    async for item in provider.scan("prefix/"):
        assert_type(item, StorageItem)
    async for found in provider.scan("prefix/", delimiter="/"):
        assert_type(found, StorageItem | CommonPrefix)
    async with provider.open("key", suffix=65536) as tail:
        assert_type(await tail.read(), bytes)
    assert_type(await provider.get_stats(), StorageStats)
    assert_type(await provider.health_check(), HealthCheckResult)
    assert_type(await provider.copy("a", "b"), StorageResult)
    assert_type(await provider.move("a", "b"), StorageResult)
    assert_type(await provider.get_signed_url("key", 60, download_name="a.json"), SignedUrl)
    assert_type(provider.get_url("key"), str)
    assert_type(provider.capabilities, Capabilities)
    async with provider.open("key", start=5) as reader:
        assert_type(reader, ObjectReader[StorageItem])
        async for chunk in reader:
            assert_type(chunk, bytes)


async def wrong(provider: StorageProvider) -> None:
    await provider.store("key", "text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await provider.store("key", b"", compres=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await provider.store("key", b"", compress="brotli")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await provider.get_signed_url("key", 60, "POST")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    R2Config(bucket="b", secret_access_key="plain")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def making() -> None:
    options: StoreOptions = {"compress": True, "tags": {"kind": "proof"}}
    async with LocalStorageProvider(LocalConfig(path="proofs")) as provider:
        assert_type(provider, LocalStorageProvider)
        await provider.store("key", b"data", **options)
    R2StorageProvider(R2Config(bucket="b", access_key_id="a", secret_access_key=Secret("s")))
    assert_type(StorageFactory.create("s3://bucket"), StorageProvider)
    factory = StorageFactory(environ={})
    assert_type(factory.create({"provider": "r2"}), StorageProvider)
    assert_type(factory.create_with_fallback("s3://a", "r2://b"), StorageProvider)
    assert_type(StorageFactory.get_registered_providers(), list[str])
    async with Container() as container:
        assert_type(container.storage_provider(), StorageProvider)


def failing(error: StorageError) -> None:
    assert_type(error.retryable, bool)
    if error.applied == "sometimes":  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison]
        return
