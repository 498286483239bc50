"""Customer-supplied keys and keys of Cloud KMS: the vendor's client and our driver use each other's objects."""

import asyncio
import base64
import os

import pytest

from credstore import CustomerKey, GcsConfig, KmsKey, StorageProvider
from credstore.driver.values import CopyRequest, ReadOptions
from credstore.drivers.gcs.driver import GcsDriver
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageInvalidRequestError,
    StorageUnsupportedError,
)
from credstore.testing.harness import request
from credstore.testing.scripted import ScriptedAnswer, ScriptedTransport
from tests.drivers.gcs.fake import QUANTUM, FakeGcs, Tokens
from tests.drivers.gcs.test_vendor import ID, put_of, read
from tests.drivers.gcs.vendor import vendor

KEY, OTHER = (
    CustomerKey(b"canary-key-one-of-thirty-two-byt"),
    CustomerKey(b"canary-key-two-of-thirty-two-byt"),
)
KMS = KmsKey("projects/p/locations/eu/keyRings/r/cryptoKeys/k")
PARTS = {"multipart_threshold": 1, "part_size": QUANTUM}


def sealing(fake):
    """What requests say of keys, in order, without those about the bucket."""
    names = ("encryption", "kmsKeyName", "KmsKeyName")
    return [
        (
            each.method,
            "uploadType" in each.url,
            {name: value for name, value in each.headers.items() if "encryption" in name},
            [pair for pair in each.url.partition("?")[2].split("&") if any(name in pair for name in names)],
        )
        for each in fake.sent
        if not each.url.partition("?")[0].endswith("/b/proofs")
    ]


def upload(blob, data):
    """By the vendor: in chunks where the blob has a size of these."""
    if blob.chunk_size is None:
        blob.upload_from_string(data)
        return
    with blob.open("wb", ignore_flush=True) as file:
        file.write(data)


@pytest.mark.parametrize("settings", [{}, PARTS], ids=["one request", "chunks"])
def test_a_customers_key_is_sent_as_by_the_vendor_and_each_reads_the_others(settings):
    fake, data = FakeGcs(), os.urandom(2 * QUANTUM + 17)
    driver = fake.driver(**settings)
    result = asyncio.run(driver.put(put_of("ours", data, encryption=KEY)))
    assert result.encryption == "SSE-C"
    ours = sealing(fake)
    fake.sent.clear()
    with vendor(fake) as bucket:
        theirs = bucket.blob("theirs", encryption_key=KEY.key, chunk_size=QUANTUM if settings else None)
        upload(theirs, data)
        assert ours == sealing(fake)
        assert bucket.blob("ours", encryption_key=KEY.key).download_as_bytes() == data
    options = ReadOptions(customer_key=KEY)
    assert asyncio.run(read(driver, "theirs", options)) == data
    assert asyncio.run(read(driver, "ours", ReadOptions(customer_key=KEY, start=5, end=9))) == data[5:9]
    assert asyncio.run(driver.head("ours")).encryption == "SSE-C"
    assert asyncio.run(driver.head("ours", options)).size == len(data)


@pytest.mark.parametrize("settings", [{}, PARTS], ids=["one request", "chunks"])
def test_a_key_of_the_key_service_is_named_as_by_the_vendor(settings):
    fake, data = FakeGcs(), os.urandom(QUANTUM + 1)
    driver = fake.driver(**settings)
    assert asyncio.run(driver.put(put_of("ours", data, encryption=KMS))).encryption == "aws:kms"
    ours = sealing(fake)
    fake.sent.clear()
    with vendor(fake) as bucket:
        upload(bucket.blob("theirs", kms_key_name=KMS.key_id, chunk_size=QUANTUM if settings else None), data)
    assert ours == sealing(fake)
    info = asyncio.run(driver.head("theirs"))
    assert (info.encryption, info.kms_key_id) == ("aws:kms", KMS.key_id)
    assert asyncio.run(read(driver, "ours")) == data


