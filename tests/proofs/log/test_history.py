"""The history of an asset from a verified copy: complete, or says why not; and copies that fetch only what is new."""

import asyncio
import json

import pytest

from credstore.errors import StorageInvalidRequestError
from credstore.proofs import CheckpointError, LogForkError, LogTileError
from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import encode_envelope, seal_payload
from credstore.proofs.format.trust_publication import encode_trust_statement
from credstore.proofs.log import LogClient, export_log, parse_log_policy, read_copy, read_history, sole_policy
from credstore.proofs.log.checkpoint import Checkpoint, sign_text
from credstore.proofs.log.entry import LogEntry
from credstore.proofs.log.note import LocalNoteSigner
from credstore.proofs.log.objects import LogObjects
from tests.proofs import material
from tests.proofs.log.logs import PREFIX, SIGNER, Shop, made
from tests.proofs.log.test_sequencer import restored

POLICY = sole_policy(SIGNER.key.encode())
ASSET = material.RECORD.asset.sha256
OTHER = LocalNoteSigner("other.example", bytes(32))


def logged(kind, number, subject=ASSET, proof_id=material.ID):
    return LogEntry(kind, number.to_bytes(32, "big"), "key", b"sig", proof_id, subject).data


def reader(shop, reads=None):
    fetch = LogObjects(shop.provider(), PREFIX).fetch

    async def counting(path, most):
        if reads is not None:
            reads.append(path)
        return await fetch(path, most)

    return LogClient(counting, policy=POLICY)


def history(shop, entries, sha256=ASSET):
    async def main():
        async with await made(shop) as log:
            await log.append(entries)
        return await read_history(reader(shop), sha256)

    return asyncio.run(main())


def test_every_statement_about_an_asset_in_the_logs_order():
    other = material.OTHER_ID
    found = history(
        Shop(),
        [logged("erase", 1, None), logged("issue", 2, bytes(32), other), logged("revoke", 3, None, other)]
        + [logged("issue", 4), logged("keyring", 5, None, None), logged("revoke", 6, None)]
        + [logged("issue", 7 + number, bytes(31) + b"\x01", other) for number in range(300)],
    )
    assert [(each.index, each.entry.kind) for each in found.statements] == [
        (0, "erase"), (3, "issue"), (5, "revoke"),
    ]  # fmt: skip
    assert (found.size, found.complete, found.time) == (306, True, None)


def test_whole_statements_are_read_too():
    found = history(Shop(), [encode_envelope(material.issue())])
    assert [each.entry.proof_id for each in found.statements] == [material.ID]
    assert found.complete


@pytest.mark.parametrize(
    ("entry", "unnamed", "unread"),
    [
        (logged("issue", 9, None), 1, 0),
        (b"of another kind", 0, 1),
        (b'{"keyid":"broken","kind":"issue"}', 0, 1),
        (b'{"payload":"eA=="}', 0, 1),
    ],
)
def test_what_may_be_about_the_asset_makes_it_incomplete(entry, unnamed, unread):
    found = history(Shop(), [logged("issue", 1), entry])
    assert (found.complete, found.unnamed, found.unread) == (False, unnamed, unread)
    assert len(found.statements) == 1


def test_of_nothing_there_is_no_history():
    found = history(Shop(), [])
    assert (found.statements, found.size, found.complete) == ((), 0, True)
    with pytest.raises(StorageInvalidRequestError):
        history(Shop(), [], b"short")


def test_a_copy_fetches_what_is_new(tmp_path):
    async def main():
        shop = Shop()
        async with await made(shop) as log:
            await log.append([logged("issue", number) for number in range(600)])
            assert await export_log(reader(shop), tmp_path, only_new=True) == 600
            await log.append([logged("issue", number) for number in range(600, 1100)])
        reads = []
        assert await export_log(reader(shop, reads), tmp_path, only_new=True) == 1100
        bundles = [path for path in reads if path.startswith("tile/entries")]
        assert bundles == ["tile/entries/002", "tile/entries/003", "tile/entries/004.p/76"]
        found = await read_history(LogClient(read_copy(tmp_path), policy=POLICY), ASSET)
        assert len(found.statements) == 1100
        tile = tmp_path / "tile/0/001"
        tile.write_bytes(tile.read_bytes()[:-1] + b"x")
        with pytest.raises(LogTileError, match="tile/0/001"):
            await read_history(LogClient(read_copy(tmp_path), policy=POLICY), ASSET)
        await export_log(reader(shop), tmp_path)
        await read_history(LogClient(read_copy(tmp_path), policy=POLICY), ASSET)

    asyncio.run(main())


