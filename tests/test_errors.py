"""The error tree: facts that survive copying and pickling, one text built from them."""

import copy
import errno
import pickle

import pytest

from credstore import errors
from credstore.errors import StorageError, StorageInvalidKeyError, StorageNotFoundError

KINDS = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, StorageError)]
FACTS = {
    "code": "CODE",
    "provider_code": "TheirCode",
    "provider": "r2",
    "operation": "store",
    "key": "a/b",
    "bucket": "proofs",
    "status_code": 503,
    "request_id": "id-1",
    "retryable": True,
    "applied": "maybe",
    "retry_after": 2.5,
}


@pytest.mark.parametrize("kind", KINDS)
def test_facts_survive_copies(kind):
    error = kind("what happened", **FACTS)
    error.add_note("a remark")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert again.facts() == {**error.facts(), **FACTS}
        assert str(again) == str(error)
        assert again.__notes__ == ["a remark"]


def test_the_text_says_the_facts():
    text = str(StorageNotFoundError("there is no such object", **FACTS))
    assert text == (
        "there is no such object [CODE; store of 'a/b' in 'proofs' at r2; answer: 503 TheirCode; "
        "request id: id-1; retry may help; the effect may have happened]"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_own_code_and_docstring(kind):
    assert kind.default_code.isupper()
    assert kind.__doc__
    assert kind("x").applied == "no"


def test_codes_are_told_apart():
    codes = [kind.default_code for kind in KINDS if "default_code" in vars(kind)]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("kind", "builtin", "number"),
    [
        (errors.StorageObjectNotFoundError, FileNotFoundError, errno.ENOENT),
        (errors.StorageAccessDeniedError, PermissionError, errno.EACCES),
        (errors.StorageAlreadyExistsError, FileExistsError, errno.EEXIST),
    ],
)
def test_three_kinds_are_what_files_raise_too(kind, builtin, number):
    with pytest.raises(builtin) as caught:
        raise kind("what happened", key="k")
    assert caught.value.errno == number
    assert caught.value.key == "k"


def test_an_absent_bucket_is_not_an_absent_object():
    assert not issubclass(
        errors.StorageBucketNotFoundError, FileNotFoundError | errors.StorageObjectNotFoundError
    )
    assert issubclass(errors.StorageBucketNotFoundError, errors.StorageNotFoundError)


def test_what_is_a_wrong_value_is_a_value_error_too():
    assert issubclass(errors.StorageInvalidRequestError, ValueError)
    assert issubclass(errors.StorageConfigurationError, ValueError)
    assert issubclass(StorageInvalidKeyError, errors.StorageInvalidRequestError)


def test_at_fills_only_what_is_open():
    error = StorageError("x", provider="member", key="own")
    assert error.at(provider="whole", operation="store", key="asked") is error
    assert (error.provider, error.operation, error.key) == ("member", "store", "own")
