"""Merkle trees against the published vectors, a literal reading of RFC 9162, and proofs that are not right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.proofs.log.merkle import (
    EMPTY_ROOT,
    LARGEST_SIZE,
    MerkleError,
    consistency_ranges,
    hash_children,
    hash_leaf,
    inclusion_ranges,
    range_ranges,
    root,
    split_point,
    subtree_root,
    verify_consistency,
    verify_inclusion,
    verify_range,
)

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [hash_leaf(bytes.fromhex(each)) for each in LEAVES]
MANY = [hash_leaf(b"%d" % number) for number in range(300)]


def mth(leaves):
    """RFC 9162 section 2.1.1, read literally."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    middle = split_point(len(leaves))
    return hash_children(mth(leaves[:middle]), mth(leaves[middle:]))


def path(leaves, ranges):
    return [mth(leaves[start:end]) for start, end in ranges]


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_rfc_6962(size):
    assert root(HASHES[:size]).hex() == ROOTS[size]


def test_the_inclusion_of_leaf_5_in_7():
    expected = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        ROOTS[4],
    ]
    assert [each.hex() for each in path(HASHES, inclusion_ranges(5, 7))] == expected


def test_the_consistency_of_6_and_8():
    expected = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        ROOTS[4],
    ]
    assert [each.hex() for each in path(HASHES, consistency_ranges(6, 8))] == expected


def test_leaves_and_nodes_are_different_hashes():
    assert hash_leaf(HASHES[0] + HASHES[1]) != hash_children(HASHES[0], HASHES[1])


sizes = st.integers(1, len(MANY))


@given(sizes)
def test_the_root_is_that_of_the_rfc(size):
    assert root(MANY[:size]) == mth(MANY[:size])


@given(st.data())
def test_an_inclusion_proof_verifies_and_no_other_does(data):
    size = data.draw(sizes)
    index = data.draw(st.integers(0, size - 1))
    proof = path(MANY, inclusion_ranges(index, size))
    right = {"index": index, "size": size, "leaf": MANY[index], "root_hash": mth(MANY[:size])}
    verify_inclusion(proof, **right)
    wrong = [
        (proof, right | {"index": data.draw(st.integers(0, size + 3).filter(lambda at: at != index))}),
        (proof, right | {"leaf": hash_leaf(b"another")}),
        (proof, right | {"root_hash": bytes(32)}),
        ([*proof, bytes(32)], right),
        ([bytes(32), *proof], right),
        (proof[:-1] if proof else [bytes(32)], right),
        ([each[:31] for each in proof] or [b""], right),
        (proof, right | {"index": -1}),
        (proof, right | {"index": size}),
        (proof, right | {"size": 2**64}),
    ]
    for broken, arguments in wrong:
        with pytest.raises(MerkleError):
            verify_inclusion(broken, **arguments)


@given(st.data())
def test_a_consistency_proof_verifies_and_no_other_does(data):
    new = data.draw(sizes)
    old = data.draw(st.integers(0, new))
    proof = path(MANY, consistency_ranges(old, new))
    right = {
        "old_size": old,
        "old_root": mth(MANY[:old]),
        "new_size": new,
        "new_root": mth(MANY[:new]),
    }
    verify_consistency(proof, **right)
    wrong = [
        (proof, right | {"old_root": bytes(32)}),
        ([*proof, bytes(32)], right),
        (proof, right | {"old_size": new + 1}),
        (proof, right | {"old_size": -1}),
        (proof, right | {"new_size": 2**64}),
    ]
    if 0 < old < new:
        wrong += [(proof, right | {"new_root": bytes(32)}), (proof[:-1], right), ([], right)]
    for broken, arguments in wrong:
        with pytest.raises(MerkleError):
            verify_consistency(broken, **arguments)


def test_nothing_is_proved_by_hashes_where_nothing_needs_to_be():
    for old in (0, 3):
        with pytest.raises(MerkleError, match="nothing needs"):
            verify_consistency(
                [bytes(32)], old_size=old, old_root=mth(MANY[:old]), new_size=3, new_root=mth(MANY[:3])
            )


def test_the_empty_tree_has_one_root():
    verify_consistency([], old_size=0, old_root=EMPTY_ROOT, new_size=0, new_root=EMPTY_ROOT)
    for one, other in ((EMPTY_ROOT, bytes(32)), (bytes(32), EMPTY_ROOT)):
        with pytest.raises(MerkleError, match="two roots"):
            verify_consistency([], old_size=0, old_root=one, new_size=0, new_root=other)


@given(st.data())
def test_a_range_is_proved_as_its_hash(data):
    size = data.draw(sizes)
    height = data.draw(st.integers(0, 8))
    start = data.draw(st.integers(0, (size - 1) >> height)) << height
    end = data.draw(st.integers(start + 1, min(size, start + (1 << height))))
    proof = path(MANY, range_ranges(start, end, size))
    right = {
        "start": start,
        "end": end,
        "range_root": mth(MANY[start:end]),
        "size": size,
        "root_hash": mth(MANY[:size]),
    }
    verify_range(proof, **right)
    assert subtree_root(start, end, lambda at, index: mth(MANY[index << at : (index + 1) << at])) == mth(
        MANY[start:end]
    )
    for broken, arguments in [
        (proof, right | {"range_root": bytes(32)}),
        (proof, right | {"root_hash": bytes(32)}),
        ([*proof, bytes(32)], right),
        (proof[:-1] if proof else [bytes(32)], right),
        (proof, right | {"start": end}),
        (proof, right | {"end": size + 1}),
    ]:
        with pytest.raises(MerkleError):
            verify_range(broken, **arguments)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: inclusion_ranges(3, 3),
        lambda: inclusion_ranges(-1, 3),
        lambda: inclusion_ranges(0, LARGEST_SIZE + 1),
        lambda: consistency_ranges(4, 3),
        lambda: consistency_ranges(-1, 3),
        lambda: range_ranges(1, 3, 8),  # Not a subtree.
        lambda: range_ranges(0, 9, 8),
        lambda: range_ranges(0, 0, 8),
    ],
)
def test_no_proof_is_made_of_what_is_not_there(ask):
    with pytest.raises(MerkleError):
        ask()


def test_the_largest_tree_has_proofs_of_bounded_length():
    assert len(inclusion_ranges(0, LARGEST_SIZE)) == 63
    assert len(inclusion_ranges(LARGEST_SIZE - 1, LARGEST_SIZE)) == 62
    assert len(consistency_ranges(1, LARGEST_SIZE)) == 63
