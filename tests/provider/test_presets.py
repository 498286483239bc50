"""Each named provider through the whole life of an object; S3's family on moto's server."""

import asyncio
from dataclasses import replace

import pytest

from credstore import (
    BackblazeConfig,
    BackblazeStorageProvider,
    CustomerKey,
    KmsKey,
    LocalConfig,
    LocalStorageProvider,
    MemoryConfig,
    MemoryStorageProvider,
    R2Config,
    R2StorageProvider,
    S3CompatibleConfig,
    S3CompatibleStorageProvider,
    S3Config,
    S3StorageProvider,
    Secret,
    SpacesConfig,
    SpacesStorageProvider,
    StorageAlreadyExistsError,
    StorageInvalidRequestError,
    StorageNotFoundError,
    StorageUnsupportedError,
    WasabiConfig,
    WasabiStorageProvider,
)
from credstore.config.settings import CommonConfig
from credstore.errors import StorageConfigurationError
from credstore.provider.presets import build_driver, provider_for
from tests.faults.stores import serving

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": Secret("canary-secret")}
PROOF = b'{"claim": "the original"}' * 50
CLOUDS = [
    (S3Config, S3StorageProvider, {"addressing": "path"}),
    (R2Config, R2StorageProvider, {}),
    (SpacesConfig, SpacesStorageProvider, {"region": "ams3", "addressing": "path"}),
    (WasabiConfig, WasabiStorageProvider, {}),
    (BackblazeConfig, BackblazeStorageProvider, {"region": "eu-central-003"}),
    (S3CompatibleConfig, S3CompatibleStorageProvider, {"flavor": "minio"}),
    (S3CompatibleConfig, S3CompatibleStorageProvider, {"flavor": "ceph"}),
    (S3CompatibleConfig, S3CompatibleStorageProvider, {}),
]


async def whole_life(provider):
    """Every verb once, with what each must answer."""
    can = provider.capabilities
    for codec in (False, "gzip", "zstd"):
        key = f"2026/é +%/{codec}.json"
        result = await provider.store(key, PROOF, compress=codec, metadata={"issuer": "Ünï"})
        assert result.provider == provider.get_provider_name()
        assert await provider.retrieve(key) == PROOF
        item = await provider.get_metadata(key)
        assert (item.metadata, item.plain_size, item.digest) == ({"issuer": "Ünï"}, len(PROOF), result.digest)
        async with provider.open(key, start=10, end=20) as reader:
            assert await reader.read() == PROOF[10:20]
    names = [item.key for item in await provider.list("2026/")]
    assert len(names) == 3
    assert names == sorted(names)
    assert (await provider.get_stats()).total_objects == 3
    copied = await provider.copy(names[0], "copy/日本")
    assert copied.digest is not None
    await provider.move("copy/日本", "moved")
    assert await provider.exists("moved")
    assert not await provider.exists("copy/日本")
    assert await provider.retrieve("moved") == PROOF
    if can.conditional_create:
        with pytest.raises(StorageAlreadyExistsError):
            await provider.store("moved", b"other", if_absent=True)
    else:
        with pytest.raises(StorageUnsupportedError):
            await provider.store("moved", b"other", if_absent=True)
    for method in sorted(can.presign):
        assert (await provider.get_signed_url("moved", 60, method)).method == method
    assert (await provider.health_check()).healthy
    assert provider.get_url("moved").endswith("/moved")
    assert await provider.delete("moved") in ({True} if can.delete_tells_existence else {None})
    assert await provider.delete("moved") in ({False} if can.delete_tells_existence else {None})
    outcome = await provider.batch_delete([*names, *(f"absent/{number}" for number in range(2500))])
    assert (len(outcome.deleted), dict(outcome.failed)) == (2503, {})
    assert await provider.list() == []


