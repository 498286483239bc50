"""How many requests an object costs: the fewest that still verify it at the destination.

Judge: the origin of the fault table, which counts what arrives, and compares each checksum with its body.
"""

import hashlib
from base64 import b64encode
from dataclasses import replace

import pytest

from credstore.errors import ErrorCode
from credstore.transfer import Under, copy_tree, migrate
from tests.faults import rig as rigs
from tests.faults.script import set_headers
from tests.faults.signatures import Account
from tests.transfer.ends import make_tree, tree_of

NAMES = [f"k{number}" for number in range(5)]
PROVES, SILENT = "minio", "ceph"
"""Rows whose answer to a put has the SHA-256 of what is kept, and of one that says nothing."""


def operations(rig) -> dict[str, int]:
    """Requests that arrived since they were counted last, without listings, by operation."""
    sent, rig.counted = rig.origin.sent(), getattr(rig, "counted", 0)
    counts: dict[str, int] = {}
    for each in sent[rig.counted :]:
        if each.operation != "ListObjectsV2":
            counts[each.operation] = counts.get(each.operation, 0) + 1
    rig.counted = len(sent)
    return counts


def others(rig, flavor):
    """The same bucket with other credentials, so that no store can copy from one to the other."""
    rig.origin.allow(Account("AKIDOTHER", rigs.SECRET))
    return rig.open(flavor=flavor, access_key_id="AKIDOTHER")


async def seeded(rig, flavor, **options):
    store = rig.open(flavor=flavor)
    for name in NAMES:
        await store.store(f"a/{name}", name.encode() * 100, **options)
    operations(rig)
    return store


def test_a_file_is_one_put_where_its_answer_proves_what_is_kept(tmp_path):
    make_tree(tmp_path, {name: name.encode() for name in NAMES})

    async def check(rig):
        for flavor, wanted in ((PROVES, {"PutObject": 5}), (SILENT, {"PutObject": 5, "GetObject": 5})):
            report = await copy_tree(tmp_path, Under(rig.open(flavor=flavor), f"{flavor}/"))
            assert report.complete
            assert operations(rig) == wanted

    rigs.run(check)


@pytest.mark.parametrize("flavor", [PROVES, SILENT])
def test_a_large_file_is_read_back_only_where_its_parts_are_not_proved(tmp_path, flavor):
    data, limits = bytes(range(256)) * 100, {"multipart_threshold": 9_999, "part_size": 10_000}
    make_tree(tmp_path, {"large": data})
    sent = {"CreateMultipartUpload": 1, "UploadPart": 3, "CompleteMultipartUpload": 1}
    read = {} if flavor == PROVES else {"GetObject": 1}

    async def check(rig):
        store = rig.open(flavor=flavor, **limits)
        assert (await copy_tree(tmp_path, Under(store, "a/"))).complete
        assert operations(rig) == sent | read
        rig.origin.allow(Account("AKIDOTHER", rigs.SECRET))  # So that the cloud cannot copy by itself.
        other = rig.open(flavor=flavor, access_key_id="AKIDOTHER", **limits)
        assert (await copy_tree(Under(store, "a/"), Under(other, "b/"))).complete
        found = operations(rig)
        assert found.pop("GetObject") == 1 + len(read)
        assert found == sent | {"HeadObject": 1}
        assert rig.objects["b/large"].body == data

    rigs.run(check)


def test_an_object_is_one_get_to_a_folder(tmp_path):
    async def check(rig):
        store = await seeded(rig, PROVES, metadata={"m": "1"})
        report = await copy_tree(Under(store, "a/"), tmp_path)
        assert report.lost["metadata"] == 5
        assert operations(rig) == {"GetObject": 5}
        assert tree_of(tmp_path) == {name: name.encode() * 100 for name in NAMES}

    rigs.run(check)


@pytest.mark.parametrize("delete_source", [False, True])
@pytest.mark.parametrize(
    ("flavor", "wanted"),
    [(PROVES, {"GetObject": 5, "PutObject": 5}), (SILENT, {"GetObject": 10, "PutObject": 5})],
)
def test_between_two_stores_it_is_a_get_and_a_put(flavor, wanted, delete_source):
    async def check(rig):
        one, two = await seeded(rig, PROVES, metadata={"m": "1"}), others(rig, flavor)
        report = await migrate(Under(one, "a/"), Under(two, "b/"), delete_source=delete_source)
        assert report.complete
        found = operations(rig)
        deletes = {name: found.pop(name) for name in ("DeleteObject", "HeadObject") if name in found}
        assert found == wanted
        assert bool(deletes) == delete_source
        assert rig.objects["b/k1"].body == b"k1" * 100

    rigs.run(check)


