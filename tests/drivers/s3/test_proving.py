"""What entity tags say of a copy, and what of it is believed."""

import asyncio
import hashlib
import random
from dataclasses import replace

import pytest

from credstore.driver import CopyRequest, ObjectInfo
from credstore.drivers.s3.dialect import DIALECTS
from credstore.drivers.s3.ours import Write
from credstore.drivers.s3.proving import (
    compare,
    compare_parts,
    composite_etag,
    may_be_another,
    provable_part_size,
    reads_the_same,
)
from credstore.encryption import CustomerKey, KmsKey
from credstore.errors import StorageConflictError, StorageIntegrityError
from tests.drivers.s3.fake import Answer, error
from tests.drivers.s3.running import run
from tests.drivers.s3.support import make_driver, put_request

LARGEST = DIALECTS["s3"].max_single_put


def md5(data):
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


ONE, OTHER = md5(b"one"), md5(b"other")
PARTS = composite_etag([ONE, OTHER])
OWN, KMS = CustomerKey(bytes(32)), KmsKey("id")


def of(etag, encryption=None):
    return ObjectInfo(key="k", size=3, etag=etag, encryption=encryption)


@pytest.mark.parametrize(
    ("source", "etag", "encryption", "verdict"),
    [
        (of(ONE), ONE, None, "same"),
        (of(ONE), ONE.upper(), "AES256", "same"),
        (of(ONE, "AES256"), OTHER, "AES256", "other"),
        (of(ONE), OTHER, None, "other"),
        (of(PARTS), PARTS, None, "same"),
        (of(PARTS), ONE, None, "unknown"),
        (of(ONE), PARTS, None, "unknown"),
        (of(ONE, "aws:kms"), OTHER, "aws:kms", "unknown"),
        (of(ONE), OTHER, KMS, "unknown"),
        (of(ONE), OTHER, OWN, "unknown"),
        (of(ONE, "SSE-C"), OTHER, None, "unknown"),
        (of(ONE), None, None, "unknown"),
        (of(None), ONE, None, "unknown"),
        (of("not-a-digest"), "another", None, "unknown"),
    ],
)
def test_what_a_whole_copys_tag_says(source, etag, encryption, verdict):
    assert compare(source, etag, encryption) == verdict


@pytest.mark.parametrize(
    ("source", "etags", "encryption", "verdict"),
    [
        (of(ONE), [ONE], None, "same"),
        (of(ONE), [OTHER], None, "other"),
        (of(ONE), [OTHER], KMS, "unknown"),
        (of(ONE), [ONE, OTHER], None, "unknown"),
        (of(PARTS), [ONE, OTHER], None, "same"),
        (of(PARTS), [OTHER, ONE], None, "unknown"),
        (of(PARTS), ["x", "y"], None, "unknown"),
        (of(composite_etag([ONE])), [ONE], None, "same"),
    ],
)
def test_what_the_tags_of_parts_say_before_they_are_completed(source, etags, encryption, verdict):
    assert compare_parts(source, etags, encryption) == verdict


@pytest.mark.parametrize(
    ("key", "doubtful"), [("a b", False), ("é/ü", False), ("a%20b", True), ("a+b", True), ("%", False)]
)
def test_names_that_decode_to_others_are_doubted_where_copies_are_not_pinned(key, doubtful):
    assert {name for name, row in DIALECTS.items() if may_be_another(row, key)} == (
        {name for name, row in DIALECTS.items() if not row.pinned_copy} if doubtful else set()
    )


def test_the_composite_tag_is_the_one_a_server_makes(s3_server):
    """moto is the judge."""
    parts = [random.Random(number).randbytes(256) for number in range(3)]

    async def main():
        driver = make_driver(s3_server.url, s3_server.bucket, multipart_threshold=256, part_size=256)
        result = await driver.put(put_request("k", b"".join(parts)))
        await driver.aclose()
        return result.etag

    assert asyncio.run(main()) == composite_etag([md5(part) for part in parts])


def test_only_named_clouds_are_trusted_with_tags_of_the_content():
    assert {name for name, row in DIALECTS.items() if not row.capabilities.content_etags} == {"generic"}
    both = DIALECTS["s3"].capabilities.meet(DIALECTS["generic"].capabilities)
    assert both == replace(both, content_etags=False)


TWO, THREE = composite_etag([ONE] * 2), composite_etag([ONE] * 3)


@pytest.mark.parametrize(
    ("size", "etag", "told", "expected"),
    [
        (LARGEST, ONE, None, LARGEST),
        (LARGEST + 1, ONE, None, None),
        (0, ONE, None, None),
        (20, None, None, None),
        (20, "not-a-digest", None, None),
        (20, TWO, 10, 10),
        (20, TWO, 15, 15),
        (20, TWO, 5, 10),
        (20, TWO, None, 10),
        (20, THREE, None, None),
        (20, f"{ONE}-0", 20, None),
        (20, f"{ONE}-1", 20, 20),
        (10_000, f"{ONE}-10000", 1, 1),
        (10_001, f"{ONE}-10001", 1, None),
        (2 * LARGEST, TWO, LARGEST, LARGEST),
        (2 * LARGEST + 2, TWO, LARGEST + 1, None),
    ],
)
def test_parts_of_a_copy_are_comparable_only_where_they_are_cut_as_the_sources_were(
    size, etag, told, expected
):
    async def check(fake, driver):
        whole = Answer(200, headers={"x-amz-request-id": "1"}, declared=told)
        fake.plan("HEAD", error(400, "InvalidArgument") if told is None else whole)
        source = replace(of(etag), size=size)
        request = CopyRequest(source=source, destination="to", write_id="a" * 32)
        assert await provable_part_size(driver._bucket, request, None) == expected

    run(check, part_size=10)


def read(fake, driver, source):
    request = CopyRequest(source=source, destination="to", write_id="a" * 32)
    return reads_the_same(driver._bucket, request, Write(key="to", write_id="a" * 32), driver._bucket)


def test_a_copy_is_compared_by_its_bytes_while_it_is_this_writes():
    async def check(fake, driver):
        await driver.put(put_request("from", b"data"))
        source = await driver.head("from")
        for data, same in ((b"data", True), (b"date", False), (b"dat", False), (b"data.", False)):
            for known in (source, replace(source, digest=None)):
                await driver.put(put_request("to", data, write_id="a" * 32))
                fake.log.clear()
                assert await read(fake, driver, known) is same
                reads = [seen.key for seen in fake.log]
                assert reads == (["to"] if known.digest or len(data) != 4 else ["to", "from"])
        await driver.put(put_request("to", b"data", write_id="b" * 32))
        with pytest.raises(StorageConflictError):
            await read(fake, driver, source)

    run(check)


def test_only_other_bytes_make_another_copy_not_an_answer_that_cannot_be_used():
    async def check(fake, driver):
        await driver.put(put_request("from", b"data"))
        await driver.put(put_request("to", b"data", write_id="a" * 32))
        source = await driver.head("from")
        stored = fake.objects["to"]
        fake.plan("GET", Answer(200, b"other", {**stored.headers, "ETag": stored.etag}))
        assert await read(fake, driver, replace(source, size=5)) is False
        fake.plan("GET", Answer(206, b"data", {**stored.headers, "ETag": stored.etag}), times=9)
        with pytest.raises(StorageIntegrityError):
            await read(fake, driver, source)

    run(check)
