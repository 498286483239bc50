"""Key rings and encryption that the settings of a store name."""

import asyncio
import base64
import gc
from pathlib import Path

import pytest

from credstore import (
    AwsKmsKey,
    ClientSide,
    KeyRing,
    LocalConfig,
    LocalKey,
    MemoryConfig,
    S3Config,
    StorageConfigurationError,
    StorageDecryptionError,
    StorageFactory,
    StorageInvalidRequestError,
    cached,
    connect,
)
from credstore.config.settings import OFF
from credstore.keyring.configured import key_ring_of
from credstore.provider.stored_form import session_of

ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.fixture
def keys(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return {name: LocalKey.generate_file(name) for name in ("a", "b", "c")}


def settings(**more):
    return MemoryConfig(**{"wrapping_key": "a", "store_id": "s", **more})


def test_the_ring_has_the_current_key_and_the_older_ones(keys):
    ring = key_ring_of(settings(older_wrapping_keys="b, c,"))
    assert ring.current_id == keys["a"].key_id
    assert [*ring.keys] == [keys[name].key_id for name in "abc"]


def test_a_key_that_is_named_twice_counts_once(keys):
    assert [*key_ring_of(settings(older_wrapping_keys="b,a,b")).keys] == [keys["a"].key_id, keys["b"].key_id]
    Path("copy").write_bytes(Path("b").read_bytes())
    Path("copy").chmod(0o600)
    with pytest.raises(StorageConfigurationError, match="two keys of the ring"):
        key_ring_of(settings(older_wrapping_keys="b,copy"))


def test_a_path_may_begin_with_the_home_directory(keys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    assert key_ring_of(settings(wrapping_key="~/a")).current_id == keys["a"].key_id
    assert key_ring_of(settings(wrapping_key=tmp_path / "a")).current_id == keys["a"].key_id


def test_an_arn_names_a_key_of_the_key_service(keys):
    ring = key_ring_of(settings(wrapping_key=ARN, older_wrapping_keys="a"))
    assert isinstance(ring.keys[ARN], AwsKmsKey)
    with pytest.raises(StorageConfigurationError, match="is not the ARN of a KMS key"):
        key_ring_of(settings(wrapping_key="arn:aws:kms:eu-west-1:111122223333:alias/a"))


def test_without_a_key_there_is_no_ring():
    with pytest.raises(StorageConfigurationError, match="CREDSTORE_WRAPPING_KEY is not set"):
        key_ring_of(MemoryConfig())


# What a config checks


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"wrapping_key": "a"}, "`store_id` of local is missing"),
        ({"store_id": "s"}, "`wrapping_key` of local is missing, and `store_id`"),
        ({"older_wrapping_keys": "a"}, "`wrapping_key` of local is missing, and `older_wrapping_keys`"),
        ({"wrapping_key": "a", "store_id": "é"}, "`store_id` of local must be 1 to 255 printable ASCII"),
        ({"wrapping_key": "a", "store_id": "s" * 256}, "`store_id` of local must be"),
        ({"wrapping_key": "a", "store_id": ""}, "`store_id` of local must be"),
        ({"wrapping_key": "", "store_id": "s"}, "`wrapping_key` of local is empty"),
        ({"wrapping_key": "a\n", "store_id": "s"}, "`wrapping_key` of local is empty, or has"),
    ],
)
def test_half_of_it_is_no_config(given, said):
    with pytest.raises(StorageConfigurationError) as refused:
        LocalConfig(path="p", **given)
    assert said in refused.value.message
    assert "set by CREDSTORE_" in refused.value.message


def test_off_is_as_without_it():
    assert settings(wrapping_key=OFF, older_wrapping_keys="b") == MemoryConfig()


@pytest.mark.parametrize("field", ["wrapping_key", "older_wrapping_keys"])
@pytest.mark.parametrize("form", [lambda key: base64.b64encode(key).decode(), bytes.hex])
def test_a_key_in_place_of_a_path_is_refused_and_in_no_frame(field, form):
    text = form(b"canary-key-of-32-bytes-in-length")
    for make in (
        lambda: settings(**{field: text}),
        lambda: StorageFactory(environ={f"CREDSTORE_{field.upper()}": text}).configure("file:p"),
        lambda: connect(f"file:p?{field}={text.replace('+', '%2B')}"),
        lambda: StorageFactory(environ={}).configure({"provider": "local", "path": "p", field: f"x, {text}"}),
    ):
        with pytest.raises(StorageConfigurationError, match="not the key itself") as refused:
            make()
        frames = []
        trace = refused.value.__traceback__
        while trace is not None:
            if (
                "credstore" in trace.tb_frame.f_code.co_filename
                and "tests" not in trace.tb_frame.f_code.co_filename
            ):
                frames.append(repr(trace.tb_frame.f_locals))
            trace = trace.tb_next
        assert text not in refused.value.message + "".join(frames)


