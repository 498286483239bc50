"""Listings by delimiter and from a name on: one request for 1,000 names, and servers that are different."""

from dataclasses import replace

import pytest

from credstore.errors import StorageIntegrityError
from credstore.testing.harness import names
from tests.faults import listing
from tests.faults.messages import Request, element, xml
from tests.faults.objects import Stored
from tests.faults.rig import Rig, run
from tests.faults.script import Respond


def fill(rig: Rig, keys) -> None:
    for key in keys:
        rig.objects[key] = Stored(b"x", "e" * 32, 0.0, {})


def lists(rig: Rig, *answers) -> None:
    """The origin answers the next listings so: with an answer, or what a function makes of a request."""
    for number, answer in enumerate(answers, 1):
        rig.origin.plan("before-apply", Respond(answer), operation="ListObjectsV2", nth=number)


def page(*, keys=(), prefixes=(), token=None, more=""):
    inner = [element("IsTruncated", "true" if token else "false"), more]
    inner += [f"<Contents>{element('Key', key)}{element('Size', 1)}</Contents>" for key in keys]
    inner += [f"<CommonPrefixes>{element('Prefix', each)}</CommonPrefixes>" for each in prefixes]
    inner += [element("NextContinuationToken", token)] if token else []
    return xml("ListBucketResult", "".join(inner))


def test_a_thousand_prefixes_are_one_request_whatever_is_below_them():
    async def test(rig):
        fill(rig, [f"p/{folder:04d}/{each}" for folder in range(2500) for each in range(8)])
        fill(rig, ["p/a", "q"])
        found = await rig.store.list("p/", delimiter="/")
        assert found.prefixes == tuple(f"p/{folder:04d}/" for folder in range(2500))
        assert [item.key for item in found] == ["p/a"]
        assert rig.requests() == rig.requests("ListObjectsV2") == 3
        assert {entry.request.query["delimiter"] for entry in rig.origin.log} == {"/"}

    run(test)


def test_a_listing_begins_in_the_middle_with_one_request():
    async def test(rig):
        fill(rig, [f"{number:05d}" for number in range(5000)])
        found = await rig.store.list(start_after="04989", max_keys=20)
        assert [item.key for item in found] == [f"{number:05d}" for number in range(4990, 5000)]
        assert rig.requests() == 1

    run(test)


def test_only_the_first_page_says_where_to_begin():
    async def test(rig):
        fill(rig, [f"{number:05d}" for number in range(2500)])
        assert len(await rig.store.list(start_after="00099", delimiter="/")) == 2400
        asked = [(set(entry.request.query), entry.request.query["delimiter"]) for entry in rig.origin.log]
        assert [("start-after" in names, "continuation-token" in names) for names, _ in asked] == [
            (True, False),
            (False, True),
            (False, True),
        ]

    run(test)


@pytest.mark.parametrize("flavor", ["minio", "ceph", "generic"])
@pytest.mark.parametrize("delimiter", [None, "/"])
def test_a_server_that_ignores_where_to_begin_gives_the_same(flavor, delimiter):
    """Encoded names and plain ones: Ceph is asked without `encoding-type`."""
    keys = ["a", "a/b", "a/c+d", "b é/x", "b é/y%20", "c/1", "d"]

    async def test(rig):
        store = rig.open(flavor=flavor)
        fill(rig, keys)
        honest = [
            await names(store._session.driver, delimiter=delimiter, start_after=after, limit=2)
            for after in ("a", "a/b", "a/", "b é/x", "c/", "zz")
        ]

        def ignoring(request):
            query = {name: value for name, value in request.query.items() if name != "start-after"}
            return rig.origin.store._apply(replace(request, query=query))

        rig.origin.plan("before-apply", Respond(ignoring), operation="ListObjectsV2", times=None)
        deceived = [
            await names(store._session.driver, delimiter=delimiter, start_after=after, limit=2)
            for after in ("a", "a/b", "a/", "b é/x", "c/", "zz")
        ]
        assert deceived == honest
        assert honest[1][0] == ("a/c+d" if delimiter is None else "b é/")

    run(test)


def test_a_prefix_that_the_beginning_leads_into_is_left_out_as_everywhere():
    """AWS shows it again where keys in it follow, Ceph and MinIO do not."""

    async def test(rig):
        lists(rig, page(keys=["b"], prefixes=["a/"]))
        found = await rig.store.list(delimiter="/", start_after="a/b")
        assert ([item.key for item in found], found.prefixes) == (["b"], ())

    run(test)


def test_several_prefixes_in_one_element_and_empty_pages_are_read():
    async def test(rig):
        both = "<CommonPrefixes><Prefix>a/</Prefix><Prefix>b/</Prefix></CommonPrefixes>"
        lists(rig, page(token="1"), page(more=both, token="2"), page(prefixes=["c/"]))
        assert (await rig.store.list(delimiter="/")).prefixes == ("a/", "b/", "c/")

    run(test)


@pytest.mark.parametrize(
    "answers",
    [
        [page(keys=["a/b", "c"])],
        [page(prefixes=["a/b/"])],
        [page(prefixes=["a"])],
        [page(prefixes=["a/", "a/"])],
        [page(prefixes=["b/", "a/"])],
        [page(prefixes=["a/"], token="1"), page(prefixes=["a/"])],
        [page(keys=["b"], token="1"), page(prefixes=["a/"])],
        [page(token="1"), page(token="1")],
    ],
    ids=["ignored", "too-deep", "no-delimiter", "twice", "order", "next-page", "keys-first", "circle"],
)
def test_a_listing_that_cannot_be_true_is_an_error(answers):
    async def test(rig):
        lists(rig, *answers)
        with pytest.raises(StorageIntegrityError) as caught:
            await rig.store.list(delimiter="/")
        assert caught.value.code == "LISTING"

    run(test)


@pytest.mark.parametrize("answer", [page(prefixes=["a/"]), page(prefixes=[""])], ids=["given", "empty"])
def test_prefixes_nobody_asked_for_are_an_error(answer):
    async def test(rig):
        lists(rig, answer)
        with pytest.raises(StorageIntegrityError) as caught:
            await rig.store.list()
        assert caught.value.code == "LISTING"

    run(test)


def test_the_origin_lists_as_s3_does_for_the_tests_above():
    """So that no test passes for want of a delimiter at the server."""
    stored = {key: Stored(b"x", "e" * 32, 0.0, {}) for key in ("a/1", "a/2", "b")}

    asked = Request(0, "GET", "/b", "b", "", {"delimiter": "/", "max-keys": "10"}, {})
    answer = listing.list_objects(stored, asked)
    assert b"<Prefix>a/</Prefix>" in answer.body
    assert answer.body.count(b"<Contents>") == 1