@pytest.mark.parametrize(
    ("stored", "given", "words"),
    [(KEY, OTHER, "is not the one"), (KEY, None, "give that key"), (None, KEY, "leave the key out")],
)
def test_a_wrong_key_is_an_error_that_says_so(stored, given, words):
    fake = FakeGcs()
    driver = fake.driver()
    asyncio.run(driver.put(put_of("a", b"bytes", encryption=stored)))
    with pytest.raises(StorageInvalidRequestError, match=words) as caught:
        asyncio.run(read(driver, "a", ReadOptions(customer_key=given)))
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.CUSTOMER_KEY, False)
    if given is not None:
        with pytest.raises(StorageInvalidRequestError, match=words):
            asyncio.run(driver.head("a", ReadOptions(customer_key=given)))


@pytest.mark.parametrize("source", [None, KEY, KMS])
@pytest.mark.parametrize("target", [None, "AES256", KEY, OTHER, KMS])
def test_a_copy_has_the_key_it_was_to_have(source, target):
    fake = FakeGcs()
    fake.rewrites = 3

    async def main():
        driver = fake.driver()
        await driver.put(put_of("a", b"bytes", encryption=source))
        key = source if source is KEY else None
        request = CopyRequest(
            source=await driver.head("a"), destination="b", write_id=ID[::-1], encryption=target,
            source_customer_key=key,
        )  # fmt: skip
        copy = await driver.copy(request)
        after = (source if target is None else target) or "AES256"
        kinds = {KEY: "SSE-C", OTHER: "SSE-C", KMS: "aws:kms", "AES256": "AES256"}
        assert copy.encryption == kinds[after]
        options = ReadOptions(customer_key=after if isinstance(after, CustomerKey) else None)
        assert await read(driver, "b", options) == b"bytes"

    asyncio.run(main())


def test_a_copy_of_what_cannot_be_read_is_refused_before_anything_is_sent():
    fake = FakeGcs()

    async def main():
        driver = fake.driver()
        await driver.put(put_of("a", b"bytes", encryption=KEY))
        source = await driver.head("a")
        fake.sent.clear()
        with pytest.raises(StorageUnsupportedError):
            await driver.copy(CopyRequest(source=source, destination="b", write_id=ID))
        assert fake.sent == []

    asyncio.run(main())


@pytest.mark.parametrize("settings", [{}, PARTS], ids=["one request", "chunks"])
@pytest.mark.parametrize("asked", [KEY, KMS])
def test_what_is_not_encrypted_as_requested_does_not_stay(settings, asked):
    fake = FakeGcs()
    driver = fake.driver(**settings)

    def ignoring(request, serve):
        kept = {name: value for name, value in request.headers.items() if "encryption" not in name}
        return serve(
            type(request)(request.method, request.url.replace("kmsKeyName", "x"), kept, request.body)
        )

    fake.faults.append(ignoring)
    with pytest.raises(StorageIntegrityError, match="removed") as caught:
        asyncio.run(driver.put(put_of("a", b"bytes", encryption=asked)))
    assert caught.value.code == ErrorCode.NOT_ENCRYPTED
    assert fake.now("a") is None


def test_a_key_without_a_name_and_a_server_without_keys_are_refused():
    fake = FakeGcs()
    for driver, asked in (
        (fake.driver(), KmsKey()),
        (fake.driver(capabilities="-sse_c"), KEY),
        (fake.driver(capabilities="-sse_kms"), KMS),
        (fake.driver(emulator_host="http://127.0.0.1:9"), KEY),
    ):
        with pytest.raises(StorageUnsupportedError):
            asyncio.run(driver.put(put_of("a", b"bytes", encryption=asked)))
    assert fake.sent == []


def test_no_key_shows_in_an_error_or_a_frame():
    fake = FakeGcs()

    async def failing():
        config = GcsConfig(bucket="proofs", encryption=KEY)
        driver = GcsDriver(config, tokens=Tokens(), transport=ScriptedTransport(fake.answer))
        async with StorageProvider(driver, config) as provider:
            await provider.store("a", b"bytes")
            assert await provider.retrieve("a") == b"bytes"
            assert (await provider.move("a", "b")).key == "b"
            await provider.retrieve("b", encryption=OTHER)

    with pytest.raises(StorageError) as caught:
        asyncio.run(failing())
    from credstore.drivers.gcs.encryption import key_headers

    secrets = [key_headers(key)["x-goog-encryption-key"] for key in (KEY, OTHER)] + ["canary-key"]
    trace, shown = caught.value.__traceback__, [repr(caught.value), str(caught.value)]
    while trace is not None:
        if "/tests/" not in trace.tb_frame.f_code.co_filename:
            shown += [repr(value) for value in trace.tb_frame.f_locals.values()]
        trace = trace.tb_next
    assert not [each for each in shown for secret in secrets if secret in each]