@pytest.mark.parametrize(
    ("kind", "named", "settings"), CLOUDS, ids=lambda each: getattr(each, "__name__", None)
)
def test_each_cloud(s3_server, kind, named, settings):
    config = kind(bucket=s3_server.bucket, endpoint=s3_server.url, **KEYS, **settings)

    async def main():
        async with named(config) as provider:
            await whole_life(provider)
        missing = kind(bucket="no-such-bucket", endpoint=s3_server.url, **KEYS, **settings)
        async with provider_for(missing) as provider:
            assert type(provider) is named
            for call in (
                provider.retrieve("k"),
                provider.store("k", b"1"),
                provider.exists("k"),
                provider.list(),
                provider.get_stats(),
                provider.delete("k"),
            ):
                with pytest.raises(StorageNotFoundError) as caught:
                    await call
                assert caught.value.code == "BUCKET_NOT_FOUND"
            assert not (await provider.health_check()).healthy

    asyncio.run(main())


def test_local_and_memory(tmp_path):
    async def main():
        async with LocalStorageProvider(LocalConfig(path=str(tmp_path))) as provider:
            await whole_life(provider)
        async with MemoryStorageProvider() as provider:
            await whole_life(provider)

    asyncio.run(main())
    assert isinstance(provider_for(MemoryConfig()), MemoryStorageProvider)
    assert isinstance(provider_for(LocalConfig(path=str(tmp_path))), LocalStorageProvider)


def test_server_side_encryption_on_s3(s3_server):
    config = S3Config(bucket=s3_server.bucket, endpoint=s3_server.url, addressing="path", **KEYS)

    async def main():
        async with S3StorageProvider(config) as provider:
            assert (await provider.store("default", PROOF)).encryption == "AES256"
            assert (await provider.store("kms", PROOF, encryption=KmsKey("key-id"))).encryption == "aws:kms"

    asyncio.run(main())


def test_a_customers_own_key_on_s3():
    """On the fault origin: moto 5.2 knows nothing of such keys."""
    own = CustomerKey(bytes(range(32)))

    async def main(origin):
        config = S3Config(bucket="bucket", endpoint=origin.url, addressing="path", **KEYS)
        async with S3StorageProvider(config) as provider:
            assert (await provider.store("own", PROOF, encryption=own)).encryption == "SSE-C"
            with pytest.raises(StorageInvalidRequestError):
                await provider.retrieve("own")
            assert await provider.retrieve("own", encryption=own) == PROOF
            assert (await provider.get_metadata("own", encryption=own)).size == len(PROOF)
        async with S3StorageProvider(replace(config, encryption=own)) as provider:
            assert await provider.retrieve("own") == PROOF
            await provider.move("own", "moved")
            assert await provider.retrieve("moved") == PROOF
            for options in ({}, {"check": False}, {"method": "PUT"}):
                with pytest.raises(StorageUnsupportedError, match="customer-provided key"):
                    await provider.get_signed_url("moved", **options)

    async def served():
        async with serving() as origin:
            await main(origin)

    asyncio.run(served())


@pytest.mark.parametrize(
    ("config", "asked"),
    [
        (R2Config(bucket="proofs", account_id="0" * 32, **KEYS), KmsKey()),
        (WasabiConfig(bucket="proofs", **KEYS), CustomerKey(bytes(32))),
        (S3CompatibleConfig(bucket="proofs", endpoint="https://s3.example.com", **KEYS), True),
        (LocalConfig(path="nowhere"), True),
    ],
)
def test_what_a_cloud_has_not_is_refused_without_asking_it(config, asked):
    async def main():
        async with provider_for(config) as provider:
            with pytest.raises(StorageUnsupportedError):
                await provider.store("key", PROOF, encryption=asked)

    asyncio.run(main())


def test_a_config_nobody_knows_is_refused():
    class Other(CommonConfig):
        pass

    for make in (provider_for, build_driver):
        with pytest.raises(StorageConfigurationError, match="Other"):
            make(Other())


@pytest.mark.parametrize(
    ("provider", "config"),
    [
        (S3StorageProvider, LocalConfig(path="x")),
        (LocalStorageProvider, MemoryConfig()),
        (WasabiStorageProvider, S3Config(bucket="proofs", **KEYS)),
    ],
)
def test_a_named_provider_refuses_the_config_of_another_cloud(provider, config):
    with pytest.raises(StorageConfigurationError) as caught:
        provider(config)
    for name in (provider.__name__, type(config).__name__):
        assert name in caught.value.message
