"""The watch itself, and every verb with canaries in every place a secret can be."""

import asyncio
import base64
import logging
import pickle
import re
import traceback

import pytest

from credstore import (
    AwsKmsKey,
    ClientSide,
    CustomerKey,
    KeyRing,
    LocalKey,
    NginxSigner,
    PassphraseKey,
    S3Config,
    Secret,
    SignedUrl,
    StorageError,
)
from tests import canaries
from tests.canaries import CANARY, Watch, leaks
from tests.faults.messages import error
from tests.faults.script import Close, Respond
from tests.faults.stores import open_store, serving

RAW = b"canary-key-of-32-bytes-in-length"
SECRET, TOKEN = "canary/secret+key", "canary-token=="


@pytest.mark.parametrize(
    "text",
    [
        "a Canary here",
        "%63%61%6E%61%72%79",
        RAW.hex(),
        *(base64.b64encode(b"x" * offset + RAW).decode() for offset in range(4)),
        base64.urlsafe_b64encode(b"??>" + RAW).decode(),
    ],
)
def test_every_form_is_seen(text):
    assert leaks(f"before {text} after")


def test_nothing_else_is():
    assert not leaks("can ary, Y2FuYXJi, 63616e6172, the usual words of an error")


def test_what_is_logged_or_raised_is_looked_at():
    watch = Watch()
    logger = logging.getLogger("somebody")
    before, canaries.watch = canaries.watch, watch
    logger.addHandler(watch)
    try:
        logger.warning("a %s", CANARY)
        with pytest.raises(AssertionError, match="secret"):
            watch.check()
        watch.texts.clear()
        StorageError(f"with {CANARY} in it")
        with pytest.raises(AssertionError, match="secret"):
            watch.check()
    finally:
        canaries.watch = before
        logger.removeHandler(watch)
        if before is not None:
            before.texts.clear()


def shown(thing):
    """All that Python shows of a value without being asked for its secret."""
    texts = [repr(thing), str(thing), f"{thing}", repr([thing]), repr({"x": thing})]
    try:
        texts.append(repr(pickle.dumps(thing)))
    except Exception as refused:
        texts.append(repr(refused))
    if not isinstance(thing, str):
        texts.append(repr(getattr(thing, "__dict__", "")))
    return " ".join(texts)


def test_settings_and_keys_hide_their_secrets():
    for thing in (
        S3Config(bucket="bucket", access_key_id="AKID", secret_access_key=Secret(SECRET), session_token=Secret(TOKEN)),
        CustomerKey(RAW),
        LocalKey(RAW),
        PassphraseKey("canary words", salt=bytes(16)),
        AwsKmsKey(
            "arn:aws:kms:eu-west-1:111122223333:key/0", region="eu-west-1",
            access_key_id="AKID", secret_access_key=Secret(SECRET), session_token=Secret(TOKEN),
        ),
        KeyRing(LocalKey(RAW)),
        ClientSide(KeyRing(LocalKey(RAW)), store_id="s"),
        NginxSigner(secret=Secret(SECRET)),
    ):  # fmt: skip
        assert not leaks(shown(thing)), type(thing)


async def outcome(call):
    """What a call gave, or its error and the traceback of that with all local values."""
    try:
        return [await call()]
    except Exception as failure:
        frames = traceback.TracebackException.from_exception(failure, capture_locals=True)
        return [failure, "".join(frames.format())]


async def every_verb(store):
    """Results and errors of all verbs, whatever happens to them."""
    found = []
    for call in (
        lambda: store.store("k", b"data" * 100, metadata={"a": "b"}),
        lambda: store.store("k", b"data", if_absent=True),
        lambda: store.store("large", bytes(20_000)),
        lambda: store.retrieve("k"),
        lambda: store.get_metadata("k"),
        store.list,
        lambda: store.copy("k", "copy"),
        lambda: store.move("copy", "moved"),
        lambda: store.get_signed_url("k"),
        lambda: store.get_signed_url("k", method="DELETE"),
        store.health_check,
        lambda: store.batch_delete(["k", "x"]),
        store.get_stats,
        store.rotate_keys,
        lambda: store.delete("large"),
    ):
        found += await outcome(call)
    return found


BAD = [
    None,
    Respond(error(403, "SignatureDoesNotMatch", f"<StringToSign>{SECRET}</StringToSign>")),
    Respond(error(400, "ExpiredToken", TOKEN)),
    Respond(error(500, "InternalError")),
    Close(),
]


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("how", ["plain", "sealed", "ssec", "cdn"])
def test_no_verb_tells_a_secret(how, fault, caplog):
    caplog.set_level(logging.DEBUG)
    events = []

    async def main():
        async with serving() as origin:
            if fault is not None:
                origin.plan("before-apply", fault, times=None)
            settings = {
                "secret_access_key": Secret(SECRET),
                "session_token": Secret(TOKEN),
                "max_retries": 1,
                "cdn_url": "https://cdn.example.com",
                "encryption": CustomerKey(RAW) if how == "ssec" else True,
            }
            options = {
                "sealed": {"encryption": ClientSide(KeyRing(LocalKey(RAW)), store_id="s")},
                "cdn": {"link_signer": NginxSigner(secret=Secret(SECRET))},
            }.get(how, {})
            async with open_store(
                origin, options={"observers": [events.append], **options}, **settings
            ) as store:
                return [store, *await every_verb(store)]

    found = asyncio.run(asyncio.wait_for(main(), 60), debug=True)
    assert events
    assert len(found) > 10
    for thing in [*found, *events]:
        text = repr(thing) if isinstance(thing, SignedUrl) else shown(thing)
        assert not leaks(text), places(text)
        assert not re.search(r"Signature=[0-9a-f]{16}|md5=[\w-]{22}", text), text[:500]
    for record in caplog.records:
        assert not leaks(f"{record.getMessage()}{record.__dict__}")
        assert "AWS4-HMAC" not in record.getMessage()


def test_a_key_file_is_not_in_tracebacks(tmp_path):
    (tmp_path / "key").write_bytes(base64.b64encode(RAW[:20]))
    (tmp_path / "key").chmod(0o600)

    async def load():
        return LocalKey.from_file(tmp_path / "key")

    failure, frames = asyncio.run(outcome(load))
    assert isinstance(failure, StorageError)
    assert not leaks(frames)


def places(text):
    """What is around each leak."""
    lower = text.lower()
    return [text[max(0, lower.index(form) - 300) : lower.index(form) + 40] for form in leaks(text)]
