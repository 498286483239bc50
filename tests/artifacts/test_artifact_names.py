"""Names from a store never lead out of a folder, and have one spelling."""

import os
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.artifacts.names import checked_name, file_name, is_file_name
from credstore.errors import StorageInvalidRequestError


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "..", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "a\\b", "..\\a", "C:a", "c:/a", "a\0b",
     "a\nb", "\udcff", "a" * 4097],
)  # fmt: skip
def test_paths_that_lead_elsewhere_are_refused(name):
    assert not is_file_name(name)
    with pytest.raises(StorageInvalidRequestError):
        file_name(name)


def test_a_name_has_one_spelling():
    decomposed = unicodedata.normalize("NFD", "Ärger/é.txt")
    assert file_name(decomposed) == "Ärger/é.txt"
    assert not is_file_name(decomposed)


@given(st.text(st.characters() | st.sampled_from("./\\:"), max_size=20))
def test_what_is_accepted_stays_inside_its_folder(text):
    if is_file_name(text):
        inside = os.path.normpath(Path("/base").joinpath(*text.split("/")))
        assert PurePosixPath(inside).is_relative_to("/base")
        assert inside != "/base"
        assert file_name(text) == text


@pytest.mark.parametrize("name", ["a", "train.v1", "A-b_c", "7"])
def test_names_of_artifacts(name):
    assert checked_name("dataset", name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", ".a", "é", "a b", "a" * 101, "a\n"])
def test_wrong_names_of_artifacts(name):
    with pytest.raises(StorageInvalidRequestError, match="dataset"):
        checked_name("dataset", name)
