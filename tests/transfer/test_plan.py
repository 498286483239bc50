"""The pure half: merging, judging, globs, names a file system cannot hold, the pace."""

import asyncio
import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.errors import StorageIntegrityError, StorageInvalidRequestError
from credstore.transfer.filters import Filter
from credstore.transfer.pace import Pace, Rate
from credstore.transfer.plan import (
    Branches,
    Entry,
    Facts,
    Known,
    Pair,
    Rules,
    State,
    Verdict,
    judge,
    judge_looked,
    merged,
)
from credstore.transfer.sides import mtime_of, mtime_text

names = st.text(st.sampled_from("ab-./é€𝄞"), min_size=1, max_size=5)


def entry(name="n", size=1, modified=5.0, tag="t", version="v"):
    return Entry(name, size, modified, tag, version)


async def stream(items):
    for item in items:
        yield item


def merge(source, destination, known=()):
    async def all_pairs():
        return [pair async for pair in merged(stream(source), stream(destination), stream(known))]

    return asyncio.run(all_pairs())


@given(st.sets(names), st.sets(names), st.sets(names))
def test_every_name_is_paired_once_in_the_order_of_its_bytes(source, destination, known):
    pairs = merge(
        [entry(name) for name in sorted(source, key=str.encode)],
        [entry(name) for name in sorted(destination, key=str.encode)],
        [Known(name, 1, "t", "v") for name in sorted(known, key=str.encode)],
    )
    assert [pair.name for pair in pairs] == sorted(source | destination | known, key=str.encode)
    for pair in pairs:
        assert (pair.source is not None) == (pair.name in source)
        assert (pair.destination is not None) == (pair.name in destination)
        assert (pair.known is not None) == (pair.name in known)


@pytest.mark.parametrize("listing", [["b", "a"], ["a", "a"]])
def test_a_listing_that_does_not_ascend_is_refused(listing):
    for place in range(2):
        sides = [[], []]
        sides[place] = [entry(name) for name in listing]
        with pytest.raises(StorageIntegrityError) as caught:
            merge(*sides)
        assert caught.value.code == "LISTING"


entries = st.builds(
    Entry,
    st.just("n"),
    st.integers(0, 1),
    st.none() | st.floats(0, 3),
    st.sampled_from("st"),
    st.sampled_from("vw"),
)
knowns = st.builds(
    Known,
    st.just("n"),
    st.integers(0, 1),
    st.sampled_from("st"),
    st.sampled_from(["", "v", "w"]),
    st.none() | st.just(b"d"),
    st.sampled_from(State),
)
rules = st.builds(
    Rules, st.sampled_from(["never", "newer", "different", "always"]), st.booleans(), st.booleans()
)


@given(st.none() | entries, st.none() | entries, st.none() | knowns, rules)
def test_what_is_called_the_same_has_a_reason(source, destination, known, rule):
    if source is None and destination is None:
        return
    verdict, basis = judge(Pair("n", source, destination, known), rule)
    if source is None:
        assert verdict is Verdict.EXTRA
    elif destination is None:
        assert verdict is Verdict.MISSING
    elif verdict is Verdict.SAME and basis == "journal":
        assert known is not None
        assert known.state is State.EQUAL
        assert (known.size, known.tag, known.version) == (source.size, source.tag, destination.version)
    elif verdict is Verdict.SAME:
        assert source.size == destination.size
        assert destination.modified >= source.modified
        assert not rule.checksum
    if known is not None and known.state is State.UNSURE and source and destination:
        # What a killed run may have left is believed by its content alone.
        assert verdict not in {Verdict.SAME, Verdict.LOOK}
    if source and destination and rule.overwrite == "never":
        assert verdict is Verdict.KEPT


facts = st.builds(
    Facts, st.none() | st.integers(0, 1), st.none() | st.floats(0, 2), st.none() | st.sampled_from([b"1", b"2"]),
    st.none() | st.sampled_from([b"3", b"4"]),
)  # fmt: skip


@given(facts, facts)
def test_content_outweighs_size_and_time(one, other):
    verdict, basis = judge_looked(one, other)
    if one.digest and other.digest and (one.stored, other.stored) == (None, None):
        assert (verdict is Verdict.SAME) == (one.digest == other.digest)
        assert basis == "digest"
    if verdict is Verdict.SAME and basis != "digest":
        assert one.size == other.size is not None
        assert other.modified >= one.modified


