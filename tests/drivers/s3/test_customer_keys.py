"""Reads of objects that have a customer-provided key (SSE-C), or have none: which key is meant (fault C7)."""

import asyncio
import base64

import pytest

from credstore.encryption import CustomerKey
from credstore.errors import StorageAccessDeniedError, StorageError, StorageInvalidRequestError
from credstore.provider.provider import StorageProvider
from credstore.testing import ScriptedTransport
from tests.drivers.s3.fake import Answer, FakeS3, error
from tests.drivers.s3.support import make_driver

OWN, OTHER = CustomerKey(b"1" * 32), CustomerKey(b"2" * 32)
SSE_C = "x-amz-server-side-encryption-customer-"


class Vault(FakeS3):
    """Keeps the key of each object and refuses others as it is told to."""

    def __init__(self, wrong: Answer, missing: Answer, unneeded: Answer) -> None:
        super().__init__()
        self.keys: dict[str, str | None] = {}
        self.refusals = (wrong, missing, unneeded)

    def apply(self, seen):
        wrong, missing, unneeded = self.refusals
        source = seen.headers.get("x-amz-copy-source", "").rpartition("/")[2]
        reading = source or (seen.key if seen.method in {"GET", "HEAD"} else "")
        prefix = "x-amz-copy-source-server-side-encryption-customer-" if source else SSE_C
        if reading in self.keys:
            given, kept = seen.headers.get(prefix + "key"), self.keys[reading]
            refusal = (
                None if given == kept else unneeded if kept is None else missing if given is None else wrong
            )
            if refusal is not None:
                return Answer(refusal.status, b"", refusal.headers) if seen.method == "HEAD" else refusal
        answer = super().apply(seen)
        echo = {SSE_C + "algorithm": "AES256"} if seen.headers.get(SSE_C + "key") else {}
        if seen.method == "PUT":
            self.keys[seen.key] = seen.headers.get(SSE_C + "key")
        elif seen.method == "DELETE":
            self.keys.pop(seen.key, None)
        return Answer(answer.status, answer.body, {**answer.headers, **echo}, answer.declared)


BARE = Answer(400, b"", {"x-amz-request-id": "1"})
KINDS = {
    "aws": (error(403, "AccessDenied"), error(400, "InvalidRequest"), error(400, "InvalidRequest")),
    "argument": (
        error(400, "InvalidArgument"),
        error(400, "InvalidRequest"),
        error(400, "InvalidArgument"),
    ),
    "bare": (BARE, BARE, BARE),
}

READS = {
    "retrieve": lambda store, **key: store.retrieve("k", **key),
    "open": lambda store, **key: store.open("k", **key).__aenter__(),
    "range": lambda store, **key: store.open("k", start=1, end=2, **key).__aenter__(),
    "get_metadata": lambda store, **key: store.get_metadata("k", **key),
    "copy": lambda store, encryption=None: store.copy("k", "to", source_encryption=encryption),
    "move": lambda store, encryption=None: store.move("k", "to", source_encryption=encryption),
}


def run(test, vault):
    async def main():
        driver = make_driver(vault.url, transport=ScriptedTransport(vault.respond), max_retries=0)
        async with StorageProvider(driver, driver._bucket.config) as store:
            return await test(store)

    return asyncio.run(main())


@pytest.mark.parametrize("verb", READS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("stored", "given", "words"),
    [
        (OWN, OTHER, "not the one the object is encrypted with"),
        (OWN, None, "without a key"),
        (None, OWN, "not encrypted with one"),
    ],
)
def test_a_refused_read_says_which_key_is_meant(kind, verb, stored, given, words):
    async def test(store):
        await store.store("k", b"data", encryption=stored or False)
        options = {} if given is None else {"encryption": given}
        with pytest.raises(StorageInvalidRequestError, match=words) as caught:
            await READS[verb](store, **options)
        assert caught.value.code == "CUSTOMER_KEY"
        assert "k" in vault.objects

    vault = Vault(*KINDS[kind])
    run(test, vault)


@pytest.mark.parametrize("verb", ["retrieve", "get_metadata"])
def test_a_refusal_that_is_the_same_without_the_key_names_both_reasons(verb):
    denied = error(403, "AccessDenied")

    async def test(store):
        await store.store("k", b"data", encryption=OWN)
        with pytest.raises(StorageAccessDeniedError, match=r"policy.*customer-provided key") as caught:
            await READS[verb](store, encryption=OTHER)
        assert caught.value.code == "ACCESS_DENIED"

    run(test, Vault(denied, denied, denied))


def test_an_access_denied_without_a_key_is_no_word_about_keys():
    async def test(store):
        vault.plan("GET", error(403, "AccessDenied"))
        with pytest.raises(StorageError) as caught:
            await store.retrieve("k")
        assert "customer" not in str(caught.value)
        assert len(vault.sent("GET")) == 1

    vault = Vault(*KINDS["aws"])
    run(test, vault)


def test_an_object_with_a_customer_key_is_moved_and_keeps_it():
    async def test(store):
        await store.store("k", b"data", encryption=OWN)
        await store.move("k", "to", source_encryption=OWN)
        assert await store.retrieve("to", encryption=OWN) == b"data"
        assert vault.keys == {"to": base64.b64encode(OWN.key).decode()}

    vault = Vault(*KINDS["aws"])
    run(test, vault)
