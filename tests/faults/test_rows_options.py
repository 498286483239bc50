"""Rows A of the fault table about what was asked for: conditions without a version, options without effect."""

import asyncio

import pytest

from credstore import CustomerKey, KmsKey, LocalConfig, LocalStorageProvider, MemoryStorageProvider
from credstore.driver import Precondition
from credstore.drivers.s3.headers import Told, unconfirmed
from credstore.errors import StorageIntegrityError, StorageInvalidRequestError
from tests.faults.messages import error
from tests.faults.objects import Stored
from tests.faults.rig import Rows, raised, run
from tests.faults.script import Respond, set_headers

rows = Rows()
DATA = b"precious" * 100
OWN, KMS = CustomerKey(bytes(range(32))), KmsKey("the-key")
PARTS = {"multipart_threshold": 300, "part_size": 300}
SIZES = pytest.mark.parametrize("parts", [{}, PARTS], ids=["one request", "parts"])
ASKED = pytest.mark.parametrize("asked", [OWN, KMS, "AES256", True], ids=["SSE-C", "KMS", "AES256", "True"])


@pytest.mark.parametrize("row", rows, ids=lambda row: row.name)
def test_row(row):
    row.run()


# A05


@rows("A05", flavor="ceph", **PARTS)
async def an_etag_that_the_completion_leaves_out_is_asked_for_once(rig):
    rig.origin.store.lies = {"completes without etag"}
    result = await rig.store.store("k", DATA)
    assert result.etag == rig.objects["k"].etag
    assert rig.requests("HeadObject") == 1


@rows("A05")
async def an_etag_that_a_put_leaves_out_is_asked_for_once(rig):
    rig.origin.store.lies = {"puts without etag"}
    result = await rig.store.store("k", DATA)
    assert result.etag == rig.objects["k"].etag
    assert rig.requests() == 2


@rows("A05", **PARTS)
async def the_etag_of_another_writers_object_is_never_taken_for_ours(rig):
    rig.origin.store.lies = {"completes without etag"}

    def replaced(request):
        rig.objects["k"] = Stored(b"theirs", "d" * 32, 0.0, {"x-amz-meta-credstore-write-id": "9" * 32})
        return rig.origin.store.apply(request)

    rig.origin.plan("before-apply", Respond(replaced), operation="HeadObject")
    result = await rig.store.store("k", DATA)
    assert result.etag is None
    with pytest.raises(StorageInvalidRequestError, match="names no version"):
        await rig.store.store("k", DATA, if_match=result.etag)
    assert rig.body() == b"theirs"


@rows("A05", **PARTS)
async def an_etag_that_cannot_be_asked_for_is_unknown_and_the_write_a_success(rig):
    rig.origin.store.lies = {"completes without etag"}
    for each in ("HeadObject", "GetObject"):
        rig.origin.plan("before-apply", Respond(error(403, "AccessDenied")), operation=each, times=None)
    assert (await rig.store.store("k", DATA)).etag is None
    assert rig.body() == DATA


@pytest.mark.parametrize("aws", [True, False])
def test_a05_no_verb_takes_none_for_a_version(aws):
    async def test(rig):
        await rig.store.store("k", DATA)
        sent = rig.requests()
        for call in (
            lambda: rig.store.store("k", b"x", if_match=None),
            lambda: rig.store.delete("k", if_match=None),
            lambda: rig.store.delete("k", version_id=None),
            lambda: rig.store.get_signed_url("k", method="DELETE", version_id=None),
        ):
            failed = await raised(call())
            assert (type(failed), failed.applied) == (StorageInvalidRequestError, "no")
        assert rig.requests() == sent
        assert rig.body() == DATA
        await rig.store.delete("k")
        assert rig.body() is None

    run(test, aws=aws)


def test_a05_no_store_at_all_takes_none_for_a_version(tmp_path):
    async def main():
        for store in (MemoryStorageProvider(), LocalStorageProvider(LocalConfig(path=str(tmp_path)))):
            async with store:
                await store.store("k", DATA)
                for call in (store.store("k", b"x", if_match=None), store.delete("k", if_match=None)):
                    with pytest.raises(StorageInvalidRequestError, match="None"):
                        await call
                assert await store.retrieve("k") == DATA
                assert await store.delete("k") is True

    asyncio.run(main())


@pytest.mark.parametrize(
    ("mode", "etag"), [("replace", None), ("replace", ""), ("create", "e"), ("overwrite", "e")]
)
def test_a05_a_precondition_and_its_etag_belong_together(mode, etag):
    with pytest.raises(StorageInvalidRequestError):
        Precondition(mode, etag)


# A09


