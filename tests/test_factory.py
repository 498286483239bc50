"""The factory: what it makes of configs, URLs and mappings, and which provider it gives again."""

import asyncio
import gc
import os

import pytest

from credstore import (
    LocalConfig,
    LocalStorageProvider,
    MemoryConfig,
    MemoryStorageProvider,
    R2StorageProvider,
    S3Config,
    S3StorageProvider,
    Secret,
    StorageConfigurationError,
    StorageFactory,
    StorageInvalidRequestError,
    StorageProvider,
)
from credstore.config.settings import CommonConfig
from credstore.drivers.memory import MemoryDriver, MemoryObjects

ENVIRON = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "canary-secret"}


class AcmeConfig(CommonConfig):
    provider = "acme"


def build_acme(config: CommonConfig) -> MemoryDriver:
    return MemoryDriver(MemoryConfig())


def test_it_takes_configs_urls_and_mappings(tmp_path):
    async def main():
        async with StorageFactory(environ=ENVIRON) as factory:
            assert isinstance(factory.create(LocalConfig(path=str(tmp_path))), LocalStorageProvider)
            assert isinstance(factory.create("s3://proofs?region=eu-west-1"), S3StorageProvider)
            assert isinstance(factory.create("memory://name"), MemoryStorageProvider)
            r2 = {
                "provider": "r2",
                "bucket": "proofs",
                "account_id": "a" * 32,
                "access_key_id": "id",
                "secret_access_key": "canary-secret",
            }
            assert isinstance(factory.create(r2), R2StorageProvider)
            for wrong in (7, None, b"s3://x", object()):
                with pytest.raises(StorageConfigurationError, match="a config, a URL or a mapping"):
                    factory.create(wrong)

    asyncio.run(main())


@pytest.mark.parametrize(
    "word",
    [
        "local",
        "s3",
        "aws",
        "digitalocean",
        "do",
        "spaces",
        "wasabi",
        "backblaze",
        "b2",
        "cloudflare",
        "r2",
        "cloudflare_r2",
        "memory",
        "minio",
    ],
)
def test_every_alias_of_the_original_is_known(word):
    settings = {"provider": word, "bucket": "proofs", "access_key_id": "id", "secret_access_key": "secret"}
    needed = {
        "local": {"path": "/nowhere"},
        "memory": {},
        "minio": {"endpoint": "http://127.0.0.1:9000"},
    }.get(word)
    if needed is None or word == "minio":
        settings |= needed or {}
    else:
        settings = {"provider": word, **needed}
    if word.startswith(("r2", "cloudflare")):
        settings["account_id"] = "a" * 32
    if word in {"do", "digitalocean", "spaces", "backblaze", "b2"}:
        settings["region"] = "ams3"
    assert isinstance(StorageFactory(environ={}).create(settings), StorageProvider)


def test_the_same_settings_give_the_same_provider_on_one_loop():
    factory = StorageFactory(environ=ENVIRON)

    async def main():
        one = factory.create("memory://shared")
        assert factory.create("memory://shared") is one
        assert factory.create("memory://other") is not one
        return one

    first = asyncio.run(main())
    assert asyncio.run(main()) is not first
    assert factory.create("memory://shared") is not factory.create("memory://shared")


def test_a_forked_child_is_given_a_provider_of_its_own():
    factory = StorageFactory(environ={})

    async def create():
        return factory.create("memory://shared")

    with asyncio.Runner() as runner:
        one = runner.run(create())
        child = os.fork()
        if child == 0:
            os._exit(runner.run(create()) is one)  # On the same loop, as for whoever forks between two runs.
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "it was given its parent's"
        assert runner.run(create()) is one


def test_the_key_of_the_cache_covers_credentials_and_endpoint():
    async def main():
        async with StorageFactory(environ={}) as factory:
            made = [
                factory.create(S3Config(bucket="proofs", access_key_id=key, secret_access_key=Secret(secret)))
                for key, secret in (("a", "x"), ("a", "y"), ("b", "x"), ("a", "x"))
            ]
            assert len(set(map(id, made))) == 3
            assert made[0] is made[3]

    asyncio.run(main())


