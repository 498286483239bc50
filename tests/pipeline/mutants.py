"""Stored bytes as damage, or whoever may write to the store, can change them."""

import random
from collections.abc import Sequence

PIECES = (1, 16, 4112)
"""Lengths that matter: a byte, a tag, a whole chunk of the least size."""


def changed(data: bytes, chance: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Other bytes than `data`: flipped, cut, repeated, overwritten, spliced, moved, swapped or exchanged.

    Args:
        data: Stored bytes.
        chance: Decides.
        others: Stored bytes of other objects, to splice in or to put in their place.
    """
    if not data:
        return chance.randbytes(chance.choice(PIECES))
    while True:
        found = _once(data, chance, others)
        if found != data:
            return found


def _once(data: bytes, chance: random.Random, others: Sequence[bytes]) -> bytes:
    out = bytearray(data)
    at, until = sorted(chance.choices(range(len(data) + 1), k=2))
    match chance.randrange(11):
        case 0:
            for _ in range(chance.randint(1, 3)):
                out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
        case 1:
            del out[at:until]
        case 2:
            out[at:at] = data[at:until]
        case 3:
            out[at:until] = chance.randbytes(until - at)
        case 4 if others:
            out[at:until] = chance.choice(others)[at:until]
        case 5:
            del out[at:until]
            place = chance.randint(0, len(out))
            out[place:place] = data[at:until]
        case 6:
            size, other = chance.choice(PIECES), chance.randrange(len(data))
            out[at : at + size], out[other : other + size] = data[other : other + size], data[at : at + size]
        case 7:
            del out[at:]
        case 8:
            out += bytes(chance.choice(PIECES))
        case 9 if others:
            out[:] = chance.choice(others)
        case _:
            out[min(at, len(out) - 1)] = chance.randrange(256)
    return bytes(out)