async def copied(driver, data):
    await driver.put(request("sealed", data, encryption=KEY))
    source = await driver.head("sealed", ReadOptions(customer_key=KEY))
    wanted = CopyRequest(
        source=source, destination="copy", write_id="0" * 32, encryption=KEY, source_customer_key=KEY
    )
    return await driver.copy(wanted)


UNDER_A_KEY = {
    "put": lambda driver: driver.put(request("k", b"x", encryption=KEY)),
    "put in chunks": lambda driver: driver.put(request("k", bytes(3 * QUANTUM), encryption=KEY)),
    "copy": lambda driver: copied(driver, b"x"),
    "copy what is large": lambda driver: copied(driver, bytes(3 * QUANTUM)),
}


@pytest.mark.parametrize("verb", UNDER_A_KEY)
def test_no_frame_holds_a_key_wherever_a_verb_is_cancelled(verb):
    secret = base64.b64encode(KEY.key).decode()

    def told(failure):
        waiting, done = [failure], set()
        while waiting:
            each = waiting.pop()
            if each is None or id(each) in done:
                continue
            done.add(id(each))
            waiting += [each.__cause__, each.__context__]
            trace = each.__traceback__
            while trace is not None:
                code = trace.tb_frame.f_code
                if "/credstore/" in code.co_filename and "/testing/" not in code.co_filename:
                    for name, value in trace.tb_frame.f_locals.items():
                        if secret in repr(value):
                            yield f"{code.co_qualname}: {name}"
                trace = trace.tb_next

    async def check():
        found, count, done = set(), 0, False
        while not done:
            fake = FakeGcs()
            fake.rewrites = QUANTUM

            async def later(sent, fake=fake):
                for _ in range(3):
                    await asyncio.sleep(0)
                return fake.answer(sent)

            config = GcsConfig(bucket="proofs", max_retries=0, **PARTS)
            driver = GcsDriver(config, tokens=Tokens(), transport=ScriptedTransport(later))
            task = asyncio.ensure_future(UNDER_A_KEY[verb](driver))
            for _ in range(count):
                await asyncio.sleep(0)
            done = task.done()
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as failure:
                found |= set(told(failure))
            await driver.aclose()
            count += 1 + count // 12
        assert not found, found
        assert count > 1

    asyncio.run(check())


@pytest.mark.parametrize("asked", [KEY, KMS])
def test_an_upload_is_continued_with_its_own_key_alone(asked, tmp_path):
    fake, data = FakeGcs(), os.urandom(3 * QUANTUM)
    source = tmp_path / "data"
    source.write_bytes(data)

    async def stored(encryption):
        config = GcsConfig(bucket="proofs", encryption=encryption, compress=False, max_retries=0, **PARTS)
        driver = GcsDriver(config, tokens=Tokens(), transport=ScriptedTransport(fake.answer))
        async with StorageProvider(driver, config) as provider:
            return await provider.store("a", source, resume=tmp_path / "journal")

    def broken(request, _serve):
        busy = request.method == "PUT" and not request.headers["content-range"].startswith("bytes 0-")
        return ScriptedAnswer(503, b"", {}) if busy else None

    fake.faults.append(broken)
    with pytest.raises(StorageError):
        asyncio.run(stored(asked))
    fake.faults.clear()
    with pytest.raises(StorageInvalidRequestError) as caught:
        asyncio.run(stored(OTHER))
    assert caught.value.code == ErrorCode.RESUME_MISMATCH
    fake.sent.clear()
    assert asyncio.run(stored(asked)).encryption == ("SSE-C" if asked is KEY else "aws:kms")
    assert not [each for each in fake.sent if each.method == "POST"]
    assert fake.now("a").data == data
