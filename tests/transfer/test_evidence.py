"""Evidence of a migration: signed, checked offline and at both ends."""

import asyncio
import errno
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from credstore import ClientSide, KeyRing, LocalKey, MemoryStorageProvider, StorageInvalidRequestError
from credstore.errors import StorageError
from credstore.files import PendingFile
from credstore.proofs import (
    LocalSigner,
    ProofAssetMismatchError,
    ProofFormatError,
    ProofKeyExpiredError,
    ProofKeyRevokedError,
    ProofSignatureError,
    ProofUntrustedKeyError,
    TrustStore,
    trust_key,
)
from credstore.transfer import Under, copy_tree, migrate, verify_transfer
from credstore.transfer.folder import Folder
from credstore.transfer.journal import Journal
from tests.transfer.ends import TREE, content, make_tree

ISSUER = "https://news.example"
SIGNER = LocalSigner.generate()
NOW = datetime.now(UTC)


def trust(issuer=ISSUER, signer=SIGNER, **window) -> TrustStore:
    window.setdefault("valid_from", NOW - timedelta(days=1))
    return TrustStore(1, (trust_key(signer.public_key, issuers=[issuer], **window),))


def proved(path, **more):
    return {"evidence": path, "signer": SIGNER, "issuer": ISSUER, **more}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_is_at_both_ends_is_signed(tmp_path):
    async def run():
        make_tree(tmp_path / "a")
        async with MemoryStorageProvider() as one, MemoryStorageProvider() as two:
            await copy_tree(tmp_path / "a", one)
            listed = tmp_path / "list.jsonl"
            report = await migrate(one, Under(two, "new/"), **proved(listed))
            assert report.complete
            found = lines(listed)
            assert [line["name"] for line in found] == sorted(TREE)
            for line in found:
                assert line["sha256"] == hashlib.sha256(TREE[line["name"]]).hexdigest()
                assert line["destination"]["key"] == "new/" + line["name"]
                assert line["destination"]["version"] == (await two.get_metadata("new/" + line["name"])).etag
            verified = await verify_transfer(listed, trust(), source=one, destination=Under(two, "new/"))
            assert (verified.objects, verified.bytes) == (len(TREE), sum(map(len, TREE.values())))
            assert verified.complete
            assert verified.problems == ()
            await two.store("new/a", b"other")
            await one.delete("z")
            verified = await verify_transfer(listed, trust(), source=one, destination=Under(two, "new/"))
            assert {name for name, _ in verified.problems} == {"a", "z"}
            assert (await verify_transfer(listed, trust())).problems == ()

    asyncio.run(run())


@pytest.mark.parametrize("how", ["plain", "gzip", "sealed", "folder", "inside"])
def test_objects_of_every_form_are_found_again(how, tmp_path):
    policy = {"encryption": ClientSide(KeyRing(LocalKey(bytes(32))), store_id="s")} if how == "sealed" else {}

    async def run():
        async with MemoryStorageProvider() as one, MemoryStorageProvider(**policy) as two:
            await one.store("from/k", b"text" * 1000, compress="gzip" if how == "gzip" else False)
            target = {"folder": tmp_path / "out", "inside": Under(one, "to/")}.get(how, two)
            await migrate(Under(one, "from/"), target, **proved(tmp_path / "l"))
            verified = await verify_transfer(
                tmp_path / "l", trust(), source=Under(one, "from/"), destination=target
            )
            assert verified.problems == ()

    asyncio.run(run())


def test_a_move_that_was_cut_off_is_in_the_list_from_its_beginning(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {f"f{n}": b"%d" % n for n in range(30)})
        async with MemoryStorageProvider() as two:
            options = {"delete_source": True, "journal": tmp_path / "j"}
            await migrate(tmp_path / "a", two, max_transfer=10, **options)
            assert 0 < len(await content(two)) < 30
            report = await migrate(tmp_path / "a", two, **proved(tmp_path / "l", **options))
            assert report.complete
            assert len(lines(tmp_path / "l")) == 30
            assert (await verify_transfer(tmp_path / "l", trust(), destination=two)).problems == ()

    asyncio.run(run())


def test_what_was_found_equal_by_time_is_compared_by_content_before_it_is_signed(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"k": b"one"})
        async with MemoryStorageProvider() as two:
            await two.store("k", b"two")
            report = await migrate(tmp_path / "a", two, **proved(tmp_path / "l"))
            assert report.counts["copied"] == 1
            assert await two.retrieve("k") == b"one"

    asyncio.run(run())


