"""What callers without types may hand in: refused by its name, or right; never an unforeseen failure."""

import asyncio

import pytest

from credstore import (
    LocalConfig,
    LocalStorageProvider,
    S3Config,
    Secret,
    StorageAccessDeniedError,
    StorageError,
    StorageInvalidRequestError,
    StorageProvider,
    StorageUnsupportedError,
)
from credstore.drivers.s3.driver import S3Driver
from credstore.errors import StorageConflictError, StorageNotFoundError
from credstore.testing import ScriptedAnswer, ScriptedTransport
from tests.provider.support import Spy, run

WRONG = [7, "x", b"x", None, [], {}, object(), True, 1.5, -1, float("nan"), "a\r\nb", "\ud800"]
TOLD = (
    StorageInvalidRequestError,
    StorageUnsupportedError,
    StorageNotFoundError,
    StorageConflictError,
)


async def read(provider, **options):
    async with provider.open("key", **options) as reader:
        return await reader.read()


def name_of(value):
    """As a name in a mapping, where it can be one."""
    return {value: "x"} if getattr(value, "__hash__", None) else {}


CALLS = {
    "retrieve max_size": lambda p, v: p.retrieve("key", max_size=v),
    "retrieve timeout": lambda p, v: p.retrieve("key", timeout=v),
    "retrieve version_id": lambda p, v: p.retrieve("key", version_id=v),
    "retrieve encryption": lambda p, v: p.retrieve("key", encryption=v),
    "retrieve decode": lambda p, v: p.retrieve("key", decode=v),
    "get_metadata version_id": lambda p, v: p.get_metadata("key", version_id=v),
    "get_metadata encryption": lambda p, v: p.get_metadata("key", encryption=v),
    "open version_id": lambda p, v: read(p, version_id=v),
    "open encryption": lambda p, v: read(p, encryption=v),
    "open decode": lambda p, v: read(p, decode=v),
    "open suffix": lambda p, v: read(p, suffix=v),
    "open start": lambda p, v: read(p, start=v),
    "open end": lambda p, v: read(p, end=v),
    "list prefix": lambda p, v: p.list(v),
    "list max_keys": lambda p, v: p.list("", v),
    "get_stats prefix": lambda p, v: p.get_stats(v),
    "copy if_absent": lambda p, v: p.copy("key", "to", if_absent=v),
    "copy encryption": lambda p, v: p.copy("key", "to", encryption=v),
    "move if_absent": lambda p, v: p.move("key", "to", if_absent=v),
    "batch_delete": lambda p, v: p.batch_delete(v),
    "batch_delete key": lambda p, v: p.batch_delete([v]),
    "batch_delete all_versions": lambda p, v: p.batch_delete(["key"], all_versions=v),
    "delete_versions exact": lambda p, v: p.delete_versions("key", exact=v),
    "delete_versions keep_latest": lambda p, v: p.delete_versions("key", keep_latest=v),
    "list_versions exact": lambda p, v: p.list_versions("key", exact=v),
    "copy server_side": lambda p, v: p.copy("key", "to", server_side=v),
    "move server_side": lambda p, v: p.move("key", "to", server_side=v),
    "delete if_match": lambda p, v: p.delete("key", if_match=v),
    "delete version_id": lambda p, v: p.delete("key", version_id=v),
    "store data": lambda p, v: p.store("key", v),
    "store metadata name": lambda p, v: p.store("key", b"1", metadata=name_of(v)),
    "store metadata value": lambda p, v: p.store("key", b"1", metadata={"x": v}),
    "store tag name": lambda p, v: p.store("key", b"1", tags=name_of(v)),
    "store tag value": lambda p, v: p.store("key", b"1", tags={"x": v}),
    **{
        f"store {name}": lambda p, v, name=name: p.store("key", b"1", **{name: v})
        for name in (
            "content_type", "cache_control", "content_disposition", "content_language", "metadata", "tags",
            "storage_class", "compress", "encryption", "if_absent", "if_match", "timeout", "progress",
            "driver_options",
        )
    },
    "link expires_in": lambda p, v: p.get_signed_url("key", v),
    "link method": lambda p, v: p.get_signed_url("key", 60, v),
    **{
        f"link {method} {name}": lambda p, v, name=name, method=method: p.get_signed_url(
            "key", 60, method, **{name: v}
        )
        for method in ("GET", "PUT")
        for name in (
            "download_name", "content_disposition", "content_type", "cache_control", "headers",
            "version_id", "check", "timeout",
        )
    },
}  # fmt: skip


