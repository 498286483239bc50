"""Customer-provided keys and encryption scopes: the vendor's client and our driver use each other's blobs."""

import asyncio
import base64
import hashlib
import os
from contextlib import contextmanager
from http import HTTPStatus
from io import BytesIO

import pytest
import requests
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient, CustomerProvidedEncryptionKey
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse

from credstore import CustomerKey, KmsKey, StorageProvider
from credstore.driver.values import CopyRequest, ReadOptions
from credstore.drivers.azure.driver import AzureDriver
from credstore.drivers.azure.encryption import key_headers
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.testing.harness import request as put_of
from credstore.testing.scripted import ScriptedAnswer, SentRequest
from tests.drivers.azure.fake import CONTAINER, KEY, FakeAzure, once

OURS, OTHER = (
    CustomerKey(b"canary-key-one-of-thirty-two-byt"),
    CustomerKey(b"canary-key-two-of-thirty-two-byt"),
)
SCOPE = KmsKey("proofs-scope")
PARTS = {"multipart_threshold": 1000, "part_size": 600, "single_copy_limit": 1000, "copy_part_size": 600}
WAYS = pytest.mark.parametrize("size", [500, 1700], ids=["one request", "blocks"])


class _ToFake(BaseAdapter):
    """Where the vendor's requests go."""

    def __init__(self, fake):
        super().__init__()
        self._fake = fake

    def send(self, request, **_):
        body = request.body.read() if hasattr(request.body, "read") else request.body
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        sent = SentRequest(
            request.method, request.url, headers, body.encode() if isinstance(body, str) else body or b""
        )
        answer = self._fake.answer(sent)
        found = requests.Response()
        found.status_code, found.url, found.request = answer.status, request.url, request
        found.reason = HTTPStatus(answer.status).phrase
        found.headers = CaseInsensitiveDict(answer.headers)
        found.raw = HTTPResponse(
            body=BytesIO(answer.body), headers=dict(answer.headers), status=answer.status, preload_content=False,
            decode_content=False,
        )  # fmt: skip
        return found

    def close(self):
        """Hold nothing."""


@contextmanager
def vendor(fake):
    """The container of the fake, by the vendor's own client."""
    session = requests.Session()
    session.mount("https://", _ToFake(fake))
    url = f"https://{fake.config().account}.blob.core.windows.net"
    small = {"max_single_put_size": 1000, "max_block_size": 600}
    transport = RequestsTransport(session=session, session_owner=False)
    with ContainerClient(url, CONTAINER, credential=KEY, transport=transport, **small) as client:
        yield client


def sealing(fake):
    """Operations, with what they say of keys."""
    return [
        (each.method, "comp=" in each.url, {name: value for name, value in each.headers.items() if "encryption" in name})
        for each in fake.sent
    ]  # fmt: skip


def cpk(key):
    return CustomerProvidedEncryptionKey(
        key_value=base64.b64encode(key.key).decode(),
        key_hash=base64.b64encode(hashlib.sha256(key.key).digest()).decode(),
    )


async def read(driver, key, options=ReadOptions()):  # noqa: B008 - it is frozen
    async with await driver.get(key, options) as reader:
        return await reader.read()


@WAYS
def test_a_customers_key_is_sent_as_by_the_vendor_and_each_reads_the_others(size):
    fake, data = FakeAzure(), os.urandom(size)
    driver = fake.driver(**PARTS)
    assert asyncio.run(driver.put(put_of("ours", data, encryption=OURS))).encryption == "SSE-C"
    ours = sealing(fake)
    fake.sent.clear()
    with vendor(fake) as container:
        theirs = container.get_blob_client("theirs")
        theirs.upload_blob(data, cpk=cpk(OURS))
        assert ours == sealing(fake)
        assert container.get_blob_client("ours").download_blob(cpk=cpk(OURS)).readall() == data
    options = ReadOptions(customer_key=OURS)
    assert asyncio.run(read(driver, "theirs", options)) == data
    assert asyncio.run(read(driver, "ours", ReadOptions(customer_key=OURS, start=5, end=9))) == data[5:9]
    assert asyncio.run(driver.head("ours", options)).encryption == "SSE-C"


@WAYS
def test_a_scope_is_named_as_by_the_vendor(size):
    fake, data = FakeAzure(), os.urandom(size)
    driver = fake.driver(**PARTS)
    assert asyncio.run(driver.put(put_of("ours", data, encryption=SCOPE))).encryption == "aws:kms"
    ours = sealing(fake)
    fake.sent.clear()
    with vendor(fake) as container:
        container.get_blob_client("theirs").upload_blob(data, encryption_scope=SCOPE.key_id)
    assert ours == sealing(fake)
    info = asyncio.run(driver.head("theirs"))
    assert (info.encryption, info.kms_key_id) == ("aws:kms", SCOPE.key_id)
    assert asyncio.run(read(driver, "ours")) == data


@pytest.mark.parametrize(
    ("stored", "given", "words"),
    [(OURS, OTHER, "is not the one"), (OURS, None, "give that key"), (None, OURS, "leave the key out")],
)
def test_a_wrong_key_is_an_error_that_says_so(stored, given, words):
    fake = FakeAzure()
    driver = fake.driver()
    asyncio.run(driver.put(put_of("a", b"bytes", encryption=stored)))
    options = ReadOptions(customer_key=given)
    for call in (lambda: read(driver, "a", options), lambda: driver.head("a", options)):
        with pytest.raises(StorageInvalidRequestError, match=words) as caught:
            asyncio.run(call())
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.CUSTOMER_KEY, False)


