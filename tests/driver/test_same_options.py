"""What writes with the same options have in common is made once, and is the same as made anew."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.driver import BytesBody, ContentHeaders, Precondition, PutRequest
from credstore.driver.same_options import SameOptions
from credstore.drivers.azure.capabilities import AZURE
from credstore.drivers.azure.put_headers import PutHeaders
from credstore.drivers.gcs.capabilities import GOOGLE, without_conditions
from credstore.drivers.gcs.requests import Described
from credstore.encryption import CustomerKey, KmsKey
from credstore.errors import StorageUnsupportedError

DIGEST = bytes(32)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "headers": st.sampled_from(
            [ContentHeaders(), ContentHeaders(content_type="text/plain", cache_control="no-store")]
        ),
        "precondition": st.sampled_from([Precondition("create"), Precondition("overwrite")]),
        "encryption": st.sampled_from([KmsKey("scope"), CustomerKey(DIGEST)]),
        "storage_class": st.just("Cool"),
        "metadata": st.just({"author": "Ü"}),
        "system": st.just({"codec": "zstd"}),
        "tags": st.just({"a": "b"}),
    },
)


def write(number=0, **options):
    return PutRequest(key=f"k{number}", body=BytesBody(b"x"), write_id=f"{number:032x}", **options)


def azure(kept, request):
    return kept.of(request, AZURE, DIGEST)


def google(kept, request):
    able = replace(GOOGLE, tags=True, storage_classes=GOOGLE.storage_classes | {"Cool"})
    return kept.of(request, able, DIGEST)


@pytest.mark.parametrize(("make", "of"), [(PutHeaders, azure), (Described, google)], ids=["azure", "gcs"])
@given(several=st.lists(OPTIONS, min_size=1, max_size=6))
def test_what_is_kept_gives_what_would_be_made_anew(make, of, several):
    kept = make()
    for number, options in enumerate([*several, *several]):
        request = write(number, **options)
        found = of(kept, request)
        assert found == of(make(), request)
        found.clear()  # It is the caller's.


def test_what_was_taken_away_meanwhile_is_refused():
    kept, request = Described(), write(precondition=Precondition("create"))
    assert kept.of(request, GOOGLE, None)
    with pytest.raises(StorageUnsupportedError):
        kept.of(request, without_conditions(GOOGLE), None)


def test_what_is_kept_is_little_and_no_key():
    made = []

    def make(request, within):
        made.append(request)
        return len(made)

    kept = SameOptions(make)
    headers = ContentHeaders(content_type="a/b")
    assert [kept.of(write(number, headers=headers), None) for number in range(3)] == [1, 1, 1]
    assert kept.of(write(headers=headers), "another place") == 2
    for number in range(200):
        kept.of(write(headers=ContentHeaders(content_type=f"a/{number}")), None)
    assert len(kept._kept) <= 64
    before = len(made)
    for rare in ({"encryption": CustomerKey(DIGEST)}, {"tags": {"a": "b"}}, {"extras": {"x": "y"}}):
        assert kept.of(write(headers=headers, **rare), None) is None
    assert len(made) == before