@SIZES
@ASKED
@pytest.mark.parametrize("by", ["call", "setting"])
def test_a09_encryption_that_was_asked_for_and_is_not_confirmed_is_an_error_and_nothing_stays(
    asked, parts, by
):
    async def test(rig):
        rig.origin.store.lies = {"no encryption"}
        options = {"encryption": asked} if by == "call" else {}
        failed = await raised(rig.store.store("k", DATA, **options))
        assert (type(failed), failed.code, failed.retryable) == (
            StorageIntegrityError,
            "NOT_ENCRYPTED",
            False,
        )
        assert failed.applied == ("no" if parts else "yes")
        assert rig.objects == {}
        assert rig.origin.open_uploads == 0
        assert "AAEC" not in str(failed)

    run(test, aws=True, **parts, **({"encryption": asked} if by == "setting" else {}))


@SIZES
@ASKED
def test_a09_encryption_that_is_confirmed_costs_nothing_more(asked, parts):
    async def test(rig):
        result = await rig.store.store("k", DATA, encryption=asked)
        assert result.encryption == {OWN: "SSE-C", KMS: "aws:kms"}.get(asked, "AES256")
        assert rig.requests() == (5 if parts else 1)

    run(test, aws=True, **parts)


@SIZES
def test_a09_what_nobody_asked_for_need_not_be_confirmed(parts):
    async def test(rig):
        rig.origin.store.lies = {"no encryption"}
        assert (await rig.store.store("k", DATA)).encryption is None
        assert rig.origin.log[0].headers["x-amz-server-side-encryption"] == "AES256"
        assert rig.body() == DATA

    run(test, aws=True, **parts)


@rows("A09", aws=True)
async def another_writers_object_is_not_removed_with_ours(rig):
    rig.origin.store.lies = {"no encryption"}

    def replaced(request):
        answer = rig.origin.store.apply(request)
        rig.objects["k"] = Stored(b"theirs", "d" * 32, 0.0, {"x-amz-meta-credstore-write-id": "9" * 32})
        return answer

    rig.origin.plan("before-apply", Respond(replaced), operation="PutObject")
    failed = await raised(rig.store.store("k", DATA, encryption=OWN))
    assert (failed.code, failed.applied) == ("NOT_ENCRYPTED", "yes")
    assert rig.body() == b"theirs"


@rows("A09", aws=True)
async def what_cannot_be_removed_is_told(rig):
    rig.origin.store.lies = {"no encryption"}
    rig.origin.plan("before-apply", Respond(error(403, "AccessDenied")), operation="DeleteObject")
    failed = await raised(rig.store.store("k", DATA, encryption=OWN))
    assert (failed.code, "may still be there" in failed.message) == ("NOT_ENCRYPTED", True)


@rows("A09", aws=True)
async def a_lost_answer_is_held_to_the_same(rig):
    rig.origin.store.lies = {"no encryption"}
    rig.origin.plan("after-apply", Respond(error(500, "InternalError")), operation="PutObject", times=None)
    failed = await raised(rig.store.store("k", DATA, encryption=KMS))
    assert (failed.code, failed.applied) == ("NOT_ENCRYPTED", "yes")
    assert rig.objects == {}


@rows("A09", aws=True, **PARTS)
async def a_completion_that_names_another_key_is_an_error(rig):
    rule = rig.origin.plan(
        "response-head",
        set_headers(x_amz_server_side_encryption_aws_kms_key_id="another-key"),
        operation="CompleteMultipartUpload",
    )
    failed = await raised(rig.store.store("k", DATA, encryption=KMS))
    assert (failed.code, failed.applied) == ("NOT_ENCRYPTED", "yes")
    assert rig.objects == {}
    assert rule.fired


