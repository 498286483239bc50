"""Part of a store as one end of a transfer, by the provider's verbs.

What is read is decoded, what is written is encoded as the options or the store's settings say; `moving.py`
has the ways that need no decoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import cast

from credstore.concurrency import map_in_order
from credstore.config.reports import place_of
from credstore.driver.reader import ObjectReader
from credstore.errors import (
    ErrorCode,
    StorageError,
    StorageIntegrityError,
    StorageInvalidKeyError,
    StoragePreconditionFailedError,
    StorageUnsupportedError,
)
from credstore.hashing import hash_into, sha256
from credstore.model import NOTHING, StorageItem, StorageResult, StoreOptions, strong_etag
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of, tags_of
from credstore.provider.validation import check_key
from credstore.transfer.filters import Filter
from credstore.transfer.mapping import Held
from credstore.transfer.plan import Entry, Facts
from credstore.transfer.sides import (
    MTIME,
    Content,
    Depth,
    Flow,
    Written,
    differs,
    mtime_of,
    mtime_text,
    pieces_of,
    seconds,
)
from credstore.transfer.types import guess_type

_LOOKS = 16
"""Objects whose etags are asked for at the same time."""
_NS = 10**9


class Store:
    """All objects whose keys begin with a prefix; see `Side`.

    Attributes:
        provider: The store.
        prefix: The beginning of the keys.
        only: Name of the only object there is here, and what it is called; None for all.
        held: What it calls the names that it cannot hold.
        store_options: How to store, instead of as it was.
    """

    plain = False
    branches = True
    empty_folders = True

    def __init__(self, provider: StorageProvider, prefix: str = "") -> None:
        """Name it; nothing is sent."""
        self.provider = provider
        self.prefix = prefix
        self._longest = provider.capabilities.max_key_size
        self.only: tuple[str, str] | None = None
        self.held = Held(self._unfit, branches=True)
        self.store_options: StoreOptions = {}
        self.ordered = provider.capabilities.ordered
        shown = f" under {prefix!r}" if prefix else ""
        self.label = f"the store {provider.get_provider_name()}{shown}"
        homes = [each.config for each in session_of(provider).homes]
        # Of several stores as one, each counts: with another member it is another place.
        places = dict.fromkeys(f"{place_of(each)!r} {each.prefix}{prefix}" for each in homes)
        self.identity = f"store {provider.get_provider_name()} {' and '.join(places)}"
        policy = session_of(provider).policy
        self.sealed = "" if policy is None else policy.store_id
        self._refuses_plain = policy is not None and policy.required

    async def folds(self) -> bool:
        """No store ignores the case of keys; see `Side.folds`."""
        return False

    def key(self, name: str) -> str:
        """The key of a name."""
        if self.only is not None and name == self.only[1]:
            return self.prefix + self.only[0]
        return self.prefix + self.held.called(name)

    def unfit(self, name: str) -> str | None:
        """Why no object can have this name; see `Side.unfit`."""
        return self._unfit(self.held.called(name))

    def _unfit(self, name: str) -> str | None:
        try:
            check_key(self.prefix + name, self._longest)
        except StorageInvalidKeyError as error:
            return error.message
        return None

    async def entries(self, wanted: Filter, *, destination: bool) -> AsyncGenerator[Entry, None]:
        """The objects; see `Side.entries`."""
        del destination
        if self.provider.capabilities.listed_etags:
            async for entry in self._listed(wanted):
                yield entry
            return
        # Which version each one is has to be asked then, since a later run goes by it.
        async with (
            aclosing(self._listed(wanted)) as listed,
            aclosing(map_in_order(listed, self._identified, at_once=_LOOKS)) as found,
        ):
            async for each in found:
                if each is not None:
                    yield each

    async def _identified(self, entry: Entry) -> Entry | None:
        """An entry of a listing without etags, with the etag; None where the object is gone.

        Its tag is the etag alone, since the time is of whichever store responded.
        """
        if entry.refused is not None:
            return entry
        if entry.version:
            return entry._replace(tag=entry.version)
        try:
            item = await self.provider.get_metadata(self.key(entry.name))
        except StorageError as error:
            if error.retryable:
                raise
            return entry  # Something is wrong with this object, which whoever works on it reports.
        if item is None:
            return None
        return entry._replace(size=item.size, tag=item.etag or entry.tag, version=item.etag or "")

    async def _listed(self, wanted: Filter) -> AsyncGenerator[Entry, None]:
        start = len(self.prefix)
        if self.only is not None:
            item = await self.provider.get_metadata(self.prefix + self.only[0])
            if item is not None and wanted(self.only[1]):
                yield entry_of(self.only[1], item)
            return
        try:
            # A generator, though its annotation is that of an iterator.
            scan = cast("AsyncGenerator[StorageItem, None]", self.provider.scan(self.prefix))
            async with aclosing(scan) as found:
                async for item in found:
                    name = self.held.name_of(item.key[start:])
                    if not name:
                        yield Entry(item.key, 0, None, "", "", "the object is named like the folder itself")
                    elif wanted(name):
                        yield entry_of(name, item)
        except StorageIntegrityError as error:
            if error.code != ErrorCode.UNREADABLE_ENTRY:
                raise
            yield Entry((error.key or "")[start:], 0, None, "", "", error.message, fault=True)

    async def look(self, entry: Entry, depth: Depth) -> Facts:
        """What its metadata records and, if need be, its content says; see `Side.look`."""
        item = await self.provider.get_metadata(self.key(entry.name))
        if item is None:
            return Facts(None, None)
        modified = mtime_of((item.metadata or NOTHING).get(MTIME))
        when = seconds(modified) if modified is not None else _seconds(item.last_modified)
        if self._refuses_plain and not item.client_side:
            return Facts(None, when)  # Whatever is in it, it cannot be read here.
        bare = item.compression is None and not item.client_side
        digest = (item.digest or None) if bare else None
        if depth == "read" or (depth == "digest" and digest is None):
            digest = await self._plain_digest(entry.name)
        size = item.plain_size
        if size is None and item.client_side and self.sealed:
            size = await self._plain_size(item.key)
        return Facts(size, when, digest, None if item.client_side else item.digest or None)

    async def _plain_size(self, key: str) -> int | None:
        """Of what is encrypted, which its header alone says."""
        async with self.provider.open(key) as reader:
            item = reader.info
            return reader.length if item.plain_size is None and item.compression is None else item.plain_size

    async def _plain_digest(self, name: str) -> bytes:
        digest = hashlib.sha256()
        async with self.provider.open(self.key(name)) as reader:
            async for chunk in reader:
                await hash_into(digest, chunk)
        return digest.digest()

    async def prepare(self, entries: Sequence[Entry]) -> None:
        """Nothing: each is a request of its own; see `Side.prepare`."""

    @asynccontextmanager
    async def read(self, entry: Entry, flow: Flow) -> AsyncGenerator[Content]:
        """One object, decoded; see `Side.read`."""
        key, limit = self.key(entry.name), self.provider.config.spool_size
        before: Mapping[str, str] | None = None
        if entry.size > limit and (looked := await self.provider.get_metadata(key)) is not None:
            before = await tags_of(self.provider, looked)
        async with self.provider.open(key) as reader:
            item, data = reader.info, None
            if item.plain_size is not None and item.plain_size <= limit:
                data = await reader.read(limit)
                await flow(len(data))
            # Of what is small only now: who holds a connection while asking for another may wait for ever.
            tags = before if before is not None else await tags_of(self.provider, item)
            content = Content(
                tag=tag_as_listed(entry, item.etag),
                size=item.plain_size,
                data=data or b"",
                digest=None if data is None else await sha256(data),
                modified=modified_of(item),
                options=await self.options_of(item, tags),
                settled=_nothing_more,
            )
            if item.content_encoding is not None and item.compression is None:
                content.lost.append("content_encoding")
            if data is None:
                content.data = _watched(reader, flow, content)
            yield content

    async def options_of(self, item: StorageItem, tags: Mapping[str, str]) -> StoreOptions:
        """How an object was stored, as options of `store`; its metadata with the time, where it has none.

        Raises:
            StorageError: Its dictionary cannot be read.
        """
        options: StoreOptions = {
            "content_type": item.content_type or guess_type(item.key),
            "metadata": with_mtime(item),
            "compress": item.compression or False,
        }
        if item.dictionary is not None:
            options["dictionary"] = await self.provider.get_dictionary(item.dictionary)
        if item.cache_control is not None:
            options["cache_control"] = item.cache_control
        if item.content_disposition is not None:
            options["content_disposition"] = item.content_disposition
        if item.content_language is not None:
            options["content_language"] = item.content_language
        if tags:
            options["tags"] = tags
        if item.storage_class not in {None, "STANDARD"}:
            options["storage_class"] = item.storage_class or ""
        return options

    async def write(
        self, name: str, content: Content, *, if_absent: bool, verify: bool, flow: Flow
    ) -> Written:
        """Store it by the provider's verb, and read it back; see `Side.write`."""
        options, lost = self._chosen(content.options), list(content.lost)
        able, key = self.provider.capabilities, self.key(name)
        if self.sealed and "dictionary" in options and "dictionary" not in self.store_options:
            del options["dictionary"]  # It would be there in plain text.
            lost.append("dictionary")
        if options.get("tags") and not able.tags:
            del options["tags"]
            lost.append("tags")
        if "storage_class" in options and options["storage_class"] not in able.storage_classes:
            del options["storage_class"]
            lost.append("storage_class")
        if if_absent and able.conditional_create:
            options["if_absent"] = True
        try:
            result = await self.provider.store(key, content.data, **options)
        except StorageError:
            await content.settled()  # That the source has changed explains more than what came of it.
            raise
        if content.digest is None and isinstance(content.data, Path):
            content.digest = await _digest_of(content.data, result)
        await content.settled()
        # A stream has its digest at its end, so that of what was stored is not recorded with it.
        as_given = result.compression is None and not result.client_side
        told = content.digest if result.digest is None and as_given else result.digest
        if verify and not (result.proved and told == content.digest):
            await self._check(key, result.etag, content, flow)
        return Written(result.etag or "", content.digest, content.tag, tuple(lost))

    def _chosen(self, options: StoreOptions) -> StoreOptions:
        """The options of the content, and instead of them what was asked for."""
        asked, chosen = self.store_options, options.copy()
        chosen.update(asked)
        if "metadata" in asked:
            chosen["metadata"] = {**options.get("metadata", NOTHING), **asked["metadata"]}
        if "dictionary" not in asked and "compress" in asked:
            chosen.pop("dictionary", None)
        return chosen

    async def _check(self, key: str, etag: str | None, content: Content, flow: Flow) -> None:
        """Read back what was stored.

        Raises:
            StoragePreconditionFailedError: Somebody else has replaced it.
            StorageIntegrityError: It is not what was read (code "COPY_DIFFERS").
        """
        digest = hashlib.sha256()
        async with self.provider.open(key) as reader:
            # Replicas have tags of their own, so another tag alone does not show another version.
            replaced = etag is not None and reader.info.etag != etag
            # Read whole, its stored bytes are compared with the digest that is recorded with them.
            bare = reader.info.compression is None and not reader.info.client_side
            known = bare and reader.info.digest == content.digest
            try:
                async for chunk in reader:
                    if not known:
                        await hash_into(digest, chunk)
            except StorageIntegrityError as error:
                if error.code == ErrorCode.DIGEST_MISMATCH:
                    raise differs() from None
                raise
        del flow
        if not known and digest.digest() != content.digest:
            if replaced:
                raise StoragePreconditionFailedError(
                    "somebody else replaced the copy before it was read back", key=key, applied="yes"
                )
            raise differs()

    async def below(self, name: str) -> int:  # noqa: ARG002 - see there
        """See `Side.below`; a store has no folders."""
        return 0

    async def make_way(self, name: str) -> None:
        """See `Side.make_way`; a store has no folders."""

    async def delete(self, entry: Entry) -> None:
        """Delete this version alone; see `Side.delete`."""
        key, etag = self.key(entry.name), strong_etag(entry.version or None)
        if etag is not None and self.provider.capabilities.conditional_delete:
            try:
                await self.provider.delete(key, if_match=etag)
            except StoragePreconditionFailedError:
                if await self.provider.get_metadata(key) is not None:
                    raise
            except StorageUnsupportedError:
                pass  # The server at this endpoint has no such condition: as with those without one.
            else:
                return
        now = await self.provider.get_metadata(key)
        if now is None:
            return
        if (now.etag or "") != entry.version or now.size != entry.size:
            raise StoragePreconditionFailedError("the object was replaced meanwhile, so it was kept", key=key)
        await self.provider.delete(key)