@pytest.mark.parametrize("source", [None, SCOPE])
@pytest.mark.parametrize("target", [None, "AES256", OURS, SCOPE])
@WAYS
def test_a_copy_has_the_key_it_was_to_have(size, source, target):
    fake, data = FakeAzure(), os.urandom(size)

    async def main():
        driver = fake.driver(**PARTS)
        await driver.put(put_of("a", data, encryption=source))
        found = await driver.head("a")
        copy = await driver.copy(
            CopyRequest(source=found, destination="b", write_id="1" * 32, encryption=target)
        )
        after = (source if target is None else target) or "AES256"
        assert copy.encryption == {OURS: "SSE-C", SCOPE: "aws:kms", "AES256": "AES256"}[after]
        options = ReadOptions(customer_key=after if isinstance(after, CustomerKey) else None)
        assert await read(driver, "b", options) == data

    asyncio.run(main())


@WAYS
def test_a_copy_of_a_blob_with_a_key_is_made_as_by_the_vendor(size):
    fake, data = FakeAzure(), os.urandom(size)

    async def main():
        driver = fake.driver(**PARTS)
        await driver.put(put_of("a", data, encryption=OURS))
        found = await driver.head("a", ReadOptions(customer_key=OURS))
        order = {"source": found, "write_id": "1" * 32, "source_customer_key": OURS}
        fake.sent.clear()
        assert (
            await driver.copy(CopyRequest(destination="b", encryption=OTHER, **order))
        ).encryption == "SSE-C"
        ours = [each for each in sealing(fake) if "x-ms-source-encryption-key" in each[2]]
        fake.sent.clear()
        with vendor(fake) as container:
            blob = container.get_blob_client("theirs")
            url = f"{container.get_blob_client('a').url}?sig=any"
            keys = {"cpk": cpk(OTHER), "source_cpk": cpk(OURS)}
            if size < 1000:
                blob.upload_blob_from_url(url, **keys)
            else:
                for number, start in enumerate(range(0, size, 600)):
                    blob.stage_block_from_url(f"{number:05}", url, start, min(600, size - start), **keys)
        assert ours == sealing(fake)
        assert await read(driver, "b", ReadOptions(customer_key=OTHER)) == data
        assert (await driver.copy(CopyRequest(destination="a", **order))).encryption == "SSE-C"
        assert fake.sent[-1].url.endswith("comp=metadata")
        assert await read(driver, "a", ReadOptions(customer_key=OURS)) == data

    asyncio.run(main())


def test_a_copy_of_what_cannot_be_read_is_refused_before_anything_is_sent():
    fake = FakeAzure()

    async def main():
        driver = fake.driver()
        await driver.put(put_of("a", b"bytes", encryption=OURS))
        found = await driver.head("a", ReadOptions(customer_key=OURS))
        fake.sent.clear()
        with pytest.raises(StorageUnsupportedError, match="SSE-C"):
            await driver.copy(CopyRequest(source=found, destination="b", write_id="1" * 32))
        assert fake.sent == []

    asyncio.run(main())


def test_an_unclear_write_with_a_key_is_looked_at_with_it():
    fake, data = FakeAzure(), os.urandom(500)
    fake.faults.append(once(ScriptedAnswer(500, b"", {}), on="PUT", applied=True))
    driver = fake.driver(max_retries=0)
    assert asyncio.run(driver.put(put_of("a", data, encryption=OURS))).encryption == "SSE-C"
    assert [each.method for each in fake.sent] == ["PUT", "HEAD"]


@WAYS
@pytest.mark.parametrize("asked", [OURS, SCOPE])
def test_what_is_not_encrypted_as_requested_does_not_stay(size, asked):
    fake = FakeAzure()
    driver = fake.driver(**PARTS)

    def silent(request, serve):
        answer = serve(request)
        told = {name: value for name, value in answer.headers.items() if "encryption" not in name}
        return ScriptedAnswer(answer.status, answer.body, told)

    fake.faults.append(silent)
    with pytest.raises(StorageIntegrityError, match="removed") as caught:
        asyncio.run(driver.put(put_of("a", os.urandom(size), encryption=asked)))
    assert caught.value.code == ErrorCode.NOT_ENCRYPTED
    assert fake.now("a") is None


def test_a_scope_without_a_name_and_a_server_without_keys_are_refused():
    fake = FakeAzure()
    for driver, asked in (
        (fake.driver(), KmsKey()),
        (fake.driver(capabilities="-sse_c"), OURS),
        (fake.driver(capabilities="-sse_kms"), SCOPE),
    ):
        with pytest.raises(StorageUnsupportedError):
            asyncio.run(driver.put(put_of("a", b"bytes", encryption=asked)))
    assert fake.sent == []


def test_no_key_shows_in_an_error_or_a_frame():
    fake = FakeAzure()

    async def failing():
        config = fake.config(encryption=OURS)
        async with StorageProvider(AzureDriver(config, transport=fake.transport()), config) as provider:
            await provider.store("a", b"bytes")
            assert await provider.retrieve("a") == b"bytes"
            await provider.retrieve("a", encryption=OTHER)

    with pytest.raises(StorageError) as caught:
        asyncio.run(failing())
    secrets = [key_headers(key)["x-ms-encryption-key"] for key in (OURS, OTHER)] + ["canary-key"]
    trace, shown = caught.value.__traceback__, [repr(caught.value), str(caught.value)]
    while trace is not None:
        if "/tests/" not in trace.tb_frame.f_code.co_filename:
            shown += [repr(value) for value in trace.tb_frame.f_locals.values()]
        trace = trace.tb_next
    assert not [each for each in shown for secret in secrets if secret in each]
