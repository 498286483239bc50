"""One object from one end to the other, verified there.

Four ways, the first that is possible:

1. inside one store, the store copies it, and the copy is proved as `StorageProvider.move` proves it;
2. between two buckets at one endpoint with the same credentials, the cloud does, which is proved as well;
3. between two stores it travels as it is stored (`provider/stored_form.py`): same bytes, codec, headers and
   metadata, so that both can be compared without being decoded;
4. else it is decoded and stored again: to and from folders, and where an end encrypts by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from credstore.errors import StoragePreconditionFailedError
from credstore.model import NOTHING, StorageItem, strong_etag
from credstore.provider.stored_form import (
    Carried,
    carried,
    copy_across,
    copy_proved,
    digest_stored,
    put_stored,
)
from credstore.transfer.plan import Entry, Facts
from credstore.transfer.sides import MTIME, Depth, Flow, Side, Written, differs
from credstore.transfer.store import Store, tag_as_listed, with_mtime

RETENTION = "retention"
"""In the report, of what a copy could not be put under."""


class Hands(Protocol):
    """What looks at objects at both ends, and moves them: this process, or others.

    Attributes:
        page: Names that are judged together while planning.
        looks: How many of them may be looked at at once.
        width: How many objects may be under way at once; None where the pace of the stores decides.
    """

    @property
    def page(self) -> int:
        """Names that are judged together."""
        ...

    @property
    def looks(self) -> int:
        """Of them, looked at at once."""
        ...

    @property
    def width(self) -> int | None:
        """Objects under way at once."""
        ...

    async def look(self, source: Entry, destination: Entry, depth: Depth) -> tuple[Facts, Facts]:
        """More about a name that both ends have; see `Side.look`.

        Raises:
            StorageError: One of them could not be looked at.
        """
        ...

    async def copy(self, entry: Entry) -> Written:
        """Copy one object, and verify it.

        Raises:
            StorageError: It was not copied, or the copy is not what was read.
        """
        ...

    async def check(self, entry: Entry) -> bytes:
        """Read one object at both ends.

        Returns:
            The SHA-256 of their plain bytes.

        Raises:
            StorageIntegrityError: They are not equal.
            StorageError: One of them could not be read.
        """
        ...

    async def reread(self, entry: Entry) -> bytes | None:
        """The SHA-256 of the plain bytes at the destination; None where it is gone.

        Raises:
            StorageError: It could not be read.
        """
        ...

    async def delete_source(self, entry: Entry) -> None:
        """Delete exactly this state of an object at the source; see `Side.delete`."""
        ...

    async def delete_copy(self, entry: Entry) -> None:
        """Delete exactly this state of an object at the destination; see `Side.delete`."""
        ...


@dataclass(frozen=True, slots=True)
class Mover:
    """The hands of this process; see `Hands`.

    Attributes:
        source: Where they are.
        destination: Where they go.
        verify: Whether they are read back.
        if_absent: Whether nothing is replaced.
        flow: Counts and slows what is read.
        keep_retention: Whether copies are put under what keeps their sources.
        page: See `Hands`.
        looks: See `Hands`.
        width: See `Hands`.
    """

    source: Side
    destination: Side
    verify: bool
    if_absent: bool
    flow: Flow
    keep_retention: bool = False
    page: int = 1000
    looks: int = 16
    width: None = None

    async def look(self, source: Entry, destination: Entry, depth: Depth) -> tuple[Facts, Facts]:
        """More about a name that both ends have; see `Hands.look`."""
        return await self.source.look(source, depth), await self.destination.look(destination, depth)

    async def copy(self, entry: Entry) -> Written:
        """Copy one object, and verify it; see `Hands.copy`."""
        written = await self._copy(entry)
        if not self.keep_retention:
            return written
        return replace(written, lost=(*written.lost, *await self._keep(entry)))

    async def _copy(self, entry: Entry) -> Written:
        plain = isinstance(self.destination, Store) and not self.destination.store_options
        if plain and isinstance(self.source, Store) and isinstance(self.destination, Store):
            if self.source.provider is self.destination.provider:
                return await self._inside(self.source, self.destination, entry)
            across = await self._across(self.source, self.destination, entry)
            if across is not None:
                return across
            key = self.source.key(entry.name)
            found = await carried(self.source.provider, key, self.destination.provider, entry.size)
            if found is not None:
                return await self._as_stored(self.source, self.destination, entry, found)
        async with self.source.read(entry, self.flow) as content:
            return await self.destination.write(
                entry.name, content, if_absent=self.if_absent, verify=self.verify, flow=self.flow
            )

    async def _inside(self, source: Store, destination: Store, entry: Entry) -> Written:
        provider, key = source.provider, source.key(entry.name)
        absent = self.if_absent and provider.capabilities.conditional_create
        item, landed = await copy_proved(provider, key, destination.key(entry.name), if_absent=absent)
        await self.flow(0)
        lost = () if MTIME in (item.metadata or NOTHING) else (MTIME,)
        return Written(landed.etag or "", landed.digest, tag_as_listed(entry, item.etag), lost)

    async def _across(self, source: Store, destination: Store, entry: Entry) -> Written | None:
        """By the cloud itself, where both are of one account of it; None where that is not possible."""
        there = destination.provider
        absent = self.if_absent and there.capabilities.conditional_create
        made = await copy_across(
            source.provider,
            source.key(entry.name),
            there,
            destination.key(entry.name),
            metadata=with_mtime,
            if_absent=absent,
        )
        if made is None:
            return None
        item, landed = made
        await self.flow(0)
        return Written(landed.etag or "", landed.digest, tag_as_listed(entry, item.etag))

    async def _as_stored(self, source: Store, destination: Store, entry: Entry, found: Carried) -> Written:
        item, there = found.item, destination.provider
        key, absent = destination.key(entry.name), self.if_absent and there.capabilities.conditional_create
        landed = await put_stored(
            source.provider, found, there, key, metadata=with_mtime(item), if_absent=absent
        )
        await self.flow(item.size)
        if self.verify and not landed.proved:
            try:
                seen = await digest_stored(there, key, strong_etag(landed.etag))
            except StoragePreconditionFailedError as error:
                error.message = "somebody else replaced the copy before it was read back"
                raise
            if seen != landed.digest:
                raise differs()
        return Written(
            landed.etag or "", landed.digest, tag_as_listed(entry, item.etag), _lost(found, destination)
        )

    async def _keep(self, entry: Entry) -> tuple[str, ...]:
        """Put the copy under what keeps its source; what of that is not possible there.

        Raises:
            StorageError: It could not be found out, or done.

        Cost: 1 or 2 requests at the source that has such a thing, and as many at the destination.
        """
        source, there = self.source, self.destination
        if not isinstance(source, Store):
            return ()
        able = source.provider.capabilities
        if not (able.retention_modes or able.legal_holds):
            return ()
        found = await source.provider.get_retention(source.key(entry.name))
        until = found.retain_until
        timed = found.mode is not None and until is not None and until > datetime.now(UTC)
        if not (timed or found.legal_hold):
            return ()
        if not isinstance(there, Store):
            return (RETENTION,)
        able, key, lost = there.provider.capabilities, there.key(entry.name), False
        if timed and found.mode in able.retention_modes:
            await there.provider.retain(key, until=until, mode=found.mode)
        else:
            lost = timed
        if found.legal_hold and able.legal_holds:
            await there.provider.hold(key)
        else:
            lost = lost or found.legal_hold
        return (RETENTION,) if lost else ()

    async def check(self, entry: Entry) -> bytes:
        """Read one object at both ends; see `Hands.check`."""
        mine, theirs = await self.look(entry, entry, "read")
        if mine.digest is None or mine.digest != theirs.digest:
            raise differs()
        return mine.digest

    async def reread(self, entry: Entry) -> bytes | None:
        """The digest of what is at the destination; see `Hands.reread`."""
        return (await self.destination.look(entry, "read")).digest

    async def delete_source(self, entry: Entry) -> None:
        """Delete at the source; see `Hands.delete_source`."""
        await self.source.delete(entry)

    async def delete_copy(self, entry: Entry) -> None:
        """Delete at the destination; see `Hands.delete_copy`."""
        await self.destination.delete(entry)


def _lost(found: Carried, destination: Store) -> tuple[str, ...]:
    able, item = destination.provider.capabilities, found.item
    lost = ["tags"] if found.tags and not able.tags else []
    if _has_class(item) and item.storage_class not in able.storage_classes:
        lost.append("storage_class")
    return tuple(lost)


def _has_class(item: StorageItem) -> bool:
    return item.storage_class not in {None, "STANDARD"}