def entry_of(name: str, item: StorageItem) -> Entry:
    """An object of a listing."""
    modified = _seconds(item.last_modified)
    return Entry(name, item.size, modified, f"{item.etag or ''}@{modified}", item.etag or "")


def tag_as_listed(entry: Entry, etag: str | None) -> str:
    """The tag of what was read: that of the listing, unless it is another version by now."""
    return entry.tag if (etag or "") == entry.version else ""


def modified_of(item: StorageItem) -> int | None:
    """When the content was made, Unix nanoseconds: as recorded, else when it was stored."""
    recorded = mtime_of((item.metadata or NOTHING).get(MTIME))
    if recorded is not None or item.last_modified is None:
        return recorded
    whole = item.last_modified.replace(microsecond=0)
    return int(whole.timestamp()) * _NS + item.last_modified.microsecond * 1000


def with_mtime(item: StorageItem) -> Mapping[str, str]:
    """The user's metadata, with the time that the copy could not have otherwise."""
    metadata, modified = dict(item.metadata or NOTHING), modified_of(item)
    if MTIME not in metadata and modified is not None:
        metadata[MTIME] = mtime_text(modified)
    return metadata


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


async def _digest_of(file: Path, result: StorageResult) -> bytes:
    """SHA-256 of a file that was stored."""
    if result.digest is not None and result.compression is None and not result.client_side:
        return result.digest
    digest = hashlib.sha256()
    async for chunk in pieces_of(file):
        await hash_into(digest, chunk)
    return digest.digest()


async def _watched(
    reader: ObjectReader[StorageItem], flow: Flow, content: Content
) -> AsyncGenerator[bytes, None]:
    digest = hashlib.sha256()
    async for chunk in reader:
        await hash_into(digest, chunk)
        await flow(len(chunk))
        yield chunk
    content.digest = digest.digest()


async def _nothing_more() -> None:
    """What a store serves is of one version, or an error."""
