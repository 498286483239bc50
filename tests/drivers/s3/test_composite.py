"""Uploads whose store proves what it keeps by the checksum of its parts.

Judges: the origin of the fault table, which refuses parts and completions without their checksums as AWS does,
and moto, which computes the checksum by itself and tells it to botocore.
"""

import asyncio
import hashlib
import io
import os
import random
from base64 import b64encode
from dataclasses import replace

import botocore.session
import pytest

from credstore import S3CompatibleStorageProvider
from credstore.config.settings import MIB
from credstore.driver import PartDigests
from credstore.drivers.s3.composite import Composite
from credstore.errors import ErrorCode, StorageIntegrityError, StorageInvalidRequestError
from tests.drivers.s3.support import KEY_ID, SECRET, Stream, minio_config, put_request
from tests.faults import rig as rigs
from tests.faults.rig import raised
from tests.faults.script import Hold, Rewrite
from tests.servers.moto import MotoServer

PART = 50_000
DATA = random.Random(5).randbytes(5 * PART + 77)
PARTS = {"flavor": "minio", "multipart_threshold": PART, "part_size": PART}
CUT = [DATA[at : at + PART] for at in range(0, len(DATA), PART)]


def composite(parts) -> str:
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    return b64encode(hashlib.sha256(digests).digest()).decode()


def written(folder):
    path = folder / "data"
    path.write_bytes(DATA)
    return path


def given(kind, tmp_path):
    path = written(tmp_path)

    async def stream():
        for at in range(0, len(DATA), 7001):
            yield DATA[at : at + 7001]

    return {"bytes": lambda: DATA, "path": lambda: path, "file": lambda: io.BytesIO(DATA), "stream": stream}[
        kind
    ]()


@pytest.mark.parametrize("kind", ["bytes", "path", "file", "stream"])
def test_it_is_proved_whatever_was_stored(kind, tmp_path):
    async def check(rig):
        store = rig.open(**PARTS)
        result = await store.store("k", given(kind, tmp_path), compress=False)
        assert result.proved
        assert rig.body() == DATA
        assert rig.objects["k"].checksums == {"x-amz-checksum-sha256": f"{composite(CUT)}-{len(CUT)}"}
        assert not (await rig.open(**PARTS | {"flavor": "ceph"}).store("k", DATA, compress=False)).proved
        assert await store.retrieve("k") == DATA

    rigs.run(check)


def test_a_file_is_hashed_in_one_pass(tmp_path, monkeypatch):
    """Its parts with it: what is sent was not hashed again."""
    hashed = []
    monkeypatch.setattr("credstore.driver.parts.Part.hashed", lambda *_: hashed.append(1))

    async def check(rig):
        await rig.open(**PARTS).store("k", written(tmp_path), compress=False)
        assert rig.body() == DATA
        assert not hashed

    rigs.run(check)


def test_moto_computes_the_same(moto_server: MotoServer, tmp_path):
    data = os.urandom(11 * MIB + 3)
    (tmp_path / "data").write_bytes(data)
    bucket = moto_server.make_bucket()
    config = minio_config(moto_server.url, bucket=bucket, multipart_threshold=5 * MIB, part_size=5 * MIB)

    async def main():
        async with S3CompatibleStorageProvider(config) as store:
            await store.store("k", tmp_path / "data", compress=False)

    asyncio.run(main())
    client = botocore.session.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=moto_server.url,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
    )
    found = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    cut = [data[at : at + 5 * MIB] for at in range(0, len(data), 5 * MIB)]
    assert (found["ChecksumType"], found["ChecksumSHA256"]) == ("COMPOSITE", f"{composite(cut)}-3")


def told(value):
    """The completion's response, with this checksum."""

    def changed(answer):
        start, end = answer.body.index(b"<ChecksumSHA256>"), answer.body.index(b"</ChecksumSHA256>")
        body = answer.body[:start] + f"<ChecksumSHA256>{value}".encode() + answer.body[end:]
        return replace(answer, body=body).with_headers(content_length=str(len(body)))

    return changed


OTHER = composite([b"other"])


@pytest.mark.parametrize(
    ("value", "proves"),
    [
        (None, False),
        ("", False),
        (f"{composite(CUT)}-6", True),
        (composite(CUT), True),
        (f" {composite(CUT)}-6\n", True),
        (OTHER, False),
        (f"{OTHER}-5", False),
        (b64encode(hashlib.sha256(DATA).digest()).decode(), False),
        ("not base64", False),
    ],
)
def test_only_a_checksum_of_these_parts_proves_anything(value, proves):
    known = Composite()
    for number in (3, 1, 2, 6, 5, 4):  # As they were sent, which is in no order.
        known.part(number, hashlib.sha256(CUT[number - 1]).digest())
    assert known.proves(value) is proves


def test_a_checksum_of_other_parts_is_an_error():
    known = Composite()
    for number, part in enumerate(CUT, 1):
        known.part(number, hashlib.sha256(part).digest())
    with pytest.raises(StorageIntegrityError) as caught:
        known.proves(f"{OTHER}-{len(CUT)}")
    assert (caught.value.code, caught.value.applied) == (ErrorCode.CHECKSUM_MISMATCH, "yes")


def changed_meanwhile(path):
    """Other bytes of the same length, in the same file with the same times."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(3 * PART)
        file.write(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_that_changed_unseen_between_two_passes_is_not_stored(tmp_path):
    path = written(tmp_path)

    async def check(rig):
        gate = asyncio.Event()
        rule = rig.origin.plan("before-apply", Hold(gate), operation="CreateMultipartUpload")
        storing = asyncio.ensure_future(raised(rig.open(**PARTS).store("k", path, compress=False)))
        await rule.reached.wait()
        changed_meanwhile(path)
        gate.set()
        failed = await storing
        assert (type(failed), failed.code, failed.applied) == (
            StorageInvalidRequestError,
            ErrorCode.SOURCE_CHANGED,
            "no",
        )
        assert (rig.body(), rig.origin.open_uploads) == (None, 0)

    rigs.run(check)


@pytest.mark.parametrize("parts", [None, PartDigests(PART - 1, [])], ids=["none", "of another size"])
def test_a_body_that_is_not_what_was_hashed_before_is_not_stored(parts):
    async def check(rig):
        driver = rig.open(**PARTS)._session.driver
        order = put_request(
            "k",
            body=Stream(DATA, length=len(DATA), replayable=True),
            digest=hashlib.sha256(DATA).digest(),
            parts=parts,
        )
        assert (await driver.put(order)).proved
        failed = await raised(driver.put(replace(order, digest=bytes(32), key="other")))
        assert (failed.code, failed.applied) == (ErrorCode.SOURCE_CHANGED, "no")
        assert (rig.body("other"), rig.origin.open_uploads) == (None, 0)

    rigs.run(check)


@pytest.mark.parametrize("code", [None, ErrorCode.CHECKSUM_MISMATCH])
def test_the_word_of_the_completion_counts(code):
    value = f"{OTHER}-{len(CUT)}" if code else OTHER

    async def check(rig):
        rig.origin.plan("response-head", Rewrite(told(value)), operation="CompleteMultipartUpload")
        storing = rig.open(**PARTS).store("k", DATA, compress=False)
        if code is None:
            assert not (await storing).proved
        else:
            failed = await raised(storing)
            assert (type(failed), failed.code, failed.applied) == (StorageIntegrityError, code, "yes")
        assert rig.origin.open_uploads == 0

    rigs.run(check)
