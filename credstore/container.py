"""`Container`: what an application opens when it starts and closes when it ends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Self, Unpack

from credstore.arguments import typed_class
from credstore.config.env_file import with_env_file
from credstore.errors import ErrorCode, StorageInvalidRequestError
from credstore.factory import StorageFactory
from credstore.provider.provider import StorageProvider
from credstore.provider.session import ProviderOptions


@typed_class
class Container:
    """The services of one application, all from one reading of the environment.

    For FastAPI lifespans, aiohttp cleanup contexts and workers:

        async with Container() as container:
            provider = container.storage_provider()

    It reads the environment when it is made, builds each service when it is first asked for, and
    closes all of them when it ends. It belongs to the event loop that uses it.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        env_file: str | os.PathLike[str] | None = None,
        **options: Unpack[ProviderOptions],
    ) -> None:
        """Copy the environment; nothing is opened yet.

        Args:
            environ: Variables by name; `os.environ` unless given.
            env_file: A file of variables (`.env`), for what the environment does not have.
            options: Of the provider; see `ProviderOptions`.

        Raises:
            StorageConfigurationError: The file cannot be read, or a line of it is not `NAME=value`.
        """
        variables = with_env_file(os.environ if environ is None else environ, env_file)
        self._environ = MappingProxyType(dict(variables))
        self._factory = StorageFactory(environ=self._environ, **options)
        self._provider: StorageProvider | None = None
        self._closed = False

    def storage_provider(self) -> StorageProvider:
        """The store that the environment describes; the same one every time.

        Raises:
            StorageConfigurationError: A setting is missing, unknown or contradictory; the message
                names the variable.
            StorageInvalidRequestError: The container is closed.
        """
        if self._closed:
            raise StorageInvalidRequestError(
                "this container is closed; open a new one", code=ErrorCode.CLOSED
            )
        if self._provider is None:
            self._provider = self._factory.from_env()
        return self._provider

    async def aclose(self) -> None:
        """Close everything that was opened; safe to call again."""
        self._closed = True
        provider, self._provider = self._provider, None
        if provider is not None:
            await provider.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Container ({state})>"
