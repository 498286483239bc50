"""`credstore.sync.connect`, and the store that it returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from credstore import factory
from credstore.errors import StorageObjectNotFoundError
from credstore.factory import StoreSpec
from credstore.model import StorageItem, StorageResult, StoreOptions
from credstore.provider.provider import StorageProvider
from credstore.provider.session import ProviderOptions
from credstore.sync.loop import LoopThread
from credstore.sync.verbs import BlockingVerbs


def connect(
    store: StoreSpec | os.PathLike[str] | None = None,
    *,
    env_file: str | os.PathLike[str] | None = None,
    read_only: bool = False,
    **options: Unpack[ProviderOptions],
) -> BlockingStore:
    """A store whose verbs wait, to be used with `with` or closed with `close()`.

    Args:
        store: As for `credstore.connect`.
        env_file: As for `credstore.connect`.
        read_only: Refuse whatever would change the store.
        options: See `ProviderOptions`. Observers and the `progress` of a call are called in the store's own
            thread, and cannot call the store.

    Raises:
        StorageConfigurationError: A setting is missing, unknown or contradictory.
    """
    return BlockingStore(lambda: factory.connect(store, env_file=env_file, read_only=read_only, **options))


class BlockingStore(BlockingVerbs):
    """A store whose verbs wait; any number of threads may use it at a time.

    It has a thread with an event loop of its own, from when it is made until it is closed, or until the
    program ends. It belongs to its process: after a fork, make a new one (otherwise a
    `StorageInvalidRequestError` with the code "FORKED"). Ctrl-C cancels the call that is waited for,
    which leaves nothing behind.
    """

    def __init__(self, make: Callable[[], StorageProvider]) -> None:
        """Open it; nothing is sent yet.

        Args:
            make: Makes the provider; called again by `connect` after a `disconnect`.

        Raises:
            StorageError: As `make`.
        """
        self._make = make
        self._provider = make()
        self._thread = LoopThread(self._provider.aclose)

    def close(self) -> None:
        """Wait for the calls in progress, then release everything; safe to call again.

        Raises:
            StorageInvalidRequestError: It was made before this process was forked ("FORKED").
        """
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._thread.closed else "open"
        return f"<{type(self).__name__} {self._provider.get_provider_name()} ({state})>"

    def connect(self) -> Self:
        """Open it again where it was closed; a word of the original design.

        Raises:
            StorageError: As when it was made.
        """
        if self._thread.closed:
            self._provider = self._make()
            self._thread = LoopThread(self._provider.aclose)
        return self

    def disconnect(self) -> None:
        """The same as `close`; a word of the original design."""
        self.close()

    def upload(
        self, path: str | os.PathLike[str], key: str, **options: Unpack[StoreOptions]
    ) -> StorageResult:
        """Store a file of this machine; see `StorageProvider.store`.

        Args:
            path: Of the file.
            key: Of the object.
            options: See `StoreOptions`.

        Raises:
            StorageInvalidRequestError: The file cannot be read; nothing was sent.
            StorageError: As `StorageProvider.store`.
        """
        return self.store(key, Path(path), **options)

    def download(self, key: str, path: str | os.PathLike[str]) -> StorageItem:
        """Write an object into a file, whole or not at all; see `StorageProvider.retrieve_to`.

        Args:
            key: Of the object.
            path: Of the file, which is replaced if it is there.

        Raises:
            StorageNotFoundError: There is no such object; no file was made.
            StorageError: As `StorageProvider.retrieve_to`.
        """
        return self.retrieve_to(key, path)

    def list_files(self, prefix: str = "") -> list[str]:
        """The keys that start with a prefix, in their order.

        Args:
            prefix: "" for all.

        Raises:
            StorageError: As `StorageProvider.list`.
        """
        return [item.key for item in self.scan(prefix)]

    def get_file_size(self, key: str) -> int:
        """How many bytes `retrieve` returns, where the object says so, or else how many are stored.

        Args:
            key: Of the object.

        Raises:
            StorageNotFoundError: There is no such object.
            StorageError: As `StorageProvider.get_metadata`.
        """
        item = self.get_metadata(key)
        if item is None:
            name = self._provider.get_provider_name()
            raise StorageObjectNotFoundError(
                "there is no such object", provider=name, operation="get_file_size", key=key
            )
        return item.size if item.plain_size is None else item.plain_size
