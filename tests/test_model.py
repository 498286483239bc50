"""Values users see: secrets that do not show, keys of the right size."""

import copy
import json
import logging
import pickle
from datetime import UTC, datetime

import pytest

from credstore import CustomerKey, Secret, SignedUrl, StorageInvalidRequestError

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