def test_an_etag_is_never_taken_for_content():
    """Equal etags without a journal prove nothing: content, or size and time, decide."""
    old = entry(modified=1.0, version="same")
    new = entry(modified=2.0, version="same")
    assert judge(Pair("n", new, old, None), Rules(plain=True))[0] is Verdict.DIFFERING
    assert judge(Pair("n", new, old, None), Rules(checksum=True))[0] is Verdict.READ


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.jpg", ["a.jpg", "b/c.jpg", ".jpg"], ["a.jpgx", "ajpg", "b.jpg/c"]),
        ("/*.jpg", ["a.jpg"], ["b/c.jpg"]),
        ("/b/**", ["b/c", "b/c/d"], ["a/b/c", "b"]),
        ("b/", ["b/c", "a/b/c/d"], ["b", "ab/c"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["az", "a/bz"]),
        ("a?c", ["abc", "x/a-c"], ["a/c", "ac"]),
        ("[a-c]x", ["bx"], ["dx", "/x"]),
        ("[!a-c]x", ["dx"], ["bx", "/x"]),
        ("[]]", ["]"], ["["]),
        ("a\\*", ["a*"], ["ab"]),
        ("a.b+c", ["a.b+c"], ["aXbbc"]),
        ("**", ["", "a", "a/b"], []),
    ],
)
def test_globs(glob, yes, no):
    wanted = Filter(include=[glob])
    assert [wanted(name) for name in yes] == [True] * len(yes)
    assert [wanted(name) for name in no] == [False] * len(no)
    left_out = Filter(exclude=[glob])
    assert not any(left_out(name) for name in yes)


@given(st.text(st.sampled_from("ab*?"), min_size=1, max_size=6), st.text(st.sampled_from("ab"), max_size=6))
def test_simple_globs_match_as_the_standard_librarys(glob, name):
    if "**" not in glob:
        assert Filter(include=[glob])(name) == bool(re.fullmatch(fnmatch.translate(glob), name))


def test_exclude_has_the_last_word_and_a_list_is_exact():
    wanted = Filter(include=["*.jpg"], exclude=["tmp/"])
    assert [wanted(name) for name in ("a.jpg", "tmp/a.jpg", "a.png")] == [True, False, False]
    listed = Filter(names=["b", "c"])
    assert [listed(name) for name in ("a", "b")] == [False, True]
    assert listed.unseen == {"b", "c"}
    within = Filter(include=["*.jpg"], within=["/a*"])
    assert [within(name) for name in ("a.jpg", "b.jpg", "a.png", "x/a.jpg")] == [True, False, False, False]


def test_a_folder_is_entered_unless_all_of_it_is_left_out():
    wanted = Filter(exclude=["node_modules/", "/x/**", "/y/*"])
    assert [wanted.enters(each) for each in ("node_modules/", "a/node_modules/", "x/", "x/z/", "y/", "a/x/")] == [
        False, False, False, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize("glob", ["[a", "[z-a]", "/", ""])
def test_what_is_no_glob_is_refused(glob):
    with pytest.raises(StorageInvalidRequestError):
        Filter(include=[glob])


@given(st.sets(names))
def test_a_name_below_another_is_found(found):
    branches = Branches()
    for name in sorted(found):
        above = {other for other in found if name.startswith(other + "/")}
        got = branches.above(name)
        assert got in above if above else got is None


@given(st.integers(-(10**18), 4 * 10**18))
def test_times_survive_as_text(nanoseconds):
    assert mtime_of(mtime_text(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("text", [None, "", "x", "1e5", "1.x", "١", "--1", "9" * 40])
def test_what_is_no_time_is_none(text):
    assert mtime_of(text) is None


def test_the_pace_rises_by_one_a_round_and_halves():
    pace = Pace(start=4, most=6)
    for _ in range(4):
        pace.succeeded(1.0, 0)
    assert pace.width == 5
    for _ in range(100):
        pace.succeeded(1.0, 0)
    assert pace.width == 6
    pace.overloaded()
    assert pace.width == 3
    for _ in range(5):
        pace.overloaded()
    assert pace.width == 1


def test_the_pace_steps_back_where_more_at_once_only_wait_for_each_other():
    """Each object takes as long as there are objects at once, and 100 times that beyond four."""
    pace = Pace(start=4, most=64)
    pace.succeeded(0.01, 0)
    for _ in range(2_000):
        pace.succeeded(0.01 * pace.width * (1 if pace.width <= 4 else 100), 0)
    assert pace.width <= 8


def test_rate_and_time_left():
    rate = Rate(10.0)
    assert rate.speed(10.0, 0) == 0
    assert rate.left(10.0, 0, 100) is None
    assert rate.speed(12.0, 50) == 25
    assert rate.left(12.0, 50, 100) == 2


def test_sizes_of_encrypted_bytes_decide_nothing():
    old, new = entry(modified=1.0), entry(modified=2.0)
    for source, destination in ((new, new), (old, new), (new, old), (entry(size=3), new)):
        for plain in (True, False):
            judged = judge(Pair("n", source, destination, None), Rules(sealed=True, plain=plain))
            assert judged == (Verdict.LOOK, "size")
    known = Known("n", 1, "t", "v")
    assert judge(Pair("n", new, new, known), Rules(sealed=True)) == (Verdict.SAME, "journal")
