"""A listing by several ranges at once is the same listing: each key once, in order, whatever keys there are."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credstore.driver import ObjectInfo, Page
from credstore.errors import StorageError, StorageIntegrityError, StorageInvalidRequestError
from credstore.provider.ranges import common, middle
from credstore.testing.harness import put
from tests.provider.support import Spy, over, run

PAGE = 4


class Clocked(Spy):
    """A memory of objects that answers all requests which wait at a tick of its clock, in pages of four."""

    def __init__(self, keys=(), sizes=1, page=PAGE):
        super().__init__()
        self.page = page
        self.keys = sorted(set(keys))
        self.sizes = sizes
        self.waiting: list[asyncio.Future[None]] = []
        self.ticks = self.requests_sent = self.most = self.sent = 0
        self.clock: asyncio.Task[None] | None = None
        self.asked: list[tuple[str | None, str | None]] = []

    async def list(self, prefix="", cursor=None, *, delimiter=None, start_after=None, limit=1000, **_):
        self.requests_sent += 1
        self.asked.append((cursor, start_after))
        if self.clock is None or self.clock.done():
            self.clock = asyncio.ensure_future(self.tick())
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn
        after = start_after if cursor is None else cursor
        names = [key for key in self.keys if key.startswith(prefix) and (after is None or key > after)]
        page = names[: min(limit, self.page)]
        self.sent += len(page)
        return Page(
            entries=[self.info(key) for key in page], cursor=page[-1] if len(names) > len(page) else None
        )

    def info(self, key):
        return ObjectInfo(key=key, size=self.sizes)

    async def tick(self):
        while True:
            for _ in range(20):
                await asyncio.sleep(0)
            if not self.waiting:
                return
            self.ticks += 1
            self.most = max(self.most, len(self.waiting))
            for turn in self.waiting:
                if not turn.done():
                    turn.set_result(None)
            self.waiting.clear()


def below(family):
    """The prefix that a family is listed with."""
    return "records/" if family == "below-a-prefix" else ""


def listed(driver, prefix="", **options):
    async def main(provider):
        found = await provider.list(prefix, **options)
        assert len([task for task in asyncio.all_tasks() if task is not driver.clock]) == 1
        return [item.key for item in found]

    return run(main, driver)


ALPHABETS = ["ab", "0123456789", "a/b-", "aé\ud7ff\ue000\uffff🦀\U0010ffff"]
KEYS = st.sampled_from(ALPHABETS).flatmap(
    lambda alphabet: st.sets(st.text(alphabet, min_size=1, max_size=6), max_size=60)
) | st.sets(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=4), max_size=40)


@settings(max_examples=150, deadline=None)
@given(KEYS, st.integers(2, 9), st.sampled_from(["", "a", "0"]), st.none() | st.sampled_from(["a", "5", "é"]))
@example({f"k{number:03d}" for number in range(100)}, 8, "", None)
@example({"a" * length for length in range(1, 60)}, 4, "", None)
def test_all_keys_once_and_in_order(keys, parallel, prefix, start_after):
    driver = Clocked(keys)
    wanted = sorted(key for key in keys if key.startswith(prefix) and key > (start_after or ""))
    assert listed(driver, prefix, start_after=start_after, parallel=parallel) == wanted
    alone = Clocked(keys)
    assert listed(alone, prefix, start_after=start_after) == wanted
    # The bound of requests in vain, and a page for each border.
    assert driver.requests_sent <= 3 * alone.requests_sent + 4 * parallel


@settings(max_examples=50, deadline=None)
@given(KEYS, st.integers(2, 9))
def test_totals_are_the_same(keys, parallel):
    async def main(provider):
        stats = await provider.get_stats(parallel=parallel)
        return stats.total_objects, stats.total_size

    assert run(main, Clocked(keys, sizes=3)) == (len(keys), 3 * len(keys))


FAMILIES = {
    "numbers": [f"k{number:06d}" for number in range(4000)],
    "long-prefix": [f"tenants/0001/uploads/2026/{number:05d}.json" for number in range(4000)],
    "below-a-prefix": [f"records/{number:07d}" for number in range(4000)],
    "hex": [f"{number * 2654435761 % 2**32:08x}" for number in range(4000)],
    "folders": [f"{folder:02d}/{'x' * 20}/{number:03d}" for folder in range(20) for number in range(200)],
    "letters": [f"{chr(97 + number % 26)}{number}" for number in range(4000)],
    "one-large-folder": [*(f"a{number}" for number in range(20)), *(f"b/{n:05d}" for n in range(3980))],
}


@pytest.mark.parametrize("family", FAMILIES)
def test_eight_at_once_take_less_than_a_third_of_the_rounds(family):
    """Rounds of a clock that answers whatever waits, so a slow machine changes nothing."""
    keys = sorted(FAMILIES[family])
    driver = Clocked(keys)
    assert listed(driver, below(family), parallel=8) == keys
    pages = len(keys) // PAGE
    assert driver.ticks < pages / 3
    assert driver.most == 8
    assert driver.requests_sent < 1.6 * pages + 16


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_with_pages_that_hold_all_last_characters(family):
    keys = sorted(FAMILIES[family])
    driver = Clocked(keys, page=20)
    assert listed(driver, below(family), parallel=8) == keys
    assert driver.ticks < (200 / 2 if family == "long-prefix" else 200 / 4)
    assert driver.sent < 1.4 * len(keys)


@pytest.mark.parametrize("family", FAMILIES)
def test_little_is_listed_twice(family):
    """Also of a listing with few pages, where ranges soon are shorter than a page."""
    keys = sorted(FAMILIES[family])
    for some in (keys, keys[:80]):
        driver = Clocked(some)
        assert listed(driver, below(family), parallel=8) == some
        assert driver.sent < 1.3 * len(some) + 8 * PAGE


def test_a_key_at_a_border_belongs_to_the_range_before():
    keys = ["a", "a5", "a50", "a5\U0010ffff", "b", "c", *(f"a{number:02d}" for number in range(90))]
    driver = Clocked(keys)
    assert listed(driver, parallel=6) == sorted(set(keys))
    borders = {start for _, start in driver.asked if start is not None}
    assert borders & set(keys)  # Else this tests nothing.


@pytest.mark.parametrize(
    ("last", "end", "characters", "found"),
    [
        ("k0009", None, "0123456789k", "l"),
        ("k0009", "l", "0123456789k", "k5"),
        ("k0009", "k5", "0123456789k", "k2"),
        ("k0009", "k1", "0123456789k", "k05"),
        ("k9", "ka", "9", "k:"),
        ("a", "b", "", None),
        ("a\U0010ffff", None, "", "b"),
        ("\U0010ffff", None, "", None),
        ("\ud7ff", None, "", "\ue000"),
        ("a", "a\0", "", None),
        ("p/a", None, "", "p/b"),
    ],
)
def test_where_a_range_is_split(last, end, characters, found):
    assert middle(last, end, 2 if last.startswith("p/") else 0, list(characters)) == found


@settings(max_examples=200)
@given(
    st.text("ab\ud7ff\U0010ffff", max_size=4),
    st.none() | st.text("abc", max_size=4),
    st.sets(st.sampled_from("abc")),
)
def test_a_border_is_strictly_between(last, end, characters):
    if end is not None and end <= last:
        last, end = end, last
    border = middle(last, end, 0, sorted(characters))
    if border is not None:
        assert last < border
        assert end is None or border < end
        border.encode()


def test_what_texts_have_in_common():
    assert [common("", "a"), common("ab", "ac"), common("a", "ab"), common("ab", "ab")] == [0, 1, 1, 2]


def test_an_error_of_one_range_is_the_listings_and_ends_the_others():
    class Failing(Clocked):
        async def list(self, prefix="", cursor=None, **options):
            page = await super().list(prefix, cursor, **options)
            if options.get("start_after") is not None:
                raise StorageError("broken", code="UNAVAILABLE")
            return page

    driver = Failing(FAMILIES["numbers"])

    async def main(provider):
        with pytest.raises(StorageError, match="broken"):
            await provider.list(parallel=8)
        assert [task for task in asyncio.all_tasks() if task is not driver.clock] == [asyncio.current_task()]

    run(main, driver)


def test_a_cancel_ends_all_ranges():
    driver = Clocked(FAMILIES["numbers"])

    async def main(provider):
        task = asyncio.ensure_future(provider.list(parallel=8))
        while driver.ticks < 5:
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert [each for each in asyncio.all_tasks() if each is not driver.clock] == [asyncio.current_task()]

    run(main, driver)


def test_what_a_range_gives_is_not_trusted_more_than_a_whole_listing():
    class Lying(Clocked):
        async def list(self, prefix="", cursor=None, **options):
            page = await super().list(prefix, cursor, **options)
            if options.get("start_after") is None or not page.entries:
                return page
            return Page(entries=[self.info("k000000"), *page.entries], cursor=page.cursor)

    async def main(provider):
        with pytest.raises(StorageIntegrityError) as caught:
            await provider.list(parallel=4)
        assert caught.value.code == "LISTING"

    run(main, Lying(FAMILIES["numbers"]))


def test_what_is_credstores_own_is_left_out_of_every_range():
    keys = [f"{number:03d}/{name}" for number in range(60) for name in ("a", ".credstore/keys/x", "z")]
    found = listed(Clocked(keys), parallel=5)
    assert found == sorted(key for key in keys if ".credstore" not in key)


def test_a_store_without_an_order_is_listed_in_its_own_way():
    class Unordered(Spy):
        capabilities = replace(Spy().capabilities, ordered=False)

    async def main():
        driver = Unordered()
        provider = over(driver)
        for key in ("b", "a", "c"):
            await put(driver, key)
        assert [item.key for item in await provider.list(parallel=8)] == ["a", "b", "c"]
        assert (await provider.get_stats(parallel=8)).total_objects == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    "options",
    [
        {"parallel": 0}, {"parallel": 65}, {"parallel": -1}, {"parallel": "8"}, {"parallel": True},
        {"parallel": 2, "max_keys": 5}, {"parallel": 2, "delimiter": "/"},
    ],
)  # fmt: skip
def test_a_wrong_number_is_refused_before_anything_is_asked(options):
    driver = Clocked(["a"])

    async def main(provider):
        with pytest.raises(StorageInvalidRequestError):
            await provider.list(**options)
        if set(options) == {"parallel"}:
            with pytest.raises(StorageInvalidRequestError):
                await provider.get_stats(**options)

    run(main, driver)
    assert driver.requests_sent == 0
