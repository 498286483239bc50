"""What aics-tlog and aics-witness have said is what credstore says: recorded by `counterpart.py`."""

import asyncio
import base64
import json
from hashlib import sha256

import pytest

from credstore import MemoryConfig
from credstore.drivers.memory import MemoryDriver
from credstore.proofs.log.checkpoint import Checkpoint, open_checkpoint, read_key, sign_text
from credstore.proofs.log.merkle import hash_leaf
from credstore.proofs.log.note import (
    COSIGNATURE,
    LocalNoteSigner,
    Note,
    parse_note,
    parse_signatures,
    verify_note,
)
from credstore.proofs.log.reading import LogTiles
from credstore.proofs.log.tiles import Edge, grow
from credstore.proofs.log.witness import LogWitness
from credstore.provider.provider import StorageProvider
from tests.proofs.log.counterpart import NAME, ORIGIN, RECORDING, SIGNER, SIZES, TIME, requests
from tests.proofs.log.logs import NOW

RECORDED = json.loads(RECORDING.read_text())
TREES, WITNESS = RECORDED["trees"], RECORDED["witness"]
OURS = LocalNoteSigner(NAME, bytes(range(32, 64)), COSIGNATURE)


def grown():
    """Our tree at each size, with the tiles that are new there and all tiles so far."""
    edge, tiles = Edge(), {}
    for size in SIZES:
        made = grow(edge, [b"%d" % number for number in range(edge.size, size)])
        edge = made.edge
        tiles |= made.tiles
        yield size, edge, made.tiles, dict(tiles)


GROWN = {size: rest for size, *rest in grown()}


@pytest.mark.parametrize("size", SIZES)
def test_the_same_tree_in_the_same_tiles(size):
    edge, new, tiles = GROWN[size]
    theirs = TREES["sizes"][str(size)]
    assert edge.root.hex() == theirs["root"]
    # It writes some again that have not changed.
    assert {path: sha256(tiles[path]).hexdigest() for path in theirs["tiles"]} == theirs["tiles"]
    assert set(new) <= set(theirs["tiles"])

    async def main():
        async def fetch(path, most):
            return tiles.get(path)

        ours = LogTiles(fetch, size, edge.root)
        for index, proof in theirs["inclusion"].items():
            assert [each.hex() for each in await ours.inclusion(int(index))] == proof
            assert await ours.leaf(int(index)) == hash_leaf(index.encode())
        for old, proof in theirs["consistency"].items():
            assert [each.hex() for each in await ours.consistency(int(old))] == proof

    asyncio.run(main())


@pytest.mark.parametrize("size", SIZES)
def test_the_same_signatures(size):
    theirs = TREES["sizes"][str(size)]
    text = Checkpoint(ORIGIN, size, bytes.fromhex(theirs["root"])).text
    assert asyncio.run(sign_text(text, [SIGNER], 0)).encode() == theirs["checkpoint"].encode()
    (line,) = asyncio.run(sign_text(text, [OURS], TIME)).signatures
    assert line.raw.hex() == theirs["cosignature"]


def test_the_same_keys():
    assert [SIGNER.key.encode(), OURS.key.encode()] == TREES["vkeys"]


def test_both_witnesses_respond_alike():
    async def main():
        provider = StorageProvider(MemoryDriver(MemoryConfig()), MemoryConfig())
        ours = LogWitness(provider, signer=OURS, logs=[SIGNER.key], clock=lambda: NOW)
        their_key = read_key(WITNESS["vkey"])
        for (name, method, path, body), theirs in zip(await requests(), WITNESS["answers"], strict=True):
            assert (name, base64.b64decode(theirs["request"])) == (theirs["name"], body)
            if method == "GET":
                shown = await ours.checkpoint(path)
                assert (shown is None) == (theirs["status"] == 404), name
                if shown is not None:
                    assert parse_note(shown).text == parse_note(theirs["body"].encode()).text
                    both = open_checkpoint(theirs["body"].encode(), [SIGNER.key])
                    assert verify_note(both.note, [their_key])
                continue
            answer = await ours.add_checkpoint(body)
            assert answer.status == theirs["status"], name
            if answer.status == 409:
                assert (answer.body.decode(), answer.content_type) == (theirs["body"], theirs["type"])
            if answer.status == 200:
                text = parse_note(body.partition(b"\n\n")[2]).text
                for key, lines in ((OURS.key, answer.body.decode()), (their_key, theirs["body"])):
                    assert verify_note(Note(text, parse_signatures(lines)), [key])

    asyncio.run(main())


def test_each_status_was_recorded():
    assert {each["status"] for each in WITNESS["answers"]} == {200, 400, 403, 404, 409, 422}
