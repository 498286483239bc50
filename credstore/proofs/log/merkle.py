"""Merkle tree hashes and their proofs: RFC 6962 section 2.1, RFC 9162 section 2.1. Pure.

Rules of this file: it imports nothing from credstore. What makes proofs works on ranges [start, end) of
leaves and says which subtrees a proof is made of; what verifies proofs works on indices bit by bit, as the
RFC writes it, and shares no code with the former. Hashes are 32 bytes of SHA-256; leaves and inner nodes are
hashed with different first bytes, so that neither can pass for the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from hmac import compare_digest

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()
LARGEST_SIZE = 2**63 - 1
"""Maximum number of leaves, so that sizes are also those of languages with signed integers."""
MOST_HASHES = 63
"""Maximum number of hashes in a proof: the height of the largest tree."""

Range = tuple[int, int]
"""First leaf, and one past the last."""


class MerkleError(ValueError):
    """A proof does not show what it should, or no such proof exists."""


def hash_leaf(entry: bytes) -> bytes:
    """The hash of an entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def hash_children(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, in about as many hashes as there are leaves."""
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        # An odd one at the end is not hashed with itself: it moves up as it is.
        pairs = [sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
        level = pairs if len(level) % 2 == 0 else [*pairs, level[-1]]
    return level[0]


def pyramid(leaves: Sequence[bytes]) -> list[list[bytes]]:
    """All hashes over leaf hashes, by height: the leaves first, then each perfect subtree of that height."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        level = levels[-1]
        levels.append(
            [sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
        )
    return levels


def split_point(count: int) -> int:
    """The largest power of two below `count`, which is 2 or more: the leaves of the left subtree."""
    return 1 << ((count - 1).bit_length() - 1)


def perfect_parts(start: int, end: int) -> list[tuple[int, int]]:
    """The perfect subtrees that make up a subtree, from left to right: (height, index at that height).

    Args:
        start: First leaf, a multiple of a power of two that is at least `end - start`.
        end: One past the last leaf.

    Raises:
        MerkleError: The range is empty, or is not a subtree.
    """
    _check_subtree(start, end)
    parts: list[tuple[int, int]] = []
    while start < end:
        height = (end - start).bit_length() - 1
        parts.append((height, start >> height))
        start += 1 << height
    return parts


def subtree_root(start: int, end: int, node: Callable[[int, int], bytes]) -> bytes:
    """The hash of a subtree from its perfect parts.

    Args:
        start: First leaf.
        end: One past the last leaf.
        node: Returns the hash of a perfect subtree, given its height and its index at that height.

    Raises:
        MerkleError: As `perfect_parts`.
    """
    parts = perfect_parts(start, end)
    found = node(*parts[-1])
    for part in reversed(parts[:-1]):
        found = hash_children(node(*part), found)
    return found


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove a leaf, from the leaf upwards; RFC 9162 section 2.1.3.1.

    Raises:
        MerkleError: There is no such leaf.
    """
    if not 0 <= index < size <= LARGEST_SIZE:
        raise MerkleError(f"a tree of size {size} has no leaf {index}")
    return range_ranges(index, index + 1, size)


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees whose hashes prove that one tree continues another; RFC 9162 section 2.1.4.1.

    Empty where nothing needs to be proved: from the empty tree, and between equal sizes.

    Raises:
        MerkleError: The trees are in the wrong order.
    """
    if not 0 <= old <= new <= LARGEST_SIZE:
        raise MerkleError(f"a tree of size {new} is not a later state of one of size {old}")
    return [] if old == 0 else range_ranges(0, old, new)


def range_ranges(start: int, end: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove that a subtree is part of a tree, from it upwards.

    Source: draft-ietf-plants-merkle-tree-certs, "Subtree Consistency Proofs".

    Raises:
        MerkleError: The range is not a subtree of this tree.
    """
    _check_subtree(start, end)
    if end > size or size > LARGEST_SIZE:
        raise MerkleError(f"a tree of size {size} has no leaves {start} to {end}")
    found: list[Range] = []
    low, high, known = 0, size, True
    while (low, high) != (start, end):
        middle = low + split_point(high - low)
        if end <= middle:
            found.append((middle, high))
            high = middle
        elif start >= middle:
            found.append((low, middle))
            low = middle
        else:
            # The subtree ends inside the right half, so it starts where this one does.
            found.append((low, middle))
            low = start = middle
            known = False
    if not known:
        found.append((low, high))
    return found[::-1]


def _check_subtree(start: int, end: int) -> None:
    if not 0 <= start < end <= LARGEST_SIZE or start % (1 << (end - start - 1).bit_length()):
        raise MerkleError(f"the leaves {start} to {end} are not a subtree")


def verify_inclusion(proof: Sequence[bytes], *, index: int, size: int, leaf: bytes, root_hash: bytes) -> None:
    """Check that a leaf is at an index of a tree; RFC 9162 section 2.1.3.2.

    Args:
        proof: Hashes from the leaf upwards.
        index: Of the leaf, 0-based.
        size: Of the tree.
        leaf: The hash of the leaf.
        root_hash: Of the tree.

    Raises:
        MerkleError: It is not, or the proof has a hash too few or too many.
    """
    _check_proof(proof, size)
    if not 0 <= index < size:
        raise MerkleError(f"a tree of size {size} has no leaf {index}")
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise MerkleError("the inclusion proof has more hashes than the tree has levels")
        if at & 1 or at == last:
            found = sha256(b"\x01" + sibling + found).digest()
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            found = sha256(b"\x01" + found + sibling).digest()
        at, last = at >> 1, last >> 1
    if last != 0:
        raise MerkleError("the inclusion proof has fewer hashes than the tree has levels")
    if not compare_digest(found, root_hash):
        raise MerkleError(f"the inclusion proof of leaf {index} leads to another root")


def verify_consistency(
    proof: Sequence[bytes], *, old_size: int, old_root: bytes, new_size: int, new_root: bytes
) -> None:
    """Check that the new tree has all leaves of the old one first, in their order; RFC 9162 section 2.1.4.2.

    Raises:
        MerkleError: It does not, or the proof has a hash too few or too many; also from an empty tree or
            between equal sizes, where there is nothing in a proof.
    """
    _check_proof(proof, new_size)
    if not 0 <= old_size <= new_size:
        raise MerkleError(f"a tree of size {new_size} is not a later state of one of size {old_size}")
    if old_size in {0, new_size}:
        if proof:
            raise MerkleError("nothing needs to be proved here, but the proof has hashes")
        if not compare_digest(old_root, new_root if old_size else EMPTY_ROOT):
            raise MerkleError(f"two roots for a tree of size {old_size}")
        if new_size == 0 and not compare_digest(new_root, EMPTY_ROOT):
            raise MerkleError("two roots for the empty tree")
        return
    if not proof:
        raise MerkleError("the consistency proof is empty")
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise MerkleError("the consistency proof has more hashes than the tree has levels")
        if at & 1 or at == last:
            before = sha256(b"\x01" + sibling + before).digest()
            after = sha256(b"\x01" + sibling + after).digest()
            while at & 1 == 0 and at:
                at, last = at >> 1, last >> 1
        else:
            after = sha256(b"\x01" + after + sibling).digest()
        at, last = at >> 1, last >> 1
    if last != 0:
        raise MerkleError("the consistency proof has fewer hashes than the tree has levels")
    if not compare_digest(before, old_root) or not compare_digest(after, new_root):
        raise MerkleError(f"the tree of size {new_size} does not continue the one of size {old_size}")


def verify_range(
    proof: Sequence[bytes], *, start: int, end: int, range_root: bytes, size: int, root_hash: bytes
) -> None:
    """Check that a subtree with this hash is the leaves [start, end) of a tree.

    Source: draft-ietf-plants-merkle-tree-certs, "Verifying a Subtree Consistency Proof".

    Raises:
        MerkleError: It is not, or the proof has a hash too few or too many.
    """
    _check_proof(proof, size)
    if not 0 <= start < end <= size or start & ((1 << (end - start - 1).bit_length()) - 1):
        raise MerkleError(f"the leaves {start} to {end} are not a subtree of a tree of size {size}")
    first, at, last = start, end - 1, size - 1
    if at == last:
        while first != at:
            first, at, last = first >> 1, at >> 1, last >> 1
    else:
        while first != at and at & 1:
            first, at, last = first >> 1, at >> 1, last >> 1
    path = [range_root, *proof] if first == at else list(proof)
    if not path:
        raise MerkleError("the proof is empty")
    part = whole = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise MerkleError("the proof has more hashes than the tree has levels")
        if at & 1 or at == last:
            if first < at:
                part = sha256(b"\x01" + sibling + part).digest()
            whole = sha256(b"\x01" + sibling + whole).digest()
            while at & 1 == 0 and at:
                first, at, last = first >> 1, at >> 1, last >> 1
        else:
            whole = sha256(b"\x01" + whole + sibling).digest()
        first, at, last = first >> 1, at >> 1, last >> 1
    if last != 0:
        raise MerkleError("the proof has fewer hashes than the tree has levels")
    if not compare_digest(part, range_root) or not compare_digest(whole, root_hash):
        raise MerkleError(f"the leaves {start} to {end} of the tree of size {size} are others")


def _check_proof(proof: Sequence[bytes], size: int) -> None:
    if size > LARGEST_SIZE:
        raise MerkleError(f"a tree has at most {LARGEST_SIZE} leaves")
    if len(proof) > MOST_HASHES + 1:
        raise MerkleError(f"a proof has at most {MOST_HASHES + 1} hashes")
    if any(len(each) != HASH_SIZE for each in proof):
        raise MerkleError("a hash in the proof is not of 32 bytes")
