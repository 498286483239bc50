"""Rows A of the fault table about copies: what a lookalike copies instead, and what it forgets on the way.

The lies are those of `lies.py`; each row says what must be true of the objects afterwards.
"""

import secrets
from dataclasses import replace

import pytest

from credstore import ClientSide, CustomerKey, KeyRing, KmsKey, LocalKey
from credstore.errors import (
    StorageConflictError,
    StorageIntegrityError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.provider.provider import StorageProvider
from tests.faults.messages import Answer, error
from tests.faults.objects import Stored
from tests.faults.rig import Rows, raised, run
from tests.faults.script import Respond

rows = Rows()
OWN = CustomerKey(bytes(range(32)))
RIGHT, WRONG = b"right" * 100, b"wrong" * 100
ODD, DECODED = "a%20b", "a b"
BLIND = {"decodes twice", "ignores copy conditions"}
OLD, NEW = LocalKey(secrets.token_bytes(32)), LocalKey(secrets.token_bytes(32))
PARTS = {"multipart_threshold": 200, "part_size": 200, "copy_part_size": 200}
SOURCES = {
    "one request": {},
    "source in parts": PARTS,
    "copy in parts": {"single_copy_limit": 100, "copy_part_size": 200},
    "both in parts": {**PARTS, "single_copy_limit": 100},
}
DIALECTS = [{"flavor": "ceph"}, {"flavor": "minio"}, {"flavor": "generic"}, {"aws": True}]


def each(*sets):
    """Every dialect with every way of being stored."""
    return pytest.mark.parametrize(
        "settings",
        [{**dialect, **source} for dialect in DIALECTS for source in (sets or SOURCES.values())],
        ids=str,
    )


@pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
def test_row(row):
    row.run()


def sealed(rig, current=OLD, older=()):
    """The same store with encryption on the client."""
    policy = ClientSide(KeyRing(current, older=older), store_id="s")
    return StorageProvider(rig.store._session.driver, rig.store.config, encryption=policy)


def overwritten(rig, operation, data=WRONG, key="k", **more):
    """Let somebody else replace the source just before it is copied, by a store that does not look."""

    def late(request):
        if rig.body(key) == RIGHT:
            there = rig.objects[key]
            rig.objects[key] = replace(
                there,
                body=data,
                etag="f" * 32,
                attributes={**there.attributes, "x-amz-meta-credstore-write-id": "e" * 32},
                parts=(),
            )
        return rig.origin.store.apply(request)

    rig.origin.store.lies.add("ignores copy conditions")
    rig.origin.plan("before-apply", Respond(late), operation=operation, times=None, **more)


# A02


@each()
@pytest.mark.parametrize("encryption", [None, OWN], ids=["plain", "customer key"])
def test_a02_a_move_keeps_a_source_that_another_object_was_copied_for(settings, encryption):
    encryption = None if settings.get("flavor") == "generic" else encryption  # Such a store takes no keys.

    async def test(rig):
        await rig.store.store(ODD, RIGHT)
        await rig.store.store(DECODED, WRONG)
        rig.origin.store.lies = BLIND
        failed = await raised(rig.store.move(ODD, "to"))
        assert isinstance(failed, (StorageIntegrityError, StorageConflictError, StorageUnsupportedError))
        assert rig.body(ODD) == RIGHT
        assert "to" not in rig.objects
        assert rig.origin.open_uploads == 0

    run(test, encryption=encryption, **settings)


@each()
@pytest.mark.parametrize("encryption", [None, OWN], ids=["plain", "customer key"])
def test_a02_a_copy_of_another_object_is_an_error_and_goes(settings, encryption):
    pinned = settings.get("aws") and (encryption is not None or settings != {"aws": True})
    lies = {"decodes twice"} if pinned else BLIND  # AWS is trusted with its conditions where no tag tells.
    encryption = None if settings.get("flavor") == "generic" else encryption

    async def test(rig):
        await rig.store.store(ODD, RIGHT)
        await rig.store.store(DECODED, WRONG)
        rig.origin.store.lies = lies
        failed = await raised(rig.store.copy(ODD, "to"))
        assert isinstance(failed, (StoragePreconditionFailedError, StorageUnsupportedError))
        assert "to" not in rig.objects
        assert rig.body(ODD) == RIGHT

    run(test, encryption=encryption, **settings)


@rows("A02", flavor="ceph", single_copy_limit=100, copy_part_size=200)
async def a_move_in_parts_of_a_name_that_is_decoded_twice_keeps_both_objects(rig):
    """As Ceph 16 has it: only the parts' sources are decoded twice, and conditions are ignored."""
    await rig.store.store(ODD, RIGHT)
    await rig.store.store(DECODED, WRONG)
    rig.origin.store.lies = {"decodes parts' sources twice", "ignores copy conditions"}
    assert (await raised(rig.store.move(ODD, "to"))).code == "PRECONDITION_FAILED"
    assert {key: rig.body(key) for key in rig.objects} == {ODD: RIGHT, DECODED: WRONG}


@rows("A02", flavor="ceph", single_copy_limit=100, copy_part_size=200)
async def a_move_of_the_same_store_succeeds_where_the_name_is_decoded_once(rig):
    await rig.store.store(ODD, RIGHT)
    await rig.store.move(ODD, "to")
    assert {key: rig.body(key) for key in rig.objects} == {"to": RIGHT}


@rows("A02", flavor="minio")
async def a_wrong_copy_that_somebody_else_replaced_is_left_alone(rig):
    await rig.store.store(ODD, RIGHT)
    await rig.store.store(DECODED, WRONG)
    rig.origin.store.lies = BLIND

    def replaced(request):
        answer = rig.origin.store.apply(request)
        rig.objects["to"] = Stored(b"theirs", "d" * 32, 0.0, {"x-amz-meta-credstore-write-id": "9" * 32})
        return answer

    rig.origin.plan("before-apply", Respond(replaced), operation="CopyObject")
    await raised(rig.store.copy(ODD, "to"))
    assert rig.body("to") == b"theirs"


@rows("A02", flavor="minio")
async def a_wrong_copy_that_cannot_be_removed_is_told(rig):
    await rig.store.store(ODD, RIGHT)
    await rig.store.store(DECODED, WRONG)
    rig.origin.store.lies = BLIND
    rig.origin.plan("before-apply", Respond(error(403, "AccessDenied")), operation="DeleteObject")
    failed = await raised(rig.store.copy(ODD, "to"))
    assert failed.applied == "yes"
    assert "may still be there" in failed.message


@pytest.mark.parametrize("settings", DIALECTS, ids=str)
@pytest.mark.parametrize("how", SOURCES.values(), ids=list(SOURCES))
def test_a02_a_rotation_never_rewrites_an_object_with_anothers_bytes(settings, how):
    async def test(rig):
        store = sealed(rig)
        await store.store(ODD, RIGHT)
        await store.store(DECODED, WRONG)
        before = rig.objects[ODD]
        lies = {"decodes twice"} if settings.get("aws") else BLIND
        rig.origin.store.lies = lies
        report = await sealed(rig, NEW, [OLD]).rotate_keys()
        assert ODD in report.failed
        assert rig.objects[ODD] == before
        rig.origin.store.lies = set()
        assert (await sealed(rig, NEW, [OLD]).rotate_keys()).complete
        assert await sealed(rig, NEW).retrieve(ODD) == RIGHT
        assert rig.body(ODD) == before.body

    run(test, **settings, **how)


@pytest.mark.parametrize(
    ("settings", "options", "operations"),
    [
        ({"aws": True}, {}, ["HeadObject", "CopyObject", "HeadObject", "DeleteObject"]),
        (
            {},
            {},
            # The second HEAD sees, for the first copy only, whether the server keeps metadata.
            ["HeadObject", "GetObjectTagging", "CopyObject", *["HeadObject"] * 3, "DeleteObject"],
        ),
        (
            {"aws": True},
            {"encryption": KmsKey("key")},
            ["HeadObject", "CopyObject", "HeadObject", "GetObject", "DeleteObject"],
        ),
        (
            {"aws": True, **PARTS},
            {},
            [
                "HeadObject",
                "HeadObject",  # Of the first part.
                "GetObjectTagging",
                "CreateMultipartUpload",
                *["UploadPartCopy"] * 3,
                "CompleteMultipartUpload",
                "HeadObject",
                "DeleteObject",
            ],
        ),
    ],
    ids=["as few as ever", "no bound deletes", "read back", "proved by parts"],
)
def test_a02_what_a_move_costs(settings, options, operations):
    async def test(rig):
        await rig.store.store("k", RIGHT, **options)
        if options:
            rig.objects["k"] = replace(rig.objects["k"], etag="b" * 32)  # Under a service's key it is no MD5.
        rig.origin.log.clear()
        await rig.store.move("k", "to")
        assert [entry.operation for entry in rig.origin.log] == operations
        assert rig.body("to") == RIGHT

    run(test, **settings)


@rows("A02", aws=True)
async def a_small_copy_is_two_requests(rig):
    await rig.store.store("k", RIGHT)
    await rig.store.copy("k", "to")  # After the first, it is seen that the server keeps metadata.
    rig.origin.log.clear()
    await rig.store.copy("k", "to")
    assert [entry.operation for entry in rig.origin.log] == ["HeadObject", "CopyObject"]


@rows("A02", aws=True, **PARTS)
async def a_source_in_unequal_parts_is_read_back(rig):
    await rig.store.store("k", RIGHT)
    rig.origin.store.lies = {"knows no part numbers"}
    rig.objects["k"] = replace(rig.objects["k"], etag="a" * 32 + "-2", parts=(400, 100))
    rig.origin.log.clear()
    await rig.store.move("k", "to")
    assert rig.requests("GetObject", "to") >= 1
    assert rig.body("to") == RIGHT


@rows("A02", aws=True)
async def a_source_without_a_digest_is_compared_byte_by_byte(rig):
    for other in (RIGHT, WRONG):
        rig.objects.clear()
        rig.objects["k"] = Stored(RIGHT, "a" * 31 + "-1", 0.0)

        def copied(request, other=other):
            answer = rig.origin.store.apply(request)
            rig.objects["to"] = replace(rig.objects["to"], body=other)
            return answer

        rule = rig.origin.plan("before-apply", Respond(copied), operation="CopyObject")
        if other is WRONG:
            failed = await raised(rig.store.move("k", "to"))
            assert failed.code == "COPY_DIFFERS"
            assert {key: rig.body(key) for key in rig.objects} == {"k": RIGHT}
        else:
            await rig.store.move("k", "to")
            assert {key: rig.body(key) for key in rig.objects} == {"to": RIGHT}
        assert rule.fired


@pytest.mark.parametrize("size", [500, 50_000])
@pytest.mark.parametrize("known", [True, False])
def test_a02_a_sealed_copy_is_read_back_before_its_source_goes(size, known):
    data = secrets.token_bytes(size)

    async def test(rig):
        store = sealed(rig)
        await store.store("k", data if known else iter([data]))

        def spoil(request):
            there = rig.objects["to"]
            rig.objects["to"] = replace(there, body=there.body[:-1] + bytes([there.body[-1] ^ 1]))
            return rig.origin.store.apply(request)

        rig.origin.plan("before-apply", Respond(spoil), operation="GetObject", key="to")
        failed = await raised(store.move("k", "to"))
        assert failed.code == "COPY_DIFFERS"
        assert await store.retrieve("k") == data
        assert "to" not in rig.objects
        await store.move("k", "to")
        assert await store.retrieve("to") == data
        assert "k" not in rig.objects

    run(test, multipart_threshold=8192, part_size=8192)


# A03


@each()
@pytest.mark.parametrize("encryption", [None, OWN], ids=["plain", "customer key"])
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a03_a_source_replaced_meanwhile_is_a_failed_condition_and_no_copy_stays(settings, encryption, verb):
    encryption = None if settings.get("flavor") == "generic" else encryption

    async def test(rig):
        await rig.store.store("k", RIGHT)
        for operation in ("CopyObject", "UploadPartCopy"):
            overwritten(rig, operation)
        failed = await raised(getattr(rig.store, verb)("k", "to"))
        assert isinstance(failed, StoragePreconditionFailedError)
        assert "to" not in rig.objects
        assert rig.body("k") == WRONG
        assert rig.origin.open_uploads == 0

    run(test, encryption=encryption, faults_may_wait=True, **settings)


@pytest.mark.parametrize("settings", DIALECTS[:3], ids=str)
def test_a03_a_rotation_never_puts_old_metadata_on_new_bytes(settings):
    async def test(rig):
        store = sealed(rig)
        await store.store("k", RIGHT)
        policy_of_others = sealed(rig)
        await policy_of_others.store("theirs", WRONG)
        theirs, first = rig.objects["theirs"], rig.body("k")

        def late(request):
            if rig.body("k") == first:
                rig.objects["k"] = theirs
            return rig.origin.store.apply(request)

        rig.origin.store.lies = {"ignores copy conditions"}
        for operation in ("CopyObject", "UploadPartCopy"):
            rig.origin.plan("before-apply", Respond(late), operation=operation, times=None)
        await sealed(rig, NEW, [OLD]).rotate_keys("k")
        now = rig.objects["k"]
        assert now.body == theirs.body
        wrapped = "x-amz-meta-credstore-wrapped-key"
        assert now.attributes.get(wrapped) in {None, theirs.attributes.get(wrapped)} or (
            now.attributes["x-amz-meta-credstore-sha256"] == theirs.attributes["x-amz-meta-credstore-sha256"]
        )

    run(test, faults_may_wait=True, **settings)


@rows("A03", aws=True)
async def a_source_deleted_meanwhile_does_not_take_a_good_copy_with_it(rig):
    await rig.store.store("k", RIGHT, encryption=OWN)

    def gone(request):
        answer = rig.origin.store.apply(request)
        del rig.objects["k"]
        return answer

    rig.origin.plan("before-apply", Respond(gone), operation="CopyObject")
    await rig.store.copy("k", "to", source_encryption=OWN)
    assert rig.body("to") == RIGHT


@rows("A03", aws=True)
async def a_copy_that_cannot_be_compared_says_that_it_is_there(rig):
    await rig.store.store("k", RIGHT, encryption=OWN)
    rig.origin.plan(
        "before-apply", Respond(error(403, "AccessDenied")), operation="HeadObject", key="k", nth=2
    )
    rig.origin.plan("before-apply", Respond(error(403, "AccessDenied")), operation="GetObject", key="k")
    failed = await raised(rig.store.copy("k", "to", source_encryption=OWN))
    assert failed.applied == "yes"
    assert "was made" in failed.message


# A04

TAGS = {"a": "1", "größe": "x = y"}


@each()
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a04_a_copy_keeps_its_tags_where_the_provider_drops_them(settings, verb):
    if settings.get("aws") or settings.get("flavor") == "generic":
        return  # AWS keeps them by its word; the others have none.

    async def test(rig):
        await rig.store.store("k", RIGHT, tags=TAGS)
        rig.origin.store.lies = {"drops tags on replace"}
        await getattr(rig.store, verb)("k", "to")
        assert rig.objects["to"].tags == TAGS
        assert rig.body("to") == RIGHT

    run(test, **settings)


@each()
@pytest.mark.parametrize("verb", ["copy", "move"])
@pytest.mark.parametrize("lies", [set(), {"drops tags on replace"}], ids=["honest", "drops"])
def test_a04_tags_that_others_have_set_are_kept_where_none_are_promised(settings, verb, lies):
    async def test(rig):
        await rig.store.store("k", RIGHT)
        rig.objects["k"] = replace(rig.objects["k"], tags=TAGS)
        rig.origin.store.lies = lies
        await getattr(rig.store, verb)("k", "to")
        assert rig.objects["to"].tags == TAGS
        assert rig.body("to") == RIGHT

    run(test, **settings)


@rows("A04", flavor="ceph")
async def a_move_refuses_to_lose_tags_that_were_to_be_kept(rig):
    await rig.store.store("k", RIGHT, tags=TAGS)
    rig.origin.store.lies = {"drops tags on replace"}
    rig.origin.plan("before-apply", Respond(Answer(200)), operation="PutObjectTagging")
    failed = await raised(rig.store.move("k", "to"))
    assert (failed.code, "tags" in failed.message) == ("COPY_INCOMPLETE", True)
    assert rig.objects["k"].tags == TAGS


@pytest.mark.parametrize("settings", DIALECTS, ids=str)
@pytest.mark.parametrize("data", [b"", RIGHT], ids=["empty", "some"])
@pytest.mark.parametrize("lies", [set(), {"drops tags on replace"}], ids=["honest", "drops"])
def test_a04_a_rotation_keeps_tags_that_others_have_set(settings, data, lies):
    async def test(rig):
        store = sealed(rig)
        await store.store("k", data)
        rig.objects["k"] = replace(rig.objects["k"], tags=TAGS)
        rig.origin.store.lies = lies
        assert (await sealed(rig, NEW, [OLD]).rotate_keys()).complete
        assert rig.objects["k"].tags == TAGS
        assert await sealed(rig, NEW).retrieve("k") == data

    run(test, **settings)


@rows("A04", flavor="generic")
async def a_copy_whose_tags_cannot_be_asked_for_is_not_made(rig):
    await rig.store.store("k", RIGHT)
    rig.objects["k"] = replace(rig.objects["k"], tags=TAGS)
    rig.origin.plan("before-apply", Respond(error(501, "NotImplemented")), operation="GetObjectTagging")
    failed = await raised(rig.store.copy("k", "to"))
    assert (failed.code, failed.applied) == ("UNSUPPORTED", "no")
    assert list(rig.objects) == ["k"]


@rows("A04", flavor="generic")
async def a_sealed_copy_refuses_to_lose_tags_that_others_have_set(rig):
    store = sealed(rig)
    await store.store("k", RIGHT)
    rig.objects["k"] = replace(rig.objects["k"], tags=TAGS)
    failed = await raised(store.copy("k", "to"))
    assert (failed.code, failed.applied, "tags" in failed.message) == ("UNSUPPORTED", "no", True)
    assert list(rig.objects) == ["k"]


@pytest.mark.parametrize("settings", [{"flavor": "ceph"}, {"flavor": "minio"}], ids=str)
@pytest.mark.parametrize("data", [b"", RIGHT], ids=["empty", "some"])
def test_a04_a_rotation_and_a_sealed_copy_keep_tags(settings, data):
    async def test(rig):
        store = sealed(rig)
        await store.store("k", data, tags=TAGS, metadata={"m": "v"})
        rig.origin.store.lies = {"drops tags on replace"}
        report = await sealed(rig, NEW, [OLD]).rotate_keys()
        assert (report.rotated, report.complete) == (1, True)
        rotated = sealed(rig, NEW)
        await rotated.copy("k", "copied")
        await rotated.move("copied", "moved")
        for key in ("k", "moved"):
            assert rig.objects[key].tags == TAGS
            assert await rotated.retrieve(key) == data
            assert (await rotated.get_metadata(key)).metadata == {"m": "v"}

    run(test, **settings)


@rows("A04", flavor="ceph")
async def a_copy_whose_tags_cannot_be_restored_goes_again(rig):
    await rig.store.store("k", RIGHT, tags=TAGS)
    rig.origin.store.lies = {"drops tags on replace"}
    rig.origin.plan("before-apply", Respond(error(403, "AccessDenied")), operation="PutObjectTagging")
    failed = await raised(rig.store.copy("k", "to"))
    assert (failed.code, failed.applied) == ("COPY_INCOMPLETE", "yes")
    assert list(rig.objects) == ["k"]


KEPT = {
    "content-type": "text/x",
    "cache-control": "no-store",
    "content-disposition": "inline",
    "content-language": "fr",
    "expires": "Wed, 21 Oct 2026 07:28:00 GMT",
    "x-amz-website-redirect-location": "/elsewhere",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-meta-m": "v",
}


@each()
@pytest.mark.parametrize("verb", ["copy", "move"])
def test_a04_a_copy_keeps_all_that_is_beside_the_bytes(settings, verb):
    async def test(rig):
        await rig.store.store("k", RIGHT)
        there = rig.objects["k"]
        ours = {name: value for name, value in there.attributes.items() if "credstore" in name}
        rig.objects["k"] = replace(there, attributes={**ours, **KEPT})
        await getattr(rig.store, verb)("k", "to")
        kept = {name: rig.objects["to"].attributes.get(name) for name in KEPT}
        assert kept == KEPT

    run(test, **settings)


@rows("A04", aws=True)
async def a_move_refuses_to_lose_what_is_beside_the_bytes(rig):
    await rig.store.store("k", RIGHT, storage_class="STANDARD_IA")
    rig.origin.store.lies = {"no storage classes"}
    failed = await raised(rig.store.move("k", "to"))
    assert (failed.code, "storage class" in failed.message) == ("COPY_INCOMPLETE", True)
    assert rig.body("k") == RIGHT


@pytest.mark.parametrize(
    "attributes",
    [{"x-amz-server-side-encryption": "aws:kms:dsse"}, {"x-amz-missing-meta": "2"}],
    ids=["encryption nobody can ask for", "metadata nobody can see"],
)
@pytest.mark.parametrize("seal", [False, True], ids=["inside", "through here"])
def test_a04_what_cannot_be_kept_is_refused_before_anything_is_sent(attributes, seal):
    async def test(rig):
        store = sealed(rig) if seal else rig.store
        await store.store("k", RIGHT)
        there = rig.objects["k"]
        rig.objects["k"] = replace(there, attributes={**there.attributes, **attributes})
        for verb in (store.copy, store.move):
            failed = await raised(verb("k", "to"))
            assert (type(failed), failed.applied) == (StorageUnsupportedError, "no")
        assert list(rig.objects) == ["k"]
        assert rig.requests("CopyObject") + rig.requests("PutObject") == 1

    run(test, aws=True)
