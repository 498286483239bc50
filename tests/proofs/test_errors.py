"""The errors of proofs: as all of ours, they can be pickled, and each has its own code."""

import copy
import pickle

import pytest

from credstore import errors as tree
from credstore.proofs.format import errors

KINDS = [
    each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.ProofError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_facts_survive_copies(kind):
    error = kind("what happened", key="p/1", operation="get", provider="memory")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
    assert kind.__doc__
    assert issubclass(kind, tree.StorageError)


def test_codes_are_told_apart():
    codes = {kind.default_code for kind in KINDS}
    others = {
        each.default_code
        for each in vars(tree).values()
        if isinstance(each, type) and hasattr(each, "default_code")
    }
    assert len(codes) == len(KINDS) == 31
    assert not codes & others


def test_the_kinds_users_know_catch_them_too():
    assert issubclass(errors.ProofNotFoundError, tree.StorageNotFoundError)
    assert issubclass(errors.ProofConflictError, tree.StorageConflictError)
    assert issubclass(errors.ProofSignatureError, tree.StorageIntegrityError)