def test_tags_are_asked_for_where_there_are_some():
    async def check(rig):
        one, two = await seeded(rig, PROVES, tags={"t": "1"}), others(rig, PROVES)
        assert (await copy_tree(Under(one, "a/"), Under(two, "b/"))).complete
        assert operations(rig) == {"GetObject": 5, "GetObjectTagging": 5, "PutObject": 5}
        assert rig.objects["b/k1"].tags == {"t": "1"}

    rigs.run(check)


def test_inside_one_store_it_is_looked_at_once_and_copied():
    """And asked for its tags, where what becomes of them is not known of the server."""

    async def check(rig):
        store = await seeded(rig, PROVES)
        # The first copy is looked at, since servers are known that drop its metadata.
        for to, looks in (("b/", 6), ("c/", 5)):
            assert (await copy_tree(Under(store, "a/"), Under(store, to), concurrency=1)).complete
            assert operations(rig) == {"HeadObject": looks, "CopyObject": 5, "GetObjectTagging": 5}
        other = rig.open(flavor=SILENT)
        assert (await copy_tree(Under(other, "a/"), Under(other, "d/"))).complete
        assert operations(rig) == {"HeadObject": 10, "CopyObject": 5, "GetObjectTagging": 5}

    rigs.run(check)


def test_between_two_buckets_of_one_account_the_cloud_copies():
    async def check(rig):
        rig.origin.store.buckets["other"] = other = {}
        one = await seeded(rig, PROVES, metadata={"m": "1"}, tags={"t": "1"})
        two = rig.open(flavor=PROVES, bucket="other")
        report = await migrate(Under(one, "a/"), two, concurrency=1)
        assert report.complete
        assert not report.lost
        counts = operations(rig)
        assert (counts["CopyObject"], counts.get("PutObject")) == (5, None)
        made = other["k1"]
        assert (made.body, made.tags, made.attributes["x-amz-meta-m"]) == (b"k1" * 100, {"t": "1"}, "1")
        assert "x-amz-meta-mtime" in made.attributes
        assert (await migrate(two, Under(one, "back/"), delete_source=True)).counts["moved"] == 5
        assert rig.objects["back/k1"].body == b"k1" * 100
        assert not other

    rigs.run(check)


def test_a_large_object_is_copied_in_parts_from_another_bucket():
    data = bytes(range(256)) * 100

    async def check(rig):
        rig.origin.store.buckets["other"] = other = {}
        limits = {"single_copy_limit": 10_000, "copy_part_size": 5_242_880, "flavor": PROVES}
        one, two = rig.open(**limits), rig.open(bucket="other", **limits)
        await one.store("large", data)
        operations(rig)
        assert (await copy_tree(one, two)).complete
        counts = operations(rig)
        assert counts["UploadPartCopy"] >= 1
        assert "PutObject" not in counts
        assert other["large"].body == data

    rigs.run(check)


def test_a_copy_across_that_differs_from_its_source_is_found():
    async def check(rig):
        rig.origin.store.buckets["other"] = {}
        for flavor in (PROVES, SILENT):
            one, two = rig.open(flavor=flavor), rig.open(flavor=flavor, bucket="other")
            await one.store("k", b"1" * 100)
            rig.objects["k"] = replace(rig.objects["k"], body=b"2" * 100)
            report = await migrate(one, two, delete_source=True)
            assert [event.kind for event in report.events] == ["failed"]
            assert "k" in rig.objects

    rigs.run(check)


def test_a_copy_whose_checksum_is_another_one_is_taken_back():
    async def check(rig):
        store = await seeded(rig, PROVES)
        rig.objects["a/k1"] = replace(rig.objects["a/k1"], body=b"x" * 200)
        report = await copy_tree(Under(store, "a/"), Under(store, "b/"))
        (event,) = [each for each in report.events if each.kind == "failed"]
        assert event.name == "k1"
        assert event.error.code == ErrorCode.PRECONDITION_FAILED
        assert report.counts["copied"] == 4

    rigs.run(check)


def test_a_put_whose_checksum_is_another_one_has_failed(tmp_path):
    make_tree(tmp_path, {"k": b"1"})
    other = hashlib.sha256(b"2").digest()

    async def check(rig):
        told = set_headers(x_amz_checksum_sha256=b64encode(other).decode())
        rig.origin.plan("response-head", told, operation="PutObject")
        report = await copy_tree(tmp_path, rig.open(flavor=PROVES))
        (event,) = report.events
        assert event.error.code == ErrorCode.CHECKSUM_MISMATCH

    rigs.run(check)
