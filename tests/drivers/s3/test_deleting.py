"""What a deletion is taken to have done, by the words of its answer and by what is seen afterwards."""

import pytest

from credstore.errors import (
    StorageBucketNotFoundError,
    StorageInvalidRequestError,
    StoragePreconditionFailedError,
)
from tests.drivers.s3.fake import RESET, Answer, error, xml
from tests.drivers.s3.running import run
from tests.drivers.s3.support import put_request


def test_a_server_that_says_an_object_was_absent_is_believed():
    async def check(fake, driver):
        fake.plan("DELETE", error(404, "NoSuchKey"))
        assert (await driver.delete("k")).existed is False
        fake.plan("DELETE", RESET, applied=True)
        fake.plan("DELETE", error(404, "NoSuchKey"))
        assert (await driver.delete("k")).existed is None
        fake.plan("DELETE", error(404, "NoSuchBucket"))
        with pytest.raises(StorageBucketNotFoundError):
            await driver.delete("k")

    run(check)


@pytest.mark.parametrize("head", [None, error(403, "AccessDenied")], ids=["there", "unseen"])
def test_a_conditional_delete_is_a_success_only_where_the_object_is_seen_to_be_gone(head):
    async def check(fake, driver):
        stored = await driver.put(put_request("k", b"1"))
        fake.plan("DELETE", RESET)
        fake.plan("DELETE", error(412, "PreconditionFailed"))
        if head is not None:
            fake.plan("HEAD", head)
        with pytest.raises(StoragePreconditionFailedError) as caught:
            await driver.delete("k", if_match=stored.etag)
        assert caught.value.applied == "maybe"

    run(check)


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"x-amz-version-id": "v1"}, "v1"),
        ({"x-amz-version-id": "v1", "x-amz-delete-marker": "true"}, "v1"),
        ({"x-amz-version-id": "null"}, None),
        ({}, None),
    ],
)
def test_a_version_that_is_removed_leaves_no_marker(headers, told):
    async def check(fake, driver):
        fake.plan("DELETE", Answer(204, headers=headers))
        outcome = await driver.delete("k", version_id="v1")
        assert (outcome.existed, outcome.version_id) == (None, told)

    run(check)


def test_a_batch_is_as_large_as_the_cloud_allows_and_no_larger():
    async def check(fake, driver):
        most = driver.capabilities.max_delete_batch
        keys = [f"k{number}" for number in range(most + 1)]
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys[:most])
        fake.plan("POST", xml(f"<DeleteResult>{deleted}</DeleteResult>"), query="delete")
        assert len(await driver.delete_many(keys[:most])) == most
        with pytest.raises(StorageInvalidRequestError):
            await driver.delete_many(keys)
        assert len(fake.log) == 1

    run(check)


@pytest.mark.parametrize(("code", "absent"), [("NoSuchKey", True), ("NoSuchBucket", False)])
def test_a_key_of_a_missing_bucket_was_not_absent(code, absent):
    async def check(fake, driver):
        failed = f"<Error><Key>k</Key><Code>{code}</Code></Error>"
        fake.plan("POST", xml(f"<DeleteResult>{failed}</DeleteResult>"), query="delete")
        outcome = (await driver.delete_many(["k"]))["k"]
        assert isinstance(outcome, StorageBucketNotFoundError) is not absent
        assert not absent or outcome.existed is False

    run(check)
