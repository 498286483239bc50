"""`credstore demo`: the whole life of a few provenance records, each step checked."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from credstore.cli.demo.samples import Record, sample_records
from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, print_json, print_table, printable, say
from credstore.cli.runner import run_loop
from credstore.config.local import LocalConfig
from credstore.edge.server import listen, serve_links
from credstore.model import StorageResult

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider

LINK_LIFE = 900.0
"""Seconds that the link shown works for, as long as the demo runs."""


@command("demo")
@click.option(
    "--keep", metavar="DIR", type=click.Path(file_okay=False), help="Store there, and leave the files."
)
@click.option("--multi", is_flag=True, help="Three stores as one instead, of which one loses its disk.")
@click.pass_obj
def demo_command(invocation: Invocation, /, keep: str | None, *, multi: bool) -> None:
    """Store, list, read back, copy, encrypt, link, delete and prove a few things, and check each step.

    It works on a temporary local store, or on the new or empty directory DIR, needs no credentials and
    no network, and cleans up after itself. Exit code 1 means that a check failed.
    """
    if keep is not None and Path(keep).is_dir() and any(Path(keep).iterdir()):
        raise FileExistsError(errno.ENOTEMPTY, "is not empty; give a new or empty directory", keep)
    start = time.monotonic()
    if multi:
        from credstore.cli.demo.multi import MultiDemo

        several = MultiDemo(shown=not (invocation.json or invocation.quiet))
        run_loop(several.run())
        _conclude(invocation, several.checks, [], time.monotonic() - start)
        return
    with _place(keep) as root:
        demo = Demo(root, shown=not (invocation.json or invocation.quiet))
        run_loop(demo.run(keep=keep is not None))
    _conclude(invocation, demo.checks, demo.results, time.monotonic() - start)


def _conclude(
    invocation: Invocation, checks: list[tuple[str, bool]], records: list[StorageResult], seconds: float
) -> None:
    count, failed = len(checks), [what for what, passed in checks if not passed]
    if invocation.json:
        print_json({"checks": count, "failed": failed, "records": records, "seconds": seconds})
    elif failed:
        say(f"\n{len(failed)} of {count} checks FAILED: {'; '.join(failed)}")
    else:
        say(f"\nAll {count} checks passed, in {seconds:.2f} s.")
    if failed:
        raise click.exceptions.Exit(Exit.FAILURE)


@contextmanager
def _place(keep: str | None) -> Generator[Path, None, None]:
    if keep is not None:
        yield Path(keep).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="credstore-demo-") as directory:
        yield Path(directory, "store")


class Demo:
    """One run of the demo.

    Attributes:
        checks: What was compared, and whether it was as it should be.
        results: What `store` reported about each record.
    """

    def __init__(self, root: Path, *, shown: bool) -> None:
        """Prepare.

        Args:
            root: Of the local store; made if missing.
            shown: Show a person what happens.
        """
        self.checks: list[tuple[str, bool]] = []
        self.results: list[StorageResult] = []
        self._root = root
        self._shown = shown
        self._records = sample_records()

    async def run(self, *, keep: bool) -> None:
        """All steps.

        Args:
            keep: Leave the records in the store at the end.

        Raises:
            StorageError: A step failed altogether.
        """
        from credstore.factory import StorageFactory

        self._say(f"A local store in {self._root}; no network, no credentials.")
        # The links need the port before there is a store.
        with listen("127.0.0.1", 0) as listener:
            port: int = listener.getsockname()[1]
            config = LocalConfig(path=str(self._root), link_url=f"http://127.0.0.1:{port}")
            async with StorageFactory().create(config) as store:
                await self._store(store)
                await self._look(store)
                await self._read_back(store)
                await self._copy_and_move(store)
                await self._encrypt(store)
                async with serve_links(store, listener=listener):
                    await self._link(store)
                    await self._delete(store, keep=keep)
                    await self._prove(store)
                await self._log(store)
        if keep:
            self._say(f"\nThe files stay in {self._root}.")

    async def _store(self, store: StorageProvider) -> None:
        self._step("Store, compressed")
        for record in self._records:
            result = await store.store(
                record.key,
                record.content,
                compress=record.codec,
                content_type="application/json",
                metadata=record.metadata,
            )
            self.results.append(result)
        if self._shown:
            print_table(
                ["key", "codec", "plain", "stored", "ratio"],
                [
                    [
                        each.key,
                        each.compression or "none",
                        human_size(each.plain_size or 0),
                        human_size(each.size),
                        f"{(each.plain_size or 0) / each.size:.1f} : 1",
                    ]
                    for each in self.results
                ],
                elastic=(0,),
            )
        self._say("SHA-256 of the stored bytes:")
        for result in self.results:
            digest = result.digest.hex() if result.digest else "none"
            self._say(f"  {digest}  {result.key}")
        await asyncio.to_thread(self._look_at_files)

    def _look_at_files(self) -> None:
        """The store's promise of plain files, without the store."""
        self._say("The plain files, for any tool to read:")
        for record, result in zip(self._records, self.results, strict=True):
            path = self._root / record.key
            stored = path.read_bytes()
            self._say(f"  {printable(str(path))}")
            self._check("digests match the files", hashlib.sha256(stored).digest() == result.digest)
            if record.codec == "gzip":
                self._check("gunzip reads the files", gzip.decompress(stored) == record.content)

    async def _look(self, store: StorageProvider) -> None:
        self._step("List, count, and look at one")
        keys = [item.key for item in await store.list("proofs/")]
        self._check("the listing has each key once", keys == sorted(record.key for record in self._records))
        stats = await store.get_stats()
        total = sum(result.size for result in self.results)
        self._check("the totals are exact", (stats.total_objects, stats.total_size) == (len(keys), total))
        self._say(f"{stats.total_objects} objects, {human_size(stats.total_size)}")
        record = self._records[0]
        item = await store.get_metadata(record.key)
        self._check("the metadata is as given", item is not None and item.metadata == record.metadata)
        if item is not None:
            self._say(
                f"{item.key}: {item.content_type}, {item.compression}, {len(record.content)} bytes plain"
            )
            for name, value in sorted((item.metadata or {}).items()):
                self._say(f"  {name}: {printable(value)}")

    async def _read_back(self, store: StorageProvider) -> None:
        self._step("Read back, byte for byte")
        for record in self._records:
            same = await store.retrieve(record.key) == record.content
            self._check("records come back as they were", same)
            self._say(f"{'same' if same else 'DIFFERENT'}  {record.key}")

    async def _copy_and_move(self, store: StorageProvider) -> None:
        self._step("Copy and move")
        first, second = self._records[:2]
        for record, target in ((first, "archive/first.json"), (second, "drafts/second.json")):
            copied = await store.copy(record.key, target)
            self._check("a copy has the same bytes", await store.retrieve(copied.key) == record.content)
            self._say(f"copied {record.key} to {target}")
        await store.move("drafts/second.json", "archive/second.json")
        self._check(
            "a move ends at the new key", await store.retrieve("archive/second.json") == second.content
        )
        self._check("a move leaves nothing behind", not await store.exists("drafts/second.json"))
        self._say("moved drafts/second.json to archive/second.json")

    async def _link(self, store: StorageProvider) -> None:
        self._step("Temporary links, fetched without credentials")
        zipped = next(each for each in self._records if each.codec == "gzip")
        opaque = next(each for each in self._records if each.codec == "zstd")
        link = await store.get_signed_url(zipped.key, LINK_LIFE)
        self._say(str(link))
        self._say(f"works until {link.expires_at:%H:%M:%S} UTC, as long as something serves it")
        await self._fetched(link, zipped, "gzip")
        await self._fetched(link, zipped, "identity")
        await self._fetched(await store.get_signed_url(opaque.key, LINK_LIFE), opaque, "identity")
        status, _, _ = await asyncio.to_thread(fetch, str(link).replace(zipped.key, opaque.key), "identity")
        self._check("a changed link is refused", status == 403)  # noqa: PLR2004 - forbidden
        self._say(f"changed to lead to another record: {status}")

    async def _fetched(self, link: str, record: Record, accepted: str) -> None:
        status, encoding, body = await asyncio.to_thread(fetch, str(link), accepted)
        self._check("the reader gets an encoding it accepts", encoding == accepted)
        content = gzip.decompress(body) if encoding == "gzip" else body
        self._check("the link gives the record", (status, content) == (200, record.content))
        self._say(
            f"fetched: {status}, {human_size(len(body))}, stored as {record.codec}, "
            f"sent as {'it is' if encoding == record.codec else 'plain JSON'}"
        )

    async def _delete(self, store: StorageProvider, *, keep: bool) -> None:
        self._step("Delete")
        first = await store.delete("archive/first.json")
        self._check("a delete reports that there was something", first is True)
        rest = ["archive/second.json", *(() if keep else (record.key for record in self._records))]
        result = await store.batch_delete(rest)
        self._check(
            "a batch delete accounts for each key", result.deleted == tuple(rest) and not result.failed
        )
        left = (await store.get_stats()).total_objects
        self._check("nothing else is gone, nothing is left over", left == (len(self._records) if keep else 0))
        self._say(f"deleted {1 + len(result.deleted)} objects, {left} left")

    async def _encrypt(self, store: StorageProvider) -> None:
        self._step("Encrypt before it leaves")
        from credstore.cli.demo.proof import show_encryption

        await show_encryption(store, self._root, self._records[0].content, self._say, self._check)

    async def _prove(self, store: StorageProvider) -> None:
        self._step("Prove where a picture comes from")
        from credstore.cli.demo.proof import show_proof

        await show_proof(store, fetch, self._say, self._check)

    async def _log(self, store: StorageProvider) -> None:
        self._step("Log it, so that nothing can be unsaid")
        from credstore.cli.demo.log import show_log
        from credstore.cli.demo.samples import make_picture

        with tempfile.TemporaryDirectory(prefix="credstore-demo-") as folder:
            await show_log(store, Path(folder), make_picture("lighthouse", 48), self._say, self._check)

    def _step(self, title: str) -> None:
        self._say(f"\n{title}")
        self._say("-" * len(title))

    def _say(self, line: str) -> None:
        if self._shown:
            say(line)

    def _check(self, what: str, passed: bool) -> None:
        self.checks.append((what, passed))


def fetch(url: str, accepted: str) -> tuple[int, str, bytes]:
    """Status, encoding and body of a GET from the loopback edge, past any proxy of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, headers={"Accept-Encoding": accepted})  # noqa: S310 - ours
        with opener.open(request, timeout=10) as answer:  # loopback, our own from a moment ago
            return answer.status, answer.headers.get("Content-Encoding", "identity"), answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, "identity", b""