def test_it_does_not_say_which_place_a_store_is():
    one = S3Config("proofs", region="eu-west-1")
    two = S3Config("proofs", region="eu-west-1", wrapping_key="a", store_id="s")
    assert one.place == two.place
    assert settings().place == MemoryConfig().place


# What a store does with it


def test_a_store_of_these_settings_is_encrypted(keys, tmp_path):
    async def main():
        url = f"{(tmp_path / 'store').as_uri()}?wrapping_key=a&store_id=s"
        async with connect(url) as store:
            await store.store("k", b"plain text")
            assert await store.retrieve("k") == b"plain text"
            assert session_of(store).policy.store_id == "s"
        async with connect((tmp_path / "store").as_uri()) as store:
            with pytest.raises(StorageInvalidRequestError, match="wrapping_key"):
                await store.retrieve("k")
        ring = KeyRing(LocalKey.from_file("a"))
        async with connect((tmp_path / "store").as_uri(), encryption=ClientSide(ring, store_id="s")) as store:
            assert await store.retrieve("k") == b"plain text"
        assert b"plain text" not in (tmp_path / "store/k").read_bytes()

    asyncio.run(main())


def test_a_key_ring_of_ones_own_counts_in_place_of_it(keys, tmp_path):
    policy = ClientSide(KeyRing(LocalKey.from_file("b")), store_id="other")

    async def main():
        async with connect("file:store?wrapping_key=a&store_id=s", encryption=policy) as store:
            await store.store("k", b"x")
        async with connect("file:store?wrapping_key=b&store_id=other") as store:
            assert await store.retrieve("k") == b"x"
        async with connect("file:store?wrapping_key=a&store_id=s") as store:
            with pytest.raises(StorageDecryptionError):
                await store.retrieve("k")
            assert await store.retrieve("k", encryption=policy) == b"x"

    asyncio.run(main())


def test_a_store_around_it_is_encrypted_as_well(keys, tmp_path):
    async def main():
        async with cached(connect("file:store?wrapping_key=a&store_id=s"), tmp_path / "cache") as store:
            await store.store("k", b"plain text")
            for _ in range(2):
                assert await store.retrieve("k") == b"plain text"
        kept = [path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert kept
        assert all(b"plain text" not in each for each in kept)

    asyncio.run(main())


def test_what_it_holds_is_released_with_the_store(keys, monkeypatch):
    closed = []

    async def aclose(ring):
        closed.append(ring.current_id)

    monkeypatch.setattr(KeyRing, "aclose", aclose)

    async def main():
        store = connect("memory:?wrapping_key=a&store_id=s")
        await store.aclose()
        await store.aclose()
        async with connect("memory:", encryption=ClientSide(KeyRing(LocalKey.from_file("b")), store_id="s")):
            pass
        async with connect("memory:"):
            pass

    asyncio.run(main())
    assert closed == [keys["a"].key_id]
    gc.collect()


@pytest.mark.parametrize("prepare", [lambda path: path.unlink(), lambda path: path.chmod(0o640)])
def test_a_store_without_its_key_is_not_made(keys, prepare):
    prepare(Path("a"))
    with pytest.raises(StorageConfigurationError, match="the key file 'a'"):
        connect("memory:?wrapping_key=a&store_id=s")


def test_stores_that_are_one_share_an_encryption(keys, tmp_path):
    first, second = (LocalConfig(path=tmp_path / name) for name in ("one", "two"))
    sealed = {"wrapping_key": "a", "store_id": "s"}

    def config(number, **more):
        return LocalConfig(path=tmp_path / str(number), **more)

    factory = StorageFactory(environ={})
    for other in (sealed, {**sealed, "store_id": "t"}, {**sealed, "wrapping_key": "b"}):
        stores = config(1, **(sealed if other != sealed else {})), config(2, **other)
        with pytest.raises(StorageConfigurationError, match="encrypted as the first of them"):
            factory.create_multi(stores)
        with pytest.raises(StorageConfigurationError, match="encrypted as the first of them"):
            factory.create_with_fallback(*stores)
    for stores in (
        (config(1, **sealed), second),
        (config(1, **sealed), config(2, **sealed)),
        (first, second),
    ):
        assert (session_of(factory.create_multi(stores)).policy is None) == (stores[0] is first)