@pytest.mark.parametrize("silent", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"])
@pytest.mark.parametrize("asked", [OWN, KMS], ids=["SSE-C", "KMS"])
def test_a09_one_silent_answer_of_an_upload_is_made_good_by_the_others(silent, asked):
    names = ("", "_aws_kms_key_id", "_customer_algorithm", "_customer_key_md5")
    silence = set_headers(**{f"x_amz_server_side_encryption{name}": None for name in names})

    async def test(rig):
        rig.origin.plan("response-head", silence, operation=silent, times=None)
        result = await rig.store.store("k", DATA, encryption=asked)
        assert result.encryption == ("SSE-C" if asked is OWN else "aws:kms")
        assert (await rig.store.get_metadata("k", encryption=asked if asked is OWN else None)) is not None

    run(test, aws=True, **PARTS)


@rows("A09", aws=True, **PARTS)
async def no_part_goes_out_after_an_answer_that_promises_something_else(rig):
    other = set_headers(
        x_amz_server_side_encryption="AES256", x_amz_server_side_encryption_aws_kms_key_id=None
    )
    rig.origin.plan("response-head", other, operation="CreateMultipartUpload")
    failed = await raised(rig.store.store("k", DATA, encryption=KMS))
    assert (failed.code, failed.applied) == ("NOT_ENCRYPTED", "no")
    assert rig.requests("UploadPart") == 0
    assert rig.origin.open_uploads == 0


@pytest.mark.parametrize("how", [{}, {"single_copy_limit": 100, "copy_part_size": 300}], ids=["one", "parts"])
@pytest.mark.parametrize("asked", [OWN, KMS, "AES256"], ids=["SSE-C", "KMS", "AES256"])
def test_a09_a_copy_is_held_to_the_encryption_that_was_asked_for(how, asked):
    async def test(rig):
        await rig.store.store("k", DATA, encryption=False)
        rig.origin.store.lies = {"no encryption"}
        failed = await raised(rig.store.copy("k", "to", encryption=asked))
        assert failed.code == "NOT_ENCRYPTED"
        assert list(rig.objects) == ["k"]
        rig.origin.store.lies = set()
        result = await rig.store.copy("k", "to", encryption=asked)
        assert result.encryption == {OWN: "SSE-C", KMS: "aws:kms"}.get(asked, "AES256")

    run(test, aws=True, **how)


@rows("A09", aws=True)
async def a_move_keeps_the_source_where_the_copy_is_not_encrypted_as_it_is(rig):
    await rig.store.store("k", DATA, encryption=KMS)
    rig.origin.store.lies = {"no encryption"}
    assert (await raised(rig.store.move("k", "to"))).code == "NOT_ENCRYPTED"
    assert {key: rig.body(key) for key in rig.objects} == {"k": DATA}


@rows("A09", aws=True)
async def a_move_keeps_the_source_where_the_copy_lost_the_usual_encryption(rig):
    await rig.store.store("k", DATA)
    rig.origin.store.lies = {"no encryption"}
    failed = await raised(rig.store.move("k", "to"))
    assert (failed.code, "encryption at rest" in failed.message) == ("COPY_INCOMPLETE", True)
    assert rig.body("k") == DATA


@rows("A09", aws=True)
async def an_object_that_is_rewritten_in_place_is_never_removed(rig):
    await rig.store.store("k", DATA)
    rig.origin.store.lies = {"no encryption"}
    failed = await raised(rig.store.copy("k", "k", encryption=KMS))
    assert (failed.code, failed.applied) == ("NOT_ENCRYPTED", "yes")
    assert rig.body() == DATA


@rows("A09", aws=True)
async def a_storage_class_that_the_answer_contradicts_is_an_error(rig):
    rig.origin.plan("response-head", set_headers(x_amz_storage_class="STANDARD"), operation="PutObject")
    failed = await raised(rig.store.store("k", DATA, storage_class="STANDARD_IA"))
    assert (failed.code, failed.applied) == ("NOT_HONOURED", "yes")
    assert rig.objects == {}


ARN = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


@pytest.mark.parametrize(
    ("asked", "told", "confirmed"),
    [
        (None, None, True),
        (None, ARN, True),
        (ARN, ARN, True),
        ("1234abcd-12ab-34cd-56ef-1234567890ab", ARN, True),
        ("alias/mine", ARN, True),
        ("arn:aws:kms:eu-west-1:111122223333:alias/mine", ARN, True),
        ("alias/mine", "alias/mine", True),
        ("my-key", "arn:aws:kms:my-key", True),
        ("alias/mine", "alias/yours", False),
        ("alias/mine", None, False),
        (ARN, None, False),
        ("0000abcd-12ab-34cd-56ef-1234567890ab", ARN, False),
        ("90ab", ARN, False),
    ],
)
def test_a09_a_key_of_the_key_service_is_known_by_all_its_names(asked, told, confirmed):
    assert (unconfirmed(KmsKey(asked), Told("aws:kms", told)) is None) is confirmed


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (OWN, Told(None)),
        (OWN, Told("AES256")),
        (OWN, Told("SSE-C", None, "AAAAAAAAAAAAAAAAAAAAAA==")),
        (KMS, Told("AES256")),
        ("AES256", Told("aws:kms", "the-key")),
        ("AES256", Told("SSE-C")),
    ],
)
def test_a09_another_kind_or_key_is_no_confirmation(asked, told):
    why = unconfirmed(asked, told)
    assert why is not None
    assert "AAEC" not in why


@pytest.mark.parametrize("how", ["put", "seen"])
def test_a09_fewer_tags_than_were_asked_for_are_an_error_where_an_answer_tells_them(how):
    async def test(rig):
        told = set_headers(x_amz_tagging_count="1")
        if how == "put":
            rig.origin.plan("response-head", told, operation="PutObject")
        else:
            rig.origin.plan(
                "after-apply", Respond(error(500, "InternalError")), operation="PutObject", times=None
            )
            rig.origin.plan("response-head", told, operation="HeadObject")
        failed = await raised(rig.store.store("k", DATA, tags={"a": "1", "b": "2"}))
        assert (failed.code, failed.applied) == ("NOT_HONOURED", "yes")
        assert rig.objects == {}

    run(test, aws=True)
