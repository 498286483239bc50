"""Group commit: objects that are written at the same time become durable together.

Rules of this file: each object is published as alone, by its own rename or link, after its bytes and its
attributes are on the disk, and is acknowledged when the directories that lead to it are. Only the flushes
are shared: those of one step are one flush of the whole file system, where that is known to keep the promise,
else they are made at the same time, each directory's once for all. What is not straightforward (a name in the
way, a race with others) is done again alone. One group is on the processor while another waits for the disk,
since their threads would only take Python's lock from each other at each call of the system.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from credstore.driver.values import Precondition
from credstore.drivers.local.atomic import Temporary, Token
from credstore.drivers.local.attributes import Attributes, Kept, Shelf
from credstore.drivers.local.belonging import Mark
from credstore.drivers.local.directories import Branches
from credstore.drivers.local.failures import MovedError, translate
from credstore.drivers.local.flushing import Identity, Way, can_flush_all
from credstore.drivers.local.locks import Hold, stripe_of
from credstore.drivers.local.objects import BlockedError, Found, Objects
from credstore.drivers.local.root import Root
from credstore.errors import StorageError, StorageTimeoutError

MOST = 48
"""Objects of one group; each has some six files and directories open, in directories of its own some ten."""
GROUPED = 64 * 1024
"""Size in bytes of the largest object that is stored in a group."""
FLUSHES = 32
"""Flushes at once."""
MANY = 8
"""Flushes in whose place the file system is flushed as a whole, where it can be."""
_PATIENCE = 0.02
"""Seconds that a group waits for locks, those of all its objects together."""
_NO_MORE_FILES = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(slots=True, eq=False)
class Write:
    """One object to be written.

    Attributes:
        data: Its bytes.
        attributes: What is kept with them.
        precondition: See `PutRequest`.
        deadline: On the monotonic clock, or None.
        stripe: Which lock its key has.
        token: The version that was published, at the end.
        error: Why it was not, or why that is open.
    """

    data: bytes
    attributes: Attributes
    precondition: Precondition
    deadline: float | None
    stripe: int = field(init=False)
    token: Token | None = None
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.stripe = stripe_of(self.attributes.key)


@dataclass(slots=True)
class _Step:
    """How far one object is."""

    write: Write
    file: Temporary
    hold: Hold
    found: Found
    shelf: Shelf
    kept: Kept
    token: Token


@dataclass(slots=True)
class Together:
    """Writes groups of objects of one store; close it.

    Attributes:
        root: Of the store.
        objects: In it.
    """

    root: Root
    objects: Objects
    _flushers: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(FLUSHES, thread_name_prefix="credstore-local-flush")
    )
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _flushes_all: bool = field(init=False)

    def __post_init__(self) -> None:
        self._flushes_all = self.root.syncer.enabled and can_flush_all(self.root.fd)

    def close(self) -> None:
        """End the threads."""
        self._flushers.shutdown(wait=True)

    def publish(self, writes: Sequence[Write]) -> None:
        """Store them, durable on return, each with its own outcome; blocks. No two keys share a lock.

        Raises:
            StorageError: Nothing was stored.
            OSError: As well.
        """
        alone: list[Write] = []
        with self._turn, contextlib.ExitStack() as held:
            self.objects.prepare()
            self.root.check_there()
            branches = held.enter_context(Branches())
            ready: list[_Step] = []
            soon = time.monotonic() + _PATIENCE
            for write in writes:
                with _outcome(write, alone):
                    ready.append(self._prepared(write, branches, soon, held))
            self._make_durable(ready, branches)
            shown: list[_Step] = []
            for step in ready:
                if step.write.error is None:
                    with _outcome(step.write, alone):
                        self._show(step)
                        shown.append(step)
            self._make_shown_durable(shown, branches)
            for step in shown:
                with _outcome(step.write, alone):
                    self._end(step)
            for step in ready:
                if step.write.error is not None or step.write in alone:
                    step.hold.clean = False  # The next writer looks at what is left.
        for write in alone:
            try:
                write.token = self._alone(write)
            except StorageError as error:
                write.error = error
            except OSError as error:
                write.error = translate(error)

    def _prepared(self, write: Write, branches: Branches, soon: float, held: contextlib.ExitStack) -> _Step:
        """All of an object but its name, not flushed; its key is locked until the end."""
        objects, key = self.objects, write.attributes.key
        with contextlib.ExitStack() as own:
            file = own.enter_context(contextlib.closing(objects.temporary(key)))
            file.write(write.data)
            hold = own.enter_context(self._locked(key, soon, write.deadline))
            found = own.enter_context(objects.place(key, branches))
            objects.check(write.precondition, key, found.current)
            objects.check_removable(key, found.current)
            hold.mark(Mark(key, write_id=write.attributes.write_id))
            try:
                found.where.make()
            except (FileNotFoundError, NotADirectoryError) as error:
                raise MovedError from error
            shelf, token = objects.shelf(key), file.date()
            replaced = None if found.current is None else found.current[1].identity
            try:
                kept = own.enter_context(shelf.begin(write.attributes, token, replaced, branches))
            except FileExistsError:
                raise MovedError from None  # Alone, it gets another time.
            held.push(own.pop_all())
        return _Step(write, file, hold, found, shelf, kept, token)

    def _locked(self, key: str, soon: float, deadline: float | None) -> Hold:
        """The key's lock; where it is held elsewhere, neither this group nor another waits long for it."""
        with contextlib.suppress(StorageTimeoutError):
            return self.objects.writing(key, 0.0)
        try:
            with self._away():
                return self.objects.writing(key, soon if deadline is None else min(soon, deadline))
        except StorageTimeoutError:
            raise MovedError from None

    def _make_durable(self, steps: Sequence[_Step], branches: Branches) -> None:
        """Bytes, attributes and their directories; if any of it fails, nothing is published."""
        owed: dict[Way, int] = {}
        entries: dict[Way, Identity] = {}
        for step in steps:
            more = step.kept.where.owed(self.root.syncer)
            owed |= more[0]
            entries |= more[1]
        files = [fd for step in steps for fd in (step.file.fd, step.kept.fd)]
        try:
            self._flush(files, owed.values(), branches)
            for step in steps:
                step.kept.end(self.root.syncer)
        except OSError as error:
            for step in steps:
                step.kept.forget()
                step.write.error = translate(error)
            return
        self.root.syncer.learn(entries)

    def _flush(self, files: Sequence[int], directories: Iterable[int], branches: Branches) -> None:
        """Flush all of them, each once; the first error is raised when all have ended.

        Args:
            files: New ones; they are where the directories are.
            directories: Of the group, in any order.
            branches: Where those are open.
        """
        directories = list(directories)
        fds = [*files, *directories]
        if len(fds) >= MANY and self._flushes_all:
            here = branches.identity(self.root.fd)
            found = [branches.identity(fd) for fd in (self.root.part("tmp"), *directories)]
            if here is not None and all(each is not None and each[0] == here[0] for each in found):
                with self._away():
                    self.root.syncer.sync_all(self.root.fd, fds[0])
                return
        with self._away():
            jobs = [self._flushers.submit(self.root.syncer.sync, fd) for fd in fds]
            errors = [job.exception() for job in jobs]
        for error in errors:
            if error is not None:
                raise error

    @contextlib.contextmanager
    def _away(self) -> Generator[None, None, None]:
        """Give the turn to another group meanwhile."""
        self._turn.release()
        try:
            yield
        finally:
            self._turn.acquire()

    def _show(self, step: _Step) -> None:
        self.objects.show(step.file, step.shelf, step.token, step.found, step.write.precondition)
        step.write.token = step.token

    def _make_shown_durable(self, steps: Sequence[_Step], branches: Branches) -> None:
        owed: dict[Way, int] = {}
        entries: dict[Way, Identity] = {}
        for step in steps:
            more = step.found.where.owed(self.root.syncer)
            owed |= more[0]
            entries |= more[1]
        try:
            self._flush([], owed.values(), branches)
        except OSError as error:
            for step in steps:
                step.write.error = translate(error, applied="maybe")
            return
        self.root.syncer.learn(entries)

    def _end(self, step: _Step) -> None:
        if step.write.error is not None:
            return
        self.objects.check_place(step.found.where, step.found.place)
        if step.found.current is not None:
            self.objects.sweep(step.write.attributes.key, step.token, step.hold)

    def _alone(self, write: Write) -> Token:
        with contextlib.closing(self.objects.temporary(write.attributes.key)) as file:
            file.write(write.data)
            return self.objects.publish(file, write.attributes, write.precondition, write.deadline)


@contextlib.contextmanager
def _outcome(write: Write, alone: list[Write]) -> Generator[None, None, None]:
    """Note what became of one object, so that the others continue."""
    try:
        yield
    except (MovedError, BlockedError):
        alone.append(write)
    except StorageError as error:
        write.error = error
    except OSError as error:
        if error.errno in _NO_MORE_FILES:  # There are more when the group has closed its own.
            alone.append(write)
        else:
            write.error = translate(error)
