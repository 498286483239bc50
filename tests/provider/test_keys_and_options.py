"""Keys and options: what is refused, before anything is asked of the driver."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore import (
    CustomerKey,
    KmsKey,
    StorageError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.config.stores import MemoryConfig
from credstore.drivers.memory import MemoryDriver
from credstore.errors import StorageAlreadyExistsError
from credstore.provider.presets import MemoryStorageProvider
from credstore.provider.provider import StorageProvider
from credstore.provider.validation import chosen_encryption
from credstore.strategies.fallback.driver import FallbackDriver
from tests.provider.support import Spy, run

BAD_KEYS = [
    "",
    "\0",
    "a\nb",
    "a\x7fb",
    "a\x80b",
    "a\x9fb",
    "\ud800",
    "\ufffe",
    "\uffff",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/.",
    "k" * 1025,
    "é" * 513,
]
VERBS = {
    "store": lambda provider, key: provider.store(key, b"1"),
    "retrieve": lambda provider, key: provider.retrieve(key),
    "get_metadata": lambda provider, key: provider.get_metadata(key),
    "exists": lambda provider, key: provider.exists(key),
    "delete": lambda provider, key: provider.delete(key),
    "copy from": lambda provider, key: provider.copy(key, "there"),
    "copy to": lambda provider, key: provider.copy("there", key),
    "move": lambda provider, key: provider.move("there", key),
    "get_signed_url": lambda provider, key: provider.get_signed_url(key),
    "open": lambda provider, key: provider.open(key).__aenter__(),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("key", [*BAD_KEYS, 7, None, b"bytes"], ids=ascii)
def test_a_key_that_names_nothing_is_refused_by_every_verb(verb, key):
    driver = Spy()

    async def main(provider):
        with pytest.raises(StorageInvalidKeyError) as caught:
            await VERBS[verb](provider, key)
        assert caught.value.applied == "no"
        str(caught.value).encode()  # Nothing unprintable gets out.

    run(main, driver)
    assert driver.calls == []


@given(key=st.text(min_size=1, max_size=40))
@settings(max_examples=150, deadline=None)
def test_a_key_is_refused_or_kept_exactly(key):
    async def main(provider):
        try:
            await provider.store(key, key.encode(errors="replace"))
        except StorageInvalidKeyError:
            return
        assert await provider.retrieve(key) == key.encode()
        assert [item.key for item in await provider.list()] == [key]
        assert await provider.delete(key) is True
        assert await provider.list() == []

    run(main)


def test_legal_but_unusual_keys_are_kept():
    keys = ["/a", "a//b", "a/", "a\\b", "...", ".hidden", "a..b", " ", "é", "e\u0301", "k" * 1024]

    async def main(provider):
        for key in keys:
            await provider.store(key, key.encode())
        assert [item.key for item in await provider.list()] == sorted(keys, key=str.encode)
        for key in keys:
            assert await provider.retrieve(key) == key.encode()

    run(main)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"compres": True}, StorageInvalidRequestError, "did you mean 'compress'"),
        ({"zzz": 1}, StorageInvalidRequestError, "options are"),
        ({"compress": "brotli"}, StorageInvalidRequestError, "gzip, zstd"),
        ({"metadata": {"a b": "x"}}, StorageInvalidRequestError, "HTTP token"),
        ({"metadata": {"x-compression": "x"}}, StorageInvalidRequestError, "belongs to credstore"),
        ({"metadata": {"credstore-x": "x"}}, StorageInvalidRequestError, "belongs to credstore"),
        ({"metadata": {"A": "1", "a": "2"}}, StorageInvalidRequestError, "twice"),
        ({"metadata": {"a": "line\r\nbreak"}}, StorageInvalidRequestError, "control character"),
        ({"metadata": {"a": " blank"}}, StorageInvalidRequestError, "blanks"),
        ({"metadata": {"a": "blank "}}, StorageInvalidRequestError, "blanks"),
        ({"metadata": {"a": "\tblank"}}, StorageInvalidRequestError, "control character"),
        ({"metadata": {"a": "\x01"}}, StorageInvalidRequestError, "control character"),
        ({"metadata": {"a\n": "x"}}, StorageInvalidRequestError, "HTTP token"),
        ({"if_match": ""}, StorageInvalidRequestError, "empty"),
        ({"if_match": '""'}, StorageInvalidRequestError, "empty"),
        ({"if_match": "a\rb"}, StorageInvalidRequestError, "if_match has a control character"),
        ({"tags": {"a": "b\n"}}, StorageInvalidRequestError, "control character"),
        ({"tags": {"a\n": "b"}}, StorageInvalidRequestError, "control character"),
        ({"tags": {"a": 7}}, StorageInvalidRequestError, "value of tag 'a' is text"),
        ({"tags": {"n" * 129: "x"}}, StorageInvalidRequestError, "1 to 128"),
        ({"tags": {"n": "x" * 257}}, StorageInvalidRequestError, "at most 256"),
        ({"metadata": {"a": 7}}, StorageInvalidRequestError, "metadata value of 'a' is text"),
        ({"content_type": "text/plain\r\nx: y"}, StorageInvalidRequestError, "control character"),
        ({"tags": {"": "x"}}, StorageInvalidRequestError, "tag"),
        ({"tags": {str(number): "x" for number in range(11)}}, StorageInvalidRequestError, "at most 10"),
        ({"storage_class": "COLD"}, StorageUnsupportedError, "cannot store as 'COLD'"),
        ({"encryption": True}, StorageUnsupportedError, "AES256"),
        ({"encryption": KmsKey()}, StorageUnsupportedError, "SSE-KMS"),
        ({"encryption": CustomerKey(bytes(32))}, StorageUnsupportedError, "SSE-C"),
        ({"encryption": "AES128"}, StorageInvalidRequestError, "encryption is"),
        ({"if_absent": True, "if_match": "x"}, StorageInvalidRequestError, "contradict"),
        ({"timeout": 0}, StorageInvalidRequestError, "above 0"),
        ({"timeout": "5"}, StorageInvalidRequestError, "a number of seconds"),
        ({"timeout": True}, StorageInvalidRequestError, "a number of seconds"),
        ({"metadata": [("a", "b")]}, StorageInvalidRequestError, "a mapping"),
        ({"tags": None}, StorageInvalidRequestError, "a mapping"),
        ({"driver_options": 7}, StorageInvalidRequestError, "a mapping"),
        ({"if_absent": 1}, StorageInvalidRequestError, "True or False"),
        ({"progress": 7}, StorageInvalidRequestError, "a function"),
        ({"timeout": float("nan")}, StorageInvalidRequestError, "above 0"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_sent(options, kind, words):
    driver = Spy()

    async def main(provider):
        with pytest.raises(kind, match=words) as caught:
            await provider.store("key", b"1", **options)
        assert (caught.value.provider, caught.value.operation, caught.value.key) == ("memory", "store", "key")

    run(main, driver)
    assert driver.calls == []


def test_tags_at_their_limits_are_kept():
    tags = {f"{number}".rjust(128, "n"): "x" * 256 for number in range(10)}

    async def main(provider):
        await provider.store("key", b"1", tags=tags)
        assert await provider._session.driver.get_tags("key") == tags

    run(main)


def test_metadata_is_as_large_as_the_provider_keeps_and_no_larger():
    class Small(Spy):
        @property
        def capabilities(self):
            return replace(super().capabilities, max_metadata_size=10)

    driver = Small()

    async def main(provider):
        for fits in ({"a": "123456789"}, {"ab": "é234567"}, {"a": "1234", "b": "1234"}):
            await provider.store("key", b"1", metadata=fits)
            assert (await provider.get_metadata("key")).metadata == fits
        stored = len(driver.calls)
        for larger in ({"a": "1234567890"}, {"ab": "é2345678"}, {"a": "1234", "b": "12345"}):
            with pytest.raises(StorageInvalidRequestError, match=r"11 bytes.*at most 10") as caught:
                await provider.store("key", b"1", metadata=larger)
            assert caught.value.code == "METADATA_TOO_LARGE"
        assert len(driver.calls) == stored

    run(main, driver)


@pytest.mark.parametrize("wrong", [True, False, 1.0, "1", -1])
def test_a_number_of_keys_is_a_whole_number(wrong):
    driver = Spy()

    async def main(provider):
        with pytest.raises(StorageInvalidRequestError, match="max_keys is"):
            await provider.list("", wrong)

    run(main, driver)


def test_conditions():
    async def main(provider):
        first = await provider.store("key", b"1", if_absent=True)
        with pytest.raises(StorageAlreadyExistsError):
            await provider.store("key", b"2", if_absent=True)
        second = await provider.store("key", b"2", if_match=f'"{first.etag}"')
        with pytest.raises(StoragePreconditionFailedError):
            await provider.store("key", b"3", if_match=first.etag)
        with pytest.raises(StoragePreconditionFailedError):
            await provider.delete("key", if_match=first.etag)
        assert await provider.delete("key", if_match=second.etag) is True

    run(main)


def test_a_store_without_conditions_refuses_them():
    class Plain(Spy):
        @property
        def capabilities(self):
            return replace(
                super().capabilities,
                conditional_create=False,
                conditional_replace=False,
                conditional_delete=False,
                tags=False,
            )

    driver = Plain()

    async def main(provider):
        for options in ({"if_absent": True}, {"if_match": "x"}, {"tags": {"a": "b"}}):
            with pytest.raises(StorageUnsupportedError):
                await provider.store("key", b"1", **options)
        with pytest.raises(StorageUnsupportedError):
            await provider.delete("key", if_match="x")
        with pytest.raises(StorageUnsupportedError):
            await provider.copy("a", "b", if_absent=True)

    run(main, driver)
    assert driver.calls == []


KEY, KMS = CustomerKey(bytes(32)), KmsKey("id")


@pytest.mark.parametrize(
    ("asked", "default", "able", "chosen"),
    [
        (None, None, {"sse_s3"}, "AES256"),
        (None, None, set(), None),
        (None, False, {"sse_s3"}, None),
        (False, KMS, {"sse_kms"}, None),
        (True, None, {"sse_s3"}, "AES256"),
        (True, None, {"sse_s3_implied"}, None),
        (True, None, set(), StorageUnsupportedError),
        ("AES256", None, set(), StorageUnsupportedError),
        (None, True, set(), StorageUnsupportedError),
        (KMS, None, {"sse_kms"}, KMS),
        (KMS, None, {"sse_s3"}, StorageUnsupportedError),
        (None, KMS, {"sse_kms"}, KMS),
        (KEY, None, {"sse_c"}, KEY),
        (KEY, None, {"sse_s3", "sse_kms"}, StorageUnsupportedError),
        ("kms", None, {"sse_kms"}, StorageInvalidRequestError),
    ],
)
def test_the_encryption_asked_for_is_the_one_given_or_refused(asked, default, able, chosen):
    none = dict.fromkeys(("sse_s3", "sse_s3_implied", "sse_kms", "sse_c"), False)
    capabilities = replace(Spy().capabilities, **{**none, **dict.fromkeys(able, True)})
    if isinstance(chosen, type) and issubclass(chosen, StorageError):
        with pytest.raises(chosen):
            chosen_encryption(asked, default, capabilities, "store")
    else:
        assert chosen_encryption(asked, default, capabilities, "store") == chosen


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("S3", "did you mean `s3`"),
        ("memery", "did you mean `memory`"),
        ("r2", "it knows azure, gcs, local, memory, s3"),
    ],
)
def test_options_under_the_name_of_no_driver_are_refused_with_the_nearest(name, told):
    async def main():
        async with MemoryStorageProvider() as store:
            with pytest.raises(StorageInvalidRequestError, match=told) as caught:
                await store.store("k", b"x", driver_options={name: object()})
            assert (caught.value.applied, await store.exists("k")) == ("no", False)
            # For another store that the same call may serve.
            await store.store("k", b"x", driver_options={"s3": object()})

    asyncio.run(main())


def test_options_for_a_member_of_a_composite_store_are_no_mistake():
    class Plugin(MemoryDriver):
        name = "acme"

    async def main():
        driver = FallbackDriver(Plugin(MemoryConfig()), MemoryDriver(MemoryConfig()))
        members = dict.fromkeys(driver.labels, MemoryConfig())
        async with StorageProvider(driver, MemoryConfig(), members=members) as store:
            with pytest.raises(StorageUnsupportedError, match="driver_options"):
                await store.store("k", b"x", driver_options={"acme": object()})
            with pytest.raises(StorageInvalidRequestError, match=r"'acmee'.*`acme`"):
                await store.store("k", b"x", driver_options={"acmee": object()})

    asyncio.run(main())