def test_changed_lists_statements_and_keys_without_trust_are_refused(tmp_path):
    async def run():
        make_tree(tmp_path / "a", {"k": b"one", "l": b"two"})
        listed, statement = tmp_path / "l", tmp_path / "l.dsse.json"
        async with MemoryStorageProvider() as two:
            await migrate(tmp_path / "a", two, **proved(listed))
        good = listed.read_bytes(), statement.read_bytes()

        async def refused(error, store=None, data=None, signed=None):
            listed.write_bytes(good[0] if data is None else data)
            statement.write_bytes(good[1] if signed is None else signed)
            with pytest.raises(error):
                await verify_transfer(listed, store or trust())

        await refused(ProofAssetMismatchError, data=good[0].replace(b'"size":3', b'"size":4', 1))
        await refused(ProofAssetMismatchError, data=good[0].splitlines(keepends=True)[0])
        await refused(ProofFormatError, data=good[0] * 2)
        await refused(ProofFormatError, data=b"{}\n")
        envelope = json.loads(good[1])
        envelope["payload"] = envelope["payload"].replace("A", "B", 1)
        await refused(ProofSignatureError, signed=json.dumps(envelope).encode())
        await refused(ProofFormatError, signed=b"{}")
        await refused(ProofUntrustedKeyError, trust("https://other.example"))
        await refused(ProofUntrustedKeyError, trust(signer=LocalSigner.generate()))
        await refused(ProofKeyExpiredError, trust(valid_from=NOW + timedelta(days=1)))
        await refused(
            ProofKeyRevokedError, trust().revoke(SIGNER.public_key.keyid, at=NOW, invalid_since=NOW)
        )
        statement.unlink()
        with pytest.raises(StorageInvalidRequestError, match="cannot read"):
            await verify_transfer(listed, trust())
        with pytest.raises(StorageInvalidRequestError, match="issuer"):
            await migrate(tmp_path / "a", tmp_path / "b", evidence=listed)

    asyncio.run(run())


def test_a_move_that_ended_right_after_a_deletion_is_in_the_list(tmp_path, monkeypatch):
    """The process ends between the deletion at the source and the journal's note of it."""

    class EndError(BaseException):
        pass

    async def run():
        make_tree(tmp_path / "a", {f"f{n}": b"%d" % n for n in range(5)})
        async with MemoryStorageProvider() as two:
            real = Folder.delete

            async def delete(self, entry):
                await real(self, entry)
                if entry.name == "f2":
                    raise EndError

            monkeypatch.setattr(Folder, "delete", delete)

            async def leave(journal, *_):
                await journal._close()  # What was not flushed is lost.

            monkeypatch.setattr(Journal, "__aexit__", leave)
            options = {"delete_source": True, "journal": tmp_path / "j", "concurrency": 1}
            with pytest.raises(EndError):
                await migrate(tmp_path / "a", two, **options)
            monkeypatch.undo()
            assert not (tmp_path / "a/f2").exists()
            report = await migrate(tmp_path / "a", two, **proved(tmp_path / "l", **options))
            assert report.resumed
            assert [line["name"] for line in lines(tmp_path / "l")] == [f"f{n}" for n in range(5)]
            assert (await verify_transfer(tmp_path / "l", trust(), destination=two)).problems == ()

    asyncio.run(run())


def test_names_that_only_files_can_have_are_verified(tmp_path):
    name = "\n" * 120 + "/" + "\x01" * 250
    make_tree(tmp_path / "a", {"line\nbreak": b"1", name: b"2"})
    listed = tmp_path / "l"
    asyncio.run(migrate(tmp_path / "a", tmp_path / "b", **proved(listed)))
    found = asyncio.run(verify_transfer(listed, trust(), source=tmp_path / "a", destination=tmp_path / "b"))
    assert (found.objects, found.problems) == (2, ())
    (tmp_path / "b" / name).write_bytes(b"3")
    found = asyncio.run(verify_transfer(listed, trust(), destination=tmp_path / "b"))
    assert [each for each, _ in found.problems] == [name]


def test_evidence_that_would_be_worthless_is_refused_before_anything_moves(tmp_path, monkeypatch):
    make_tree(tmp_path / "a")
    for more in (
        {"path": tmp_path / "no/l"},
        {"path": tmp_path / "a"},
        {"path": tmp_path / "l", "issuer": "x"},
    ):
        with pytest.raises(StorageInvalidRequestError):
            asyncio.run(migrate(tmp_path / "a", tmp_path / "b", **proved(**more)))
    assert {each.name for each in tmp_path.iterdir()} == {"a"}

    class Full(PendingFile):
        def publish(self, *, durable=True):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("credstore.transfer.evidence.PendingFile", Full)
    with pytest.raises(StorageError, match="cannot be written: No space left") as caught:
        asyncio.run(migrate(tmp_path / "a", tmp_path / "b", **proved(tmp_path / "l")))
    assert caught.value.applied == "yes"
    assert len(list((tmp_path / "b").iterdir())) == len(list((tmp_path / "a").iterdir()))
    assert not (tmp_path / "l").exists()
