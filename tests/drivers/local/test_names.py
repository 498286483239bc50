import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credstore.drivers.local import names
from credstore.drivers.local.names import CONTROL, MAX_NAME, RESERVED, aside, parse, primary, reserved

from .support import spelled

segments = st.one_of(
    st.sampled_from(
        [
            "",
            ".",
            "..",
            ".credstore",
            ".credstore-",
            ".credstore+a",
            ".CREDSTORE",
            "a",
            "A",
            "é",
            "e\u0301",
            "%41",
            "credst~1",
            "a.",
            "a..",
            "a ",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\x7f"), max_size=12),
    st.integers(200, 500).map(lambda n: "x" * n),
    st.integers(60, 130).map(lambda n: "é" * n),
)
keys = st.lists(segments, min_size=1, max_size=4).map("/".join).filter(bool)


@settings(max_examples=150, deadline=None)
@given(keys, st.booleans())
def test_every_key_comes_back_from_its_names(key, fold):
    for place in (primary(key, fold=fold), aside(key, fold=fold)):
        assert spelled(place, fold=fold) == key


@settings(max_examples=150, deadline=None)
@given(keys, st.booleans())
def test_names_are_safe_file_names(key, fold):
    for place in (primary(key, fold=fold), aside(key, fold=fold)):
        for name in (*place.directories, place.name):
            assert name not in {"", ".", "..", CONTROL}
            assert "/" not in name
            assert len(name.encode()) <= 255


def seen(place):
    """What file systems that ignore case and form, and dots or blanks at the end, make of it."""
    names = (*place.directories, place.name)
    return tuple(unicodedata.normalize("NFD", name).casefold().rstrip(". ") for name in names)


@settings(max_examples=150, deadline=None)
@given(keys, keys)
def test_different_keys_have_different_names_even_where_case_and_form_are_ignored(one, other):
    if one != other:
        places = {seen(find(key, fold=True)) for key in (one, other) for find in (primary, aside)}
        assert len(places) == 4


def test_ordinary_keys_are_their_own_path():
    place = primary("proofs/2026/Ünï code.json")
    assert (place.directories, place.name) == (("proofs", "2026"), "Ünï code.json")
    place = primary("proofs/2026/a-b c.json", fold=True)
    assert (place.directories, place.name) == (("proofs", "2026"), "a-b c.json")


@pytest.mark.parametrize(
    "name",
    [
        ".credstore-a",
        ".credstore-%41",
        ".credstore-%zz",
        ".credstore-%2E",
        ".credstorex",
        "a\nb",
        "\udcff",
        ".credstore=%2f",
        ".credstore-%ff",
    ],
)
def test_names_that_no_key_has_are_not_objects(name):
    assert parse(name) is None


SHORT = ["credst~1", "CREDST~1", "cre0f5~2", "credst~1.x"]
"""Second names that FAT and NTFS may give `.credstore`, the control directory."""


@pytest.mark.parametrize("segment", SHORT)
def test_a_short_name_of_the_control_directory_leads_elsewhere(segment):
    for key in (segment, f"{segment}/format", f"a/{segment}/link-secret"):
        for place in (primary(key, fold=True), aside(key, fold=True)):
            assert segment not in (*place.directories, place.name)
            assert spelled(place, fold=True) == key


folded = st.sampled_from(["s", "S", "\u017f"])
spellings = st.tuples(
    *(st.sampled_from([c, c.upper()]) for c in ".cred"),
    folded,
    *(st.sampled_from([c, c.upper()]) for c in "tore"),
).map("".join)


@settings(max_examples=150, deadline=None)
@given(spellings, st.sampled_from(["", " ", ".", "\u200b"]), st.booleans())
@example(".credstore", ".", False)
def test_no_spelling_of_the_reserved_word_is_the_reserved_word_where_case_is_ignored(word, more, fold):
    """An ASCII one also where nothing is known of the file system."""
    segment = word + more
    if segment == ".credstore" or (not fold and not segment.isascii()):
        return
    ours = {seen(find(".credstore/keys/x", fold=fold)) for find in (primary, aside)}
    theirs = {seen(find(f"{segment}/keys/x", fold=fold)) for find in (primary, aside)}
    assert not ours & theirs
    assert all(CONTROL not in place for place in ours | theirs)


@pytest.mark.parametrize(("segment", "plain"), [("x" * MAX_NAME, True), ("x" * (MAX_NAME + 1), False)])
def test_a_name_of_the_longest_kind_is_kept_as_it_is_and_one_byte_more_is_divided(segment, plain):
    """Names that are on disks: another division would not find them."""
    place = primary(segment)
    assert ((place.directories, place.name) == ((), segment)) is plain
    assert (parse(segment) is not None) is plain
    if not plain:
        (begun,) = place.directories
        assert begun == ".credstore+" + "x" * (len(begun) - len(".credstore+"))
        assert place.name == ".credstore-" + "x" * (len(segment) - len(begun) + len(".credstore+"))
        assert len(begun) == len(".credstore+") + 240
        whole = primary("x" * (len(begun) - len(".credstore+")) * 2 + "y")
        assert whole.directories == (begun, begun)


def test_a_dot_at_the_end_of_each_piece_comes_back():
    (begun,) = primary("x" * (MAX_NAME + 1)).directories
    size = len(begun) - len(".credstore+")
    key = ("x" * (size - 1) + ".") * 2 + "y."
    place = primary(key, fold=True)
    assert all(name.endswith("%2e") and len(name) <= MAX_NAME for name in (*place.directories, place.name))
    assert spelled(place, fold=True) == key
    assert primary(key, fold=False).directories[0].endswith("x.")


@pytest.mark.parametrize(
    ("segment", "escaped"),
    [("a.", "a%2e"), ("a ", "a%20"), ("a..", "a.%2e"), ("a. ", "a.%20"), ("x.y.", "x.y%2e")],
)
def test_an_end_that_some_disks_drop_is_escaped_there(segment, escaped):
    assert primary(segment, fold=True).name == f".credstore-{escaped}"
    assert aside(segment, fold=True).name == f".credstore={escaped}"
    assert aside(segment, fold=False).name == f".credstore={segment.replace(' ', '%20')}"
    assert primary(segment, fold=False).name == segment
    assert parse(segment, fold=True) is None
    assert parse(segment, fold=False).text == segment


def test_a_plain_name_below_a_name_that_goes_on_is_of_no_key():
    (begun,) = primary("x" * (MAX_NAME + 1)).directories
    assert parse(begun).continued
    assert parse("plain") is not None
    assert parse("plain", parse(begun).text) is None


entries = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=4)


@given(
    st.lists(
        st.one_of(
            entries,
            st.tuples(entries, st.just(RESERVED), entries).map("".join),
            entries.map(RESERVED.__add__),
        )
    )
)
def test_reserved_names_are_found_wherever_they_are_among_others(found):
    """Names that only contain the word are none; those of a disk may not be UTF-8."""
    with pytest.MonkeyPatch.context() as patch:
        for size in (names._RUN, 1, 2):
            patch.setattr(names, "_RUN", size)
            assert reserved(found) == [name for name in found if name.startswith(RESERVED)]