def test_a_closed_provider_is_never_given_again():
    async def main():
        async with StorageFactory(environ={}) as factory:
            one = factory.create("memory://name")
            await one.aclose()
            two = factory.create("memory://name")
            assert two is not one
            await two.store("key", b"1")
            factory.clear_cache()
            assert factory.create("memory://name") is not two
            await two.retrieve("key")
            await two.aclose()

    asyncio.run(main())


def test_closing_the_factory_closes_what_it_made():
    async def main():
        factory = StorageFactory(environ={})
        one = factory.create("memory://name")
        await factory.aclose()
        await factory.aclose()
        assert one.closed
        with pytest.raises(StorageInvalidRequestError, match="closed"):
            await one.retrieve("key")

    asyncio.run(main())


def test_a_loop_that_ended_keeps_nothing_alive():
    factory = StorageFactory(environ={})

    async def main():
        factory.create("memory://name")

    asyncio.run(main())
    gc.collect()
    assert len(factory._cache) == 0


def test_a_loop_that_a_provider_holds_is_let_go_too():
    factory = StorageFactory(environ={})

    async def main(hold):
        provider = factory.create("memory://name")
        provider.held = asyncio.get_running_loop() if hold else None

    asyncio.run(main(hold=True))
    asyncio.run(main(hold=False))
    gc.collect()
    assert len(factory._cache) == 0


def test_from_env_and_the_named_provider(tmp_path):
    factory = StorageFactory(environ={"STORAGE_PROVIDER": "local", "STORAGE_PATH": str(tmp_path)})
    assert isinstance(factory.from_env(), LocalStorageProvider)
    assert isinstance(factory.from_env(provider="memory"), MemoryStorageProvider)
    assert isinstance(factory.from_env({"CREDSTORE_URL": "memory://x"}), MemoryStorageProvider)
    with pytest.raises(StorageConfigurationError, match="CREDSTORE_PROVIDER"):
        factory.from_env({})


def test_the_names_on_the_class_act_on_one_default_instance():
    assert StorageFactory.create("memory://default").get_provider_name() == "memory"
    assert "r2" in StorageFactory.get_registered_providers()
    StorageFactory.clear_cache()
    assert StorageFactory.default() is StorageFactory.default()
    assert StorageFactory.create.__doc__ == StorageFactory(environ={}).create.__doc__


def test_a_fallback_of_two_stores(tmp_path):
    async def main():
        async with StorageFactory(environ={}) as factory:
            provider = factory.create_with_fallback(f"file://{tmp_path}/one", f"file://{tmp_path}/two")
            assert (
                factory.create_with_fallback(f"file://{tmp_path}/one", f"file://{tmp_path}/two") is provider
            )
            await provider.store("key", b"1", compress="gzip")
            assert await provider.retrieve("key") == b"1"
            result = await provider.store("key", b"2")
            assert (result.served_by, result.degraded) == ("local (primary)", False)
            assert (tmp_path / "one" / "key").read_bytes() == b"2"
            assert not (tmp_path / "two" / "key").exists()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("primary", "fallback"),
    [
        ("memory://x", "memory://x"),
        ("file:///srv/proofs", "file:///srv/proofs/?timeout=3s"),
        ("file:///srv/proofs", "file:///srv/proofs/team"),
        ("file:///srv/proofs/team/a", "file:///srv/proofs?prefix=team"),
        ("file:///srv/proofs?prefix=team/a", "file:///srv/proofs/team/a"),
        ("file:///srv/proofs?prefix=team", "file:///srv/other/../proofs/team/a?prefix=b"),
        ("s3://proofs?region=eu-west-1", "aws://proofs?region=eu-west-1&max_retries=1"),
        ("s3://proofs", "s3://proofs?endpoint=https://S3.us-east-1.amazonaws.com"),
    ],
)
def test_a_store_is_no_fallback_of_itself(primary, fallback):
    with pytest.raises(StorageConfigurationError, match="same store"):
        StorageFactory(environ=ENVIRON).create_with_fallback(primary, fallback)