@pytest.mark.parametrize("only_new", [True, False])
def test_a_log_that_does_not_continue_its_copy_is_a_fork(tmp_path, only_new):
    async def main():
        shop = Shop()
        async with await made(shop) as log:
            await log.append([b"%d" % number for number in range(10)])
            await restored(shop, log)
            await export_log(reader(shop), tmp_path, only_new=True)
        other = Shop()
        async with await made(other) as log:
            await log.append([b"other %d" % number for number in range(20)])
        with pytest.raises(LogForkError) as caught:
            await export_log(reader(other), tmp_path, only_new=only_new)
        assert caught.value.note_a == (tmp_path / "checkpoint").read_bytes()

    asyncio.run(main())


@pytest.mark.parametrize("only_new", [True, False])
def test_an_older_state_of_a_log_never_replaces_its_copy(tmp_path, only_new):
    async def main():
        shop = Shop()
        async with await made(shop) as log:
            await log.append([b"%d" % number for number in range(10)])
            older = dict(shop.objects.by_key)
            await log.append([b"%d" % number for number in range(10, 20)])
            await export_log(reader(shop), tmp_path)
            copied = (tmp_path / "checkpoint").read_bytes()
            shop.objects.by_key.clear()
            shop.objects.by_key.update(older)
            with pytest.raises(LogForkError):
                await export_log(reader(shop), tmp_path, only_new=only_new)
        assert (tmp_path / "checkpoint").read_bytes() == copied

    asyncio.run(main())


def changed(entry, **members):
    """An entry of ours with other members, in their canonical order."""
    found = {**json.loads(entry), **members}
    return encode_json({name: value for name, value in found.items() if value is not None})


SUBJECT = [f"sha256:{ASSET.hex()}"]


@pytest.mark.parametrize(
    ("entry", "statements", "complete"),
    [
        (changed(logged("issue", 9), proofId=None), 2, False),
        (changed(logged("issue", 9, None), x={"subject": SUBJECT}), 1, False),
        (changed(logged("issue", 9), x=1), 2, True),
        (changed(logged("revoke", 9, None), x={"kind": "issue"}), 2, True),
        (changed(logged("revoke", 9, None), proofId=None), 1, False),
        (changed(logged("revoke", 9, None), v=True), 1, False),
    ],
)
def test_no_member_more_or_less_hides_a_statement(entry, statements, complete):
    found = history(Shop(), [logged("issue", 1), entry])
    assert (len(found.statements), found.complete) == (statements, complete)


def test_a_published_trust_store_is_no_entry_of_another_kind():
    envelope = asyncio.run(seal_payload(encode_trust_statement(material.TRUST), [material.ROOT]))
    found = history(Shop(), [encode_envelope(material.issue()), encode_envelope(envelope)])
    assert (len(found.statements), found.complete) == (1, True)


def test_a_copy_of_another_log_is_refused_and_is_no_fork(tmp_path):
    async def main():
        shop = Shop()
        async with await made(shop) as log:
            await log.append([b"one"])
        await export_log(reader(shop), tmp_path)
        data = (tmp_path / "checkpoint").read_bytes()
        signed = (await sign_text(Checkpoint("other.example", 1, bytes(32)).text, [OTHER], 0)).encode()
        (tmp_path / "checkpoint").write_bytes(signed)
        both = parse_log_policy(
            f"log {SIGNER.key.encode()}\nlog {OTHER.key.encode()}\nquorum none\n".encode()
        )
        fetch = LogObjects(shop.provider(), PREFIX).fetch
        with pytest.raises(CheckpointError, match=r"a copy of the log 'other.example'"):
            await export_log(LogClient(fetch, policy=both), tmp_path, only_new=True)
        assert (tmp_path / "checkpoint").read_bytes() == signed != data

    asyncio.run(main())
