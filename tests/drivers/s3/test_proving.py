"""What entity tags say of a copy, and what of it is believed."""

import asyncio
import hashlib
import random
from dataclasses import replace

import pytest

from credstore.driver import ObjectInfo
from credstore.drivers.s3.dialect import DIALECTS
from credstore.drivers.s3.proving import compare, compare_parts, composite_etag, may_be_another
from credstore.encryption import CustomerKey, KmsKey
from tests.drivers.s3.support import make_driver, put_request


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