def test_a_registered_provider():
    factory = StorageFactory(environ={})
    factory.register("acme", AcmeConfig, build_acme, aliases=["apex"])
    assert factory.create("apex:").get_provider_name() == "memory"
    assert factory.create({"provider": "acme", "cdn_url": "https://cdn.example.com"}).get_url("k") == (
        "https://cdn.example.com/k"
    )
    assert "acme" in factory.get_registered_providers()
    assert "acme" not in StorageFactory(environ={}).get_registered_providers()
    for name in ("acme", "s3", "Not A Word"):
        with pytest.raises(StorageConfigurationError):
            factory.register(name, AcmeConfig, build_acme)


class Plugin:
    """Stands for an installed entry point."""

    value = "acme_storage:register"

    def __init__(self, load, name="acme"):
        self.load = load
        self.name = name


def test_names_and_aliases_are_listed_as_the_original_lists_them(monkeypatch):
    original = ["local", "s3", "aws", "digitalocean", "do", "spaces", "wasabi", "backblaze", "b2", "cloudflare",
                "r2", "cloudflare_r2"]  # fmt: skip
    factory = StorageFactory(environ={})
    listed = factory.get_registered_providers()
    assert len(listed) >= 12
    assert set(original) | {"memory", "minio", "ceph", "custom", "file"} <= set(listed)
    assert listed == sorted(set(listed))
    factory.register("acme", AcmeConfig, build_acme, aliases=["apex"])
    assert set(factory.get_registered_providers()) - set(listed) == {"acme", "apex"}
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [Plugin(lambda: None, "zeta")])
    assert set(factory.get_registered_providers()) - set(listed) == {"acme", "apex", "zeta"}
    assert StorageFactory.get_registered_providers() == sorted([*listed, "zeta"])


def test_a_registered_provider_has_a_prefix_without_doing_anything_for_it():
    objects = MemoryObjects()

    async def main():
        async with StorageFactory(environ={}) as factory:
            factory.register("acme", AcmeConfig, lambda _: MemoryDriver(MemoryConfig(), objects=objects))
            store = factory.create(
                {"provider": "acme", "prefix": "team/a", "cdn_url": "https://cdn.example.com"}
            )
            result = await store.store("k", b"1")
            assert (result.key, result.url) == ("k", "https://cdn.example.com/team/a/k")
            assert list(objects.by_key) == ["team/a/k"]
            assert factory.create("acme:?prefix=other") is not store
            with pytest.raises(StorageConfigurationError, match="prefix"):
                factory.create("acme:?prefix=/other")

    asyncio.run(main())


def test_the_settings_of_a_store_can_be_had_without_opening_it():
    factory = StorageFactory(environ={"STORAGE_PROVIDER": "local", "STORAGE_PATH": "/srv"})
    assert factory.configure() == LocalConfig(path="/srv")
    assert factory.configure("memory://name/team") == MemoryConfig(name="name", prefix="team")
    config = MemoryConfig()
    assert factory.configure(config) is config


@pytest.mark.parametrize("wrong", [7, None, b"data"])
def test_a_named_provider_of_something_else_shows_the_right_call(wrong):
    with pytest.raises(StorageConfigurationError, match=r"LocalStorageProvider\(LocalConfig\(path="):
        LocalStorageProvider(wrong)
    with pytest.raises(StorageConfigurationError, match="is made from its config"):
        S3StorageProvider(wrong)


def test_a_plug_in_is_loaded_when_its_name_is_first_used(monkeypatch):
    loaded = []

    def register(factory):
        loaded.append(factory)
        factory.register("acme", AcmeConfig, build_acme)

    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda **given: [Plugin(lambda: register)] if given.get("name", "acme") == "acme" else [],
    )
    factory = StorageFactory(environ={})
    assert "acme" in factory.get_registered_providers()
    assert loaded == []
    factory.create("acme:")
    factory.create("acme:")
    assert loaded == [factory]


def test_a_broken_plug_in_is_named(monkeypatch):
    def broken():
        raise ImportError("no such module")

    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [Plugin(broken)])
    factory = StorageFactory(environ={})
    for _ in range(2):
        with pytest.raises(StorageConfigurationError, match=r"'acme' \(acme_storage:register\).*no such mod"):
            factory.create("acme:")