async def outcome(call, provider, value):
    try:
        await call(provider, value)
    except StorageError as error:
        return error
    return None


@pytest.mark.parametrize("name", CALLS)
def test_a_value_of_a_wrong_type_is_refused_by_name(name, tmp_path):
    async def main(memory):
        async with LocalStorageProvider(LocalConfig(path=str(tmp_path))) as local:
            for provider in (memory, local):
                for value in WRONG:
                    await provider.store("key", b"1")
                    error = await outcome(CALLS[name], provider, value)
                    assert error is None or isinstance(error, TOLD), (value, error)
                    assert error is None or (error.applied == "no" and error.operation), (value, error)
                    str(error).encode()

    run(main, Spy())


@pytest.mark.parametrize(
    "call",
    [
        *(
            lambda p, v=value: p.retrieve("key", version_id=v)
            for value in ("", 7, True, b"x", " x", "a\nb", ["x"])
        ),
        lambda p: p.get_metadata("key", version_id=""),
        lambda p: read(p, version_id=""),
        *(lambda p, v=value: p.retrieve("key", encryption=v) for value in ("AES256", True, False, 7)),
        lambda p: p.get_metadata("key", encryption="x"),
        lambda p: read(p, encryption="x"),
        lambda p: p.copy("key", "to", source_encryption="x"),
        lambda p: p.retrieve("key", decode="no"),
        lambda p: read(p, decode=None),
        lambda p: p.batch_delete(["key"], all_versions="no"),
        lambda p: p.delete_versions("key", exact="no"),
        lambda p: p.delete_versions("key", keep_latest=1),
        lambda p: p.list_versions("key", exact=None),
        lambda p: p.copy("key", "to", server_side="no"),
        lambda p: p.move("key", "to", server_side=0),
    ],
)
def test_what_names_no_version_key_or_choice_is_refused_before_anything_is_sent(call):
    async def main():
        transport = ScriptedTransport(ScriptedAnswer(500))
        config = S3Config(
            bucket="proofs", region="us-east-1", access_key_id="id", secret_access_key=Secret("secret")
        )
        async with StorageProvider(S3Driver(config, transport=transport), config) as provider:
            with pytest.raises(StorageInvalidRequestError):
                await call(provider)
        assert not transport.requests

    asyncio.run(main())


def test_a_wrong_timeout_makes_health_a_result():
    async def main(provider):
        for value in ("5", None, 0, True):
            result = await provider.health_check(timeout=value)
            assert "a number of seconds" in result.errors[0]

    run(main)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("PUT", {"download_name": "a"}),
        ("PUT", {"cache_control": "no-store"}),
        ("PUT", {"version_id": "1"}),
        ("GET", {"headers": {"x-amz-meta-a": "1"}}),
        ("DELETE", {"content_type": "text/plain"}),
        ("POST", {}),
        ("get", {}),
    ],
)
def test_what_would_change_nothing_about_a_link_is_refused(method, options):
    async def main(provider):
        with pytest.raises(StorageInvalidRequestError) as caught:
            await provider.get_signed_url("key", 60, method, **options)
        assert method in str(caught.value)

    run(main)


def test_errors_outside_of_calls_say_where_they_happened():
    async def main(provider):
        with pytest.raises(StorageInvalidRequestError) as caught:
            provider.get_url("a/../b")
        assert (caught.value.provider, caught.value.operation, caught.value.key) == (
            "memory",
            "get_url",
            "a/../b",
        )
        with pytest.raises(StorageAccessDeniedError) as caught:
            provider.verify_link("GET", "/key", {})
        assert (caught.value.provider, caught.value.operation) == ("memory", "verify_link")

    run(main)
