"""The static files of a transparency log, and the API of a witness, as parts of a `WebApp`."""

from __future__ import annotations

from credstore.arguments import typed_class
from credstore.proofs.log.add_checkpoint import LARGEST_REQUEST
from credstore.proofs.log.objects import LOG_PREFIX
from credstore.proofs.log.serving import LogFiles
from credstore.proofs.log.witness import TEXT, LogWitness
from credstore.provider.provider import StorageProvider
from credstore.web.app import Answer

ADD_CHECKPOINT = "/add-checkpoint"
_FOR_ALL = {"access-control-allow-origin": "*"}
"""Verifiers may run in browsers, on pages of others."""


@typed_class
class LogPart:
    """The checkpoint, tiles and bundles of a log in a store; nothing else of it is served."""

    def __init__(self, provider: StorageProvider, prefix: str = LOG_PREFIX) -> None:
        """Serve this log.

        Args:
            provider: Where it is; not closed here.
            prefix: What its keys start with.
        """
        self._files = LogFiles(provider, prefix)

    async def answer(self, path: str, query: str) -> Answer | None:
        """A file, with how long it may be cached; None where there is none.

        Raises:
            StorageError: The store failed.
        """
        del query
        found = await self._files.get(path.removeprefix("/"))
        if found is None:
            return None
        data, content_type, cached = found
        return Answer(body=data, content_type=content_type, headers={"cache-control": cached, **_FOR_ALL})


@typed_class
class WitnessPart:
    """A witness: cosigns with POST add-checkpoint, and shows what it cosigned last (c2sp.org/tlog-witness).

    Attributes:
        largest_body: Bytes of a request.
    """

    largest_body = LARGEST_REQUEST

    def __init__(self, witness: LogWitness) -> None:
        """Serve this witness."""
        self._witness = witness

    async def answer(self, path: str, query: str) -> Answer | None:
        """The checkpoint of a log that was cosigned last; None where there is none.

        Raises:
            StorageError: The store failed.
        """
        del query
        if path == ADD_CHECKPOINT:
            return Answer(status=405, body=b"add-checkpoint takes a POST.\n", headers={"allow": "POST"})
        shown = await self._witness.checkpoint(path.removeprefix("/"))
        return None if shown is None else Answer(body=shown, content_type=TEXT)

    async def post(self, path: str, body: bytes) -> Answer | None:
        """Cosign a checkpoint; None for any other path.

        Raises:
            StorageError: The store failed; nothing was cosigned.
        """
        if path != ADD_CHECKPOINT:
            return None
        made = await self._witness.add_checkpoint(body)
        return Answer(status=made.status, body=made.body, content_type=made.content_type)
