"""Values users see: secrets that do not show, keys of the right size."""

import asyncio
import copy
import hashlib
import json
import logging
import pickle
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from credstore import CustomerKey, MemoryStorageProvider, Secret, SignedUrl, StorageInvalidRequestError

CANARY = "canary-secret"
URL = f"https://cdn.example.com/key?X-Amz-Signature={CANARY}"


def test_a_secret_shows_only_when_asked():
    secret = Secret(CANARY)
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>40}", "%s" % secret, "%r" % [secret]):  # noqa: UP031
        assert CANARY not in shown
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY) != Secret("other")
    assert secret != CANARY
    assert hash(secret) == hash(Secret(CANARY))
    assert copy.deepcopy(secret) is secret
    assert not Secret("")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_a_signed_url_is_a_str_whose_repr_hides_it(caplog):
    url = SignedUrl(URL, method="GET", expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert url == URL
    assert CANARY not in repr(url)
    assert CANARY not in repr({"link": [url]})
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("%r", url)
    assert CANARY not in caplog.text
    with pytest.raises(TypeError):
        pickle.dumps(url)
    with pytest.raises(TypeError):
        url.headers["x"] = "y"


def test_a_customer_key_has_32_bytes_and_does_not_show():
    assert "\\x07" not in repr(CustomerKey(b"\7" * 32))
    for size in (0, 16, 31, 33):
        with pytest.raises(StorageInvalidRequestError):
            CustomerKey(bytes(size))
    with pytest.raises(TypeError):
        pickle.dumps(CustomerKey(bytes(32)))


def test_results_print_what_they_say_and_nothing_else():
    async def main():
        async with MemoryStorageProvider() as store:
            return await store.store("k", b"x"), await store.get_metadata("k")

    result, item = asyncio.run(main())
    digest = hashlib.sha256(b"x").hexdigest()
    assert repr(result) == (
        f"StorageResult(key='k', url='memory://memory/k', etag='{result.etag}', size=1, "
        f"timestamp='{result.timestamp.isoformat()}', provider='memory', plain_size=1, digest='{digest}', "
        "content_type='application/json')"
    )
    assert f"digest='{digest}'" in repr(item)
    assert "None" not in repr(item)
    elsewhere = replace(result, served_by="b", replicas=("a", "b"), degraded=True, size=0)
    assert "size=0" in repr(elsewhere)
    assert "served_by='b', degraded=True, replicas=('a', 'b'))" in repr(elsewhere)


@pytest.mark.parametrize("use", ["read", "length", "await", "iterate", "_private", "other"])
def test_what_open_returns_says_how_it_is_entered(use):
    async def main():
        async with MemoryStorageProvider() as store:
            opening = store.open("k")
            if use == "await":
                await opening
            elif use == "iterate":
                async for _ in opening:
                    pass
            else:
                getattr(opening, use)

    with pytest.raises((AttributeError, StorageInvalidRequestError)) as caught:
        asyncio.run(main())
    assert ("async with store.open(key) as reader" in str(caught.value)) is (use not in {"_private", "other"})
