"""`ProofLog` logs what a proof store signs, and verifies what is logged.

Rules of this file: a proof is made from the published files, which are verified like another's.
"""

from __future__ import annotations

import asyncio

from credstore.arguments import typed_class
from credstore.errors import StorageConfigurationError, StorageError
from credstore.proofs.format.dsse import Envelope
from credstore.proofs.format.logged import Logged, LogPart, StatementLog
from credstore.proofs.log.client import LogClient
from credstore.proofs.log.log_check import LogCheck
from credstore.proofs.log.memory import LogMemory
from credstore.proofs.log.policy import LogPolicy
from credstore.proofs.log.sequencer import LogSequencer


@typed_class
class ProofLog(StatementLog):
    """The log of a proof store: what `ProofStore(log=...)` takes.

    Attributes:
        policy: Which logs count, and how many witnesses it takes.
    """

    def __init__(
        self,
        policy: LogPolicy,
        *,
        sequencer: LogSequencer | None = None,
        memory: LogMemory | None = None,
    ) -> None:
        """Believe these logs, and write one of them.

        Args:
            policy: Which logs count, and how many witnesses it takes.
            sequencer: Of the log to write; not closed here. Without one, logged proofs are only checked.
            memory: Keeps the last state that was read, so that a fork is found.

        Raises:
            StorageConfigurationError: The policy does not have the log that is to be written, or not its key.
        """
        if sequencer is not None and not {*sequencer.keys} & {*policy.log_keys}:
            named = any(key.name == sequencer.origin for key in policy.log_keys)
            raise StorageConfigurationError(
                f"the policy has another key for the log {sequencer.origin!r} than the one that writes it"
                if named
                else f"the policy does not have the log {sequencer.origin!r} that is to be written"
            )
        self.policy = policy
        self._check = LogCheck(policy)
        self._sequencer = sequencer
        self._client = None if sequencer is None else LogClient(sequencer.fetch, policy=policy, memory=memory)
        self._turn = asyncio.Lock()
        self._size = 0

    @property
    def writes(self) -> bool:
        """Whether there is a sequencer."""
        return self._sequencer is not None

    def check(self, part: LogPart, envelope: Envelope, /) -> Logged | None:
        """As `LogCheck`."""
        return self._check(part, envelope)

    async def ready(self) -> None:
        """Look whether the log may be written; without a sequencer there is nothing to look at.

        Raises:
            LogError: As `LogSequencer.check`.
            StorageError: The log cannot be read now.
        """
        if self._sequencer is not None:
            await self._sequencer.check()

    async def record(self, statement: bytes, /) -> LogPart:
        """Log a signed statement, and prove that it is there.

        Raises:
            StorageConfigurationError: There is no sequencer.
            ProofError: The statement does not verify, or the log does not.
            StorageError: It may or may not be in the log.
        """
        sequencer, client = self._writer()
        (index,) = await sequencer.append([statement])
        async with self._turn:  # One reads the new state, and all others of a batch have it then.
            if index >= self._size:
                self._size = (await client.checkpoint()).signed.checkpoint.size
            proof = await client.prove(index)
            entry = await client.entry(index)
        try:
            return LogPart(entry, proof.decode())
        except UnicodeDecodeError:
            raise StorageError("the log's checkpoint is not text") from None

    def _writer(self) -> tuple[LogSequencer, LogClient]:
        if self._sequencer is None or self._client is None:
            raise StorageConfigurationError("this log is only read; give it a sequencer to write")
        return self._sequencer, self._client
