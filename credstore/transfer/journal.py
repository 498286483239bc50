"""`Journal`: what one pair of places knows of its transfers, in a SQLite file that survives a kill.

Rules of this file: one thread owns the connection, and the event loop never waits for the disk but in a
thread of its own. A row says that something is so only after it is so: a process that is killed leaves a
journal that knows too little, never too much. Every change is one transaction; in WAL mode with
`synchronous=NORMAL` a committed one survives the process, and a power cut may take the last ones.

Tables: `known` (per name what both ends were when they were equal), `actions` (what the run is to do, and
has not done yet), `spool` (a listing that does not come in order), `about` (which pair it is).
Source: sqlite.org/wal.html.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, ParamSpec, Self, TypeVar
from unicodedata import normalize

from credstore.concurrency import until_done
from credstore.errors import ErrorCode, StorageConfigurationError, StorageConflictError, StorageError
from credstore.transfer.plan import Entry, Known, State

P = ParamSpec("P")
T = TypeVar("T")
Kind = Literal["copy", "delete", "drop", "late", "way"]
PAGE = 1000
"""Rows at a time."""
FORMAT = 1
_OURS = frozenset({"about", "known", "actions"})
_STATES = {each.value: each for each in State}
_TABLES = """
create table if not exists about (pair text not null, format integer not null);
create table if not exists known (
    name text primary key, size integer, tag text, version text, digest blob, state integer
) without rowid;
create table if not exists actions (
    number integer primary key, kind text, name text, size integer, tag text, version text, modified real,
    there text, done integer not null default 0
);
create index if not exists waiting on actions (name) where done = 0;
"""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        number: In the order of the plan, from 1.
        kind: "copy" to the destination, "delete" there, or "drop" at the source what is at both ends;
            "late" is a copy that was postponed, and "way" a deletion that comes before it.
        entry: Of the source; of the destination for "delete".
        there: Version at the destination that is replaced or kept; None where nothing is there.
    """

    number: int
    kind: Kind
    entry: Entry
    there: str | None = None


