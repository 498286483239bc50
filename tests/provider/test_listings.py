"""`list` and `scan` with a delimiter and from a name on."""

import asyncio
import copy
import pickle

import pytest

from credstore import (
    CommonPrefix,
    Listing,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StorageInvalidRequestError,
    StorageItem,
)
from credstore.driver import Page
from credstore.strategies.fallback.driver import FallbackDriver
from credstore.strategies.prefixed import prefixed
from credstore.testing.harness import put
from tests.provider.support import Spy, over, run
from tests.strategies.faulty import Faulty

KEYS = ("a", "a/1", "a/2/x", "b-1", "b/1", "c")


async def filled(provider, keys=KEYS):
    for key in keys:
        await provider.store(key, b"1")
    return provider


def test_objects_and_prefixes_of_one_level():
    async def main(provider):
        await filled(provider)
        found = await provider.list(delimiter="/")
        assert [item.key for item in found] == ["a", "b-1", "c"]
        assert found.prefixes == ("a/", "b/")
        below = await provider.list("a/", delimiter="/")
        assert ([item.key for item in below], below.prefixes) == (["a/1"], ("a/2/",))

    run(main)


def test_a_scan_gives_both_in_the_order_of_their_names():
    async def main(provider):
        await filled(provider)
        found = [each async for each in provider.scan(delimiter="/")]
        assert [each.prefix if isinstance(each, CommonPrefix) else each.key for each in found] == [
            "a",
            "a/",
            "b-1",
            "b/",
            "c",
        ]
        assert found[1] == CommonPrefix("a/")
        assert isinstance(found[0], StorageItem)

    run(main)


def test_without_a_delimiter_the_result_is_the_list_it_was():
    async def main(provider):
        await filled(provider)
        found = await provider.list()
        assert found == [item async for item in provider.scan()]
        assert isinstance(found, list)
        assert (found.prefixes, found.degraded) == ((), False)
        assert [item.key for item in sorted(found, key=lambda item: item.key)] == list(KEYS)

    run(main)


def test_a_listing_can_be_copied_and_pickled_and_shows_itself():
    listing = Listing([], prefixes=["a/"], degraded=True)
    for again in (pickle.loads(pickle.dumps(listing)), copy.copy(listing), copy.deepcopy(listing)):
        assert (list(again), again.prefixes, again.degraded) == ([], ("a/",), True)
        assert isinstance(again, Listing)
    assert repr(listing) == "Listing([], prefixes=('a/',), degraded=True)"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 9])
def test_max_keys_counts_objects_and_prefixes_together(size):
    async def main(provider):
        await filled(provider)
        found = await provider.list(max_keys=size, delimiter="/")
        assert len(found) + len(found.prefixes) == min(size, 5)
        everything = ["a", "a/", "b-1", "b/", "c"]
        assert sorted([*(item.key for item in found), *found.prefixes]) == everything[:size]

    run(main)


def test_it_goes_on_from_the_last_name_seen():
    async def main(provider):
        await filled(provider)
        seen = []
        while True:
            page = [
                each async for each in provider.scan("", 2, delimiter="/", start_after=(seen or [""])[-1])
            ]
            if not page:
                break
            seen += [each.prefix if isinstance(each, CommonPrefix) else each.key for each in page]
        assert seen == ["a", "a/", "b-1", "b/", "c"]
        assert [item.key for item in await provider.list(start_after="a/1")] == ["a/2/x", "b-1", "b/1", "c"]
        assert [item.key for item in await provider.list("a/", start_after="0")] == ["a/1", "a/2/x"]
        assert await provider.list(start_after="zz") == []

    run(main)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"delimiter": ""}, "leave it out"),
        ({"delimiter": 5}, "delimiter is text"),
        ({"delimiter": b"/"}, "delimiter is text"),
        ({"delimiter": "\n"}, "control"),
        ({"start_after": 5}, "start_after is text"),
        ({"start_after": "a\ud800"}, "surrogates"),
        ({"start_after": "k" * 2000}, "at most 1024 bytes"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_asked(options, words):
    class Unasked(Spy):
        async def list(self, prefix="", cursor=None, **given):
            raise AssertionError

    async def main(provider):
        for call in (provider.list(**options), anext(provider.scan(**options))):
            with pytest.raises((StorageInvalidRequestError, StorageInvalidKeyError), match=words):
                await call

    run(main, Unasked())


def test_what_is_credstores_own_is_no_prefix_either():
    async def main():
        driver = Spy()
        whole, part = over(driver), over(prefixed(driver, "team/"))
        for key in (".credstore/keys/x", "team/.credstore/keys/y"):
            await put(driver, key)
        await filled(whole, ("team/a", "team/b/c", "z"))
        assert (await whole.list(delimiter="/")).prefixes == ("team/",)
        assert (await whole.list("team/", delimiter="/")).prefixes == ("team/b/",)
        assert (await part.list(delimiter="/")).prefixes == ("b/",)
        assert (await part.list(delimiter="/", start_after="b/")).prefixes == ()
        assert [item.key for item in await part.list(start_after="a")] == ["b/c"]
        assert len(await whole.list(max_keys=2, delimiter="/")) == 1
        await whole.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    "page",
    [
        Page(entries=[], cursor=None, prefixes=["other/"]),
        Page(entries=[], cursor=None, prefixes=["p/"]),
        Page(entries=[], cursor=None, prefixes=["p/a"]),
        Page(entries=[], cursor=None, prefixes=["p/a/b/"]),
        Page(entries=[], cursor=None, prefixes=["p/b/", "p/a/"]),
        Page(entries=[], cursor=None, prefixes=["p/0/"]),
    ],
    ids=["outside", "itself", "no-delimiter", "too-deep", "order", "before-the-beginning"],
)
def test_a_driver_that_lies_about_prefixes_is_found_out(page):
    class Lying(Spy):
        async def list(self, prefix="", cursor=None, **options):
            return page

    async def main(provider):
        with pytest.raises(StorageIntegrityError) as caught:
            await provider.list("p/", delimiter="/", start_after="p/1")
        assert caught.value.code == "LISTING"

    run(main, Lying())


def test_prefixes_that_one_member_could_not_tell_of_are_marked():
    async def main():
        first, second = Faulty("first"), Faulty("second")
        provider = over(FallbackDriver(first, second))
        await filled(provider, ("a/1", "b"))
        second.mode = "down"
        found = await provider.list(delimiter="/")
        assert (found.prefixes, found.degraded) == (("a/",), True)
        assert [each.degraded async for each in provider.scan(delimiter="/")] == [True, True]
        await provider.aclose()

    asyncio.run(main())
