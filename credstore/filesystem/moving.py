"""Copying and moving: fsspec's rules for what goes where, and a provider's verbs for each file.

fsspec's own `mv` copies everything and then removes what its source names by then, so that a file moved onto
itself is gone, and so is what was not copied. Here a source goes only when its own copy is proved.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from glob import has_magic
from typing import Any, TypeAlias, cast

from fsspec.asyn import sync
from fsspec.utils import other_paths, stringify_path

from credstore.concurrency import map_all
from credstore.errors import StorageInvalidRequestError, StorageObjectNotFoundError
from credstore.filesystem.literal import LiteralNames, Paths, check_lengths, listed
from credstore.provider.provider import StorageProvider

Pair: TypeAlias = tuple[str, str]
"""Two keys: of what is read, and of what is written."""

AT_ONCE = 128
"""Of files, unless `batch_size` says so; as fsspec."""


class Moving(LiteralNames):
    """A file system that copies and moves within one store."""

    @abstractmethod
    def _provider(self) -> StorageProvider:
        """The open provider of the running loop."""

    def _key(self, path: str) -> str:
        return cast("str", self._strip_protocol(path)[1:])

    async def _cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copy a file; nothing for a folder, which is there once something is in it."""
        try:
            await self._provider().copy(self._key(path1), self._key(path2), **options)
        except StorageObjectNotFoundError:
            if not await self._isdir(path1):
                raise

    async def _mv_file(self, path1: str, path2: str, **options: Any) -> None:
        await self._provider().move(self._key(path1), self._key(path2), **options)

    async def _copy(  # noqa: PLR0917 - fsspec's own
        self,
        path1: Paths,
        path2: Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's own
        on_error: str | None = None,
        maxdepth: int | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        path1, path2 = listed(path1), listed(path2)
        pairs = _files(await self._pairs(path1, path2, "copy", recursive=recursive, maxdepth=maxdepth))
        if await self._has_an_order(pairs):
            batch_size = 1
        lenient = on_error == "ignore" or (on_error is None and recursive)
        await self._each(pairs, partial(self._cp_file, **options), batch_size, lenient=lenient)

    def mv(
        self,
        path1: Paths,
        path2: Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's own
        maxdepth: int | None = None,
        **options: Any,
    ) -> None:
        """Move files, each by `StorageProvider.move`: a source goes once its own copy is proved.

        What goes where is as for `copy`. A move onto itself changes nothing. After an error each file is at
        its old or its new place, or at both.

        Args:
            path1: Of a file or folder, or a pattern, or a list of these.
            path2: Where to; a folder, if it ends with a slash or there is such a folder.
            recursive: Move folders as well. Otherwise those that a pattern matches stay.
            maxdepth: As for `copy`; what is deeper stays.
            options: `on_error="ignore"`, to leave out what is absent; `batch_size`, of files under way; and
                those of `StorageProvider.move`.

        Raises:
            StorageInvalidRequestError: Nothing was moved, since a folder would be moved into itself, two
                files to one place, or one to where another comes from. Or a folder is named without
                `recursive`, or in two lists; the files that a list names as well were moved.
        """
        sync(self.loop, self._mv, path1, path2, recursive, maxdepth, **options)

    async def _mv(  # noqa: PLR0917 - as fsspec's `_copy`
        self,
        path1: Paths,
        path2: Paths,
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's own
        maxdepth: int | None = None,
        on_error: str | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        path1, path2 = listed(path1), listed(path2)
        if self._are_same(path1, path2):
            for name in await self._expand_path(path1):
                await self._info(name)  # What is absent cannot even be moved onto itself.
            return
        pairs = await self._pairs(path1, path2, "move", recursive=recursive, maxdepth=maxdepth)
        if not pairs and not isinstance(path1, list):
            raise self._refused(
                "move", path1, "it has only folders, and moving a folder needs recursive=True"
            )
        whole = recursive and not (isinstance(path1, list) and isinstance(path2, list))
        folders = {each for source, _ in pairs for each in _parents(source)}
        for source, target in pairs if whole else ():
            if source in folders and _is_below(target, source):
                raise self._refused("move", source, "a folder cannot be moved into itself")
        pairs = _files(pairs)
        await self._check_apart(pairs)

        async def move(source: str, target: str) -> None:
            folder = source[1:] in folders  # By now all that was in it may have been moved.
            try:
                await self._mv_file(source, target, **options)
            except StorageObjectNotFoundError:
                folder = folder or await self._isdir(source)
                if not folder:
                    raise
                if not whole:
                    why = (
                        "between two lists no folder is moved"
                        if recursive
                        else "a folder needs recursive=True"
                    )
                    raise self._refused("move", source, why) from None
            if folder and whole and isinstance(path1, str):
                await self._move_mark(source, target, **options)

        await self._each(pairs, move, batch_size, lenient=on_error == "ignore")

    async def _move_mark(self, source: str, target: str, **options: Any) -> None:
        """Move a console's mark of a folder, without which the folder would still be there."""
        provider, mark = self._provider(), f"{self._key(source)}/"
        if await provider.get_metadata(mark) is not None:
            await provider.move(mark, f"{self._key(target)}/", **options)

    def _are_same(self, path1: Paths, path2: Paths) -> bool:
        """Whether two paths are one; a slash at one end only makes that a folder to move into, or out of."""
        source, target = _text(path1), _text(path2)
        if isinstance(source, list) or isinstance(target, list):
            return False
        ends = source.endswith("/") == target.endswith("/")
        return ends and self._key(source) == self._key(target)

    async def _pairs(
        self, path1: Paths, path2: Paths, operation: str, *, recursive: bool, maxdepth: int | None
    ) -> list[Pair]:
        """What goes where, each once, with the folders that are on the way; in the order of fsspec's `copy`.

        Its rules: a pattern and a folder stand for what they have; the names go below the destination as far
        as they are not common to all; the last common one is kept where the destination is a folder, unless
        the source ends with a slash; what a list names goes flat into the destination.
        """
        source, target = _text(path1), _text(path2)
        names = targets = cast("list[str]", [])
        if isinstance(source, list) and isinstance(target, list):
            names, targets = source, target  # As they are.
        else:
            names = await self._expand_path(source, recursive=recursive, maxdepth=maxdepth)
            if isinstance(source, str) and (not recursive or maxdepth is not None):
                names = [each for each in names if not (each.endswith("/") or await self._isdir(each))]
            if not names:
                return []
            targets = target if isinstance(target, list) else await self._targets(source, names, target)
        check_lengths(names, targets, operation)
        found = [(self._key(name), self._key(each)) for name, each in zip(names, targets, strict=True)]
        return [
            (name, each)
            for name, each in dict.fromkeys(found)
            if each or not await self._isdir(f"/{name}")  # Out of a folder into the root.
        ]

    async def _targets(self, source: str | list[str], names: list[str], target: str) -> list[str]:
        bare = cast("str", self._strip_protocol(target))
        into = False
        if isinstance(source, str):
            if has_magic(source) and not await self._exists(source):
                into = len(names) == 1
            else:
                into = not source.endswith("/") and (target.endswith("/") or await self._isdir(target))
        return other_paths(names, bare, exists=into, flatten=isinstance(source, list))

    async def _entangled(self, pairs: list[Pair]) -> list[tuple[str, str, bool]]:
        """The pairs of which one may write what another one reads or writes, and whether each is of a file.

        Of folders only what is in them is written; but a name is read as a file once one has been put there.
        """
        read = Counter(source for source, _ in pairs)
        written = Counter(target for _, target in pairs)
        crossed = {target for source, target in pairs if source != target and target in read}
        return [
            (source, target, await self._isfile(f"/{source}"))
            for source, target in pairs
            if read[source] > 1 or written[target] > 1 or source in crossed or target in crossed
        ]

    async def _has_an_order(self, pairs: list[Pair]) -> bool:
        """Whether what one copy reads is what a later one writes; refuse what would not be what it says."""
        tangled = await self._entangled(pairs)
        written: set[str] = set()
        for source, target, is_file in tangled:
            if is_file and target in written:
                raise self._refused("copy", f"/{target}", "two files would be copied to one place")
            if source in written:
                raise self._refused("copy", f"/{source}", "another file would be copied over it before")
            if is_file and source != target:
                written.add(target)
        return any(source in written for source, _, _ in tangled)

    async def _check_apart(self, pairs: list[Pair]) -> None:
        """Refuse moves of which one takes another's source or destination."""
        read: set[str] = set()
        written: set[str] = set()
        tangled = await self._entangled(pairs)
        for source, target, is_file in tangled:
            if is_file and target in written:
                raise self._refused("move", f"/{target}", "two files would be moved to one place")
            if is_file and source in read:
                raise self._refused("move", f"/{source}", "one file would be moved to two places")
            read.add(source)
            if is_file:
                written.add(target)
        for source, target, is_file in tangled:
            if is_file and source != target and target in read:
                raise self._refused("move", f"/{source}", "it would replace what is to be moved as well")

    async def _each(
        self,
        pairs: list[Pair],
        work: Callable[[str, str], Awaitable[None]],
        batch_size: int | None,
        *,
        lenient: bool,
    ) -> None:
        """Do all, and then raise what failed first in their order; if lenient, absent files may."""

        async def one(pair: Pair) -> Exception | None:
            source, target = pair
            try:
                await work(f"/{source}", f"/{target}")
            except Exception as error:  # noqa: BLE001 - raised below
                return error
            return None

        size = batch_size or self.batch_size or AT_ONCE
        at_once = size if size > 0 else max(1, len(pairs))
        for error in await map_all(pairs, one, at_once=at_once):
            if error is not None and not (lenient and isinstance(error, FileNotFoundError)):
                raise error

    def _refused(self, operation: str, path: Paths, why: str) -> StorageInvalidRequestError:
        text = _text(path)
        key = self._key(text) if isinstance(text, str) else None
        name = self._provider().get_provider_name()
        return StorageInvalidRequestError(why).at(provider=name, operation=operation, key=key)


def _text(path: Paths) -> str | list[str]:
    if isinstance(path, list):
        return [cast("str", stringify_path(each)) for each in path]
    return cast("str", stringify_path(path))


def _parents(key: str) -> list[str]:
    """The folders that a key is in, and the root."""
    if not key:
        return []
    return ["", *(key[:end] for end, sign in enumerate(key) if sign == "/")]


def _is_below(key: str, folder: str) -> bool:
    return key.startswith(f"{folder}/") if folder else bool(key)


def _files(pairs: list[Pair]) -> list[Pair]:
    """Without the root, which is nothing but a folder."""
    return [pair for pair in pairs if pair[0]]