class Journal:
    """What is known of one pair of places; opened by `async with`.

    Attributes:
        resumed: Whether an earlier run on this journal did not come to its end.
    """

    def __init__(self, path: Path | None, pair: str) -> None:
        """Name it; nothing is touched.

        Args:
            path: The file; None keeps it in a temporary one that ends with the run.
            pair: Names both places; a journal of another pair is refused.
        """
        self._path = path
        self._pair = pair
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="credstore-journal")
        self._opened: sqlite3.Connection | None = None
        self._noted: dict[str, tuple[object, ...] | None] = {}
        self._finished: list[int] = []
        self._postponed: list[Action] = []
        self._number = self._spools = 0
        self.resumed = False

    async def __aenter__(self) -> Self:
        """Open or make the file.

        Raises:
            StorageConfigurationError: It cannot be opened, is not a journal, or is that of another pair.
            StorageConflictError: Another run uses it.
        """
        try:
            await self._run(self._open)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self.flush()
        finally:
            await self._close()

    def _open(self) -> None:
        path = self._path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        opened = self._opened = sqlite3.connect(
            "" if path is None else path, isolation_level=None, check_same_thread=False, timeout=0
        )
        # Held by this run until it ends, however it ends: two runs of one pair would undo each other's work.
        opened.execute("pragma locking_mode = exclusive")
        there = {row[0] for row in opened.execute("select name from sqlite_master where type = 'table'")}
        if there and not there >= _OURS:
            raise StorageConfigurationError(f"{path} is a database of another program; name another file")
        opened.execute(f"pragma journal_mode = {'off' if path is None else 'wal'}")
        opened.execute("pragma synchronous = normal")
        opened.execute("begin immediate")
        for statement in _TABLES.split(";"):
            opened.execute(statement)
        row = opened.execute("select pair, format from about").fetchone()
        if row is None:
            opened.execute("insert into about values (?, ?)", (self._pair, FORMAT))
        elif row != (self._pair, FORMAT):
            opened.execute("rollback")
            raise StorageConfigurationError(
                f"{path} is the journal of another pair of places, or of another version of credstore; "
                "name another file"
            )
        # What a run was about to do when it ended, it may have done: only its content can tell.
        waiting = opened.execute(
            "select count(*) from actions where done = 0 and kind not in ('delete', 'way')"
        ).fetchone()
        self.resumed = bool(waiting[0])
        opened.execute(_DOUBT, (State.UNSURE.value,))
        opened.execute("delete from actions")
        opened.execute("drop table if exists spool")
        opened.execute("commit")

    async def _close(self) -> None:
        def close() -> None:
            if self._opened is not None:
                self._opened.close()

        done = asyncio.get_running_loop().run_in_executor(self._thread, close)
        cancelled = await until_done([done])
        self._thread.shutdown(wait=False)
        if cancelled is not None:
            raise cancelled

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `work` in the journal's thread; a cancellation surfaces when it is done."""

        def call() -> T:
            try:
                return work(*args, **kwargs)
            except sqlite3.Error as error:
                raise self._translated(error) from None
            except OSError as error:
                raise StorageConfigurationError(
                    f"the journal {error.filename} cannot be used: {error.strerror}"
                ) from None

        done = asyncio.get_running_loop().run_in_executor(self._thread, call)
        cancelled = await until_done([done])
        if cancelled is not None:
            with suppress(StorageError):
                done.result()
            raise cancelled
        return done.result()

    def _translated(self, error: sqlite3.Error) -> StorageError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StorageConflictError(
                f"another transfer between the same places is under way (it holds {self._path})",
                retryable=True,
            )
        if code == sqlite3.SQLITE_FULL:
            return StorageError("the disk that the journal is on is full", code=ErrorCode.QUOTA_EXCEEDED)
        if code == sqlite3.SQLITE_NOTADB:
            return StorageConfigurationError(f"{self._path} is not a journal; name another file")
        if code == sqlite3.SQLITE_CORRUPT:
            return StorageConfigurationError(
                f"the journal {self._path} is damaged; remove it, and let the next run compare by content "
                "(--checksum), since what it was at is not known any more"
            )
        return StorageConfigurationError(f"the journal {self._path} cannot be used: {error}")

    @property
    def _sql(self) -> sqlite3.Connection:
        if self._opened is None:
            raise StorageConfigurationError("the journal is not open")
        return self._opened

    def _many(self, *changes: tuple[str, Iterable[tuple[object, ...]]]) -> None:
        sql = self._sql
        sql.execute("begin")
        try:
            for statement, rows in changes:
                sql.executemany(statement, rows)
        except BaseException:
            sql.execute("rollback")
            raise
        sql.execute("commit")

    async def known(self) -> AsyncGenerator[Known, None]:
        """All that was known when this was asked for page by page, ascending by name."""
        after = ""
        while rows := await self._run(self._known_page, after):
            for name, size, tag, version, digest, state in rows:
                # What no version of this program has written says nothing.
                yield Known(name, size, tag, version, digest, _STATES.get(state, State.UNSURE))
            after = rows[-1][0]

    def _known_page(self, after: str) -> list[tuple[Any, ...]]:
        statement = (
            "select name, size, tag, version, digest, state from known where name > ? order by name limit ?"
        )
        return self._sql.execute(statement, (after, PAGE)).fetchall()

    async def note(self, known: Known) -> None:
        """Keep what is known of a name, soon."""
        row = (known.name, known.size, known.tag, known.version, known.digest, known.state.value)
        self._noted[known.name] = row
        if len(self._noted) >= PAGE:
            await self.flush()

    async def forget(self, name: str) -> None:
        """Know nothing of a name any more, soon."""
        self._noted[name] = None
        if len(self._noted) >= PAGE:
            await self.flush()

    async def finish(self, action: Action, known: Known | None) -> None:
        """What was to be done is done; kept soon, and lost with it what is known of it."""
        self._finished.append(action.number)
        if known is not None:
            await self.note(known)
        if len(self._finished) >= PAGE // 10:
            await self.flush()

    async def postpone(self, action: Action) -> None:
        """Make a copy a late one; what is to be deleted above or below its name comes before it."""
        self._postponed.append(action)
        if len(self._postponed) >= PAGE // 10:
            await self.flush()

    async def flush(self) -> None:
        """Keep now what was noted."""
        noted, self._noted = self._noted, {}
        finished, self._finished = self._finished, []
        postponed, self._postponed = self._postponed, []
        if postponed:
            names = [action.entry.name for action in postponed]
            await self._run(
                self._many,
                ("update actions set kind = 'late' where number = ?", [(each.number,) for each in postponed]),
                (f"{_WAY} and name >= ? and name < ?", [_below(name) for name in names]),
                (f"{_WAY} and name = ?", [(above,) for name in names for above in _above(name)]),
            )
        if noted or finished:
            await self._run(
                self._many,
                ("insert or replace into known values (?, ?, ?, ?, ?, ?)", filter(None, noted.values())),
                ("delete from known where name = ?", [(name,) for name, row in noted.items() if row is None]),
                ("update actions set done = 1 where number = ?", [(number,) for number in finished]),
            )

    async def plan(self, actions: list[tuple[Kind, Entry, str | None]]) -> None:
        """Add to what is to be done."""
        rows: list[tuple[object, ...]] = []
        for kind, entry, there in actions:
            self._number += 1
            row = (
                self._number,
                kind,
                entry.name,
                entry.size,
                entry.tag,
                entry.version,
                entry.modified,
                there,
            )
            rows.append(row)
        await self._run(self._many, ("insert into actions values (?, ?, ?, ?, ?, ?, ?, ?, 0)", rows))

    async def actions(self, *kinds: Kind) -> AsyncGenerator[Action, None]:
        """What is to be done, of these kinds, in the order of the plan."""
        after = 0
        while rows := await self._run(self._actions_page, after, kinds):
            for number, kind, name, size, tag, version, modified, there in rows:
                yield Action(number, kind, Entry(name, size, modified, tag, version), there)
            after = rows[-1][0]

    def _actions_page(self, after: int, kinds: tuple[Kind, ...]) -> list[tuple[Any, ...]]:
        marks = ", ".join("?" * len(kinds))
        statement = f"{_NEXT} and kind in ({marks}) order by number limit ?"
        return self._sql.execute(statement, (after, *kinds, PAGE)).fetchall()

    async def below(self, name: str) -> int:
        """How many files are to be deleted in the folder `name` before a late copy."""
        statement = (
            "select count(*) from actions where done = 0 and kind = 'way' and name >= ? and name < ?"
            " and name not like '%/'"
        )
        return await self._run(lambda: self._sql.execute(statement, _below(name)).fetchone()[0])

    async def keep_below(self, name: str) -> None:
        """Delete nothing in the folder `name` for a late copy."""
        statement = "update actions set kind = 'delete' where kind = 'way' and name >= ? and name < ?"
        await self._run(self._many, (statement, [_below(name)]))

    async def is_waiting(self, name: str) -> bool:
        """Whether something is still to be done about a name."""
        statement = "select 1 from actions where done = 0 and name = ?"
        return await self._run(lambda: self._sql.execute(statement, (name,)).fetchone() is not None)

    async def drop_plan(self) -> None:
        """The plan was refused, and nothing of it done."""
        await self._run(self._sql.execute, "delete from actions")

    async def end(self) -> None:
        """The run came to its end: what was not done was reported, and is no longer waited for.

        What failed may have happened, so that it stays unsure.
        """
        await self.flush()
        await self._run(self._end)

    def _end(self) -> None:
        self._sql.execute("begin")
        self._sql.execute(_DOUBT, (State.UNSURE.value,))
        self._sql.execute("delete from actions")
        self._sql.execute("commit")

    async def forget_spellings(self) -> None:
        """Have seen no name in any spelling."""
        await self._run(self._forget_spellings)

    def _forget_spellings(self) -> None:
        self._sql.execute("create temp table if not exists spelled (folded text primary key) without rowid")
        self._sql.execute("delete from spelled")

    async def is_new_spelling(self, name: str) -> bool:
        """Whether no name was asked about yet that differs from this one only in case or form of Unicode."""
        folded = normalize("NFC", normalize("NFC", name).casefold())
        statement = "insert or ignore into spelled values (?)"
        return await self._run(lambda: self._sql.execute(statement, (folded,)).rowcount == 1)

    async def in_order(self, entries: AsyncIterator[Entry]) -> AsyncGenerator[Entry, None]:
        """The same entries, ascending by name, by way of the disk; where a store lists in another order."""
        await self._run(
            self._sql.execute,
            "create table if not exists spool (side integer, name text, size integer, modified real,"
            " tag text, version text, refused text, fault integer, primary key (side, name)) without rowid",
        )
        self._spools += 1
        side = self._spools
        rows: list[tuple[object, ...]] = []
        async for each in entries:
            rows.append(
                (side, each.name, each.size, each.modified, each.tag, each.version, each.refused, each.fault)
            )
            if len(rows) >= PAGE:
                await self._run(self._many, (_SPOOL, rows))
                rows = []
        await self._run(self._many, (_SPOOL, rows))
        after: str | None = None
        while page := await self._run(self._spool_page, side, after):
            for name, size, modified, tag, version, refused, fault in page:
                yield Entry(name, size, modified, tag, version, refused, bool(fault))
            after = page[-1][0]
        await self._run(self._sql.execute, "delete from spool where side = ?", (side,))

    def _spool_page(self, side: int, after: str | None) -> list[tuple[Any, ...]]:
        statement = (
            "select name, size, modified, tag, version, refused, fault from spool"
            " where side = ? and (? is null or name > ?) order by name limit ?"
        )
        return self._sql.execute(statement, (side, after, after, PAGE)).fetchall()


def _below(name: str) -> tuple[str, str]:
    """The names in a folder are from the first of these to just before the other one."""
    return f"{name}/", f"{name}0"


def _above(name: str) -> list[str]:
    """What would have to be folders for it."""
    return [name[:at] for at, character in enumerate(name) if character == "/"]


_WAY = "update actions set kind = 'way' where done = 0 and kind = 'delete'"
_DOUBT = (
    "insert into known select name, 0, '', '', null, ? from actions"
    " where done = 0 and kind not in ('delete', 'way')"
    " on conflict (name) do update set state = excluded.state"
)
"""What was known stays, but no longer counts as equal."""
_NEXT = (
    "select number, kind, name, size, tag, version, modified, there from actions"
    " where done = 0 and number > ?"
)
_SPOOL = "insert or replace into spool values (?, ?, ?, ?, ?, ?, ?, ?)"
