"""What the proof commands know of a transparency log: options to log what they sign, and to require it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from credstore.cli.commands.log.shared import (
    BUNDLED,
    cosigners,
    has_index,
    http,
    log_signer,
    memory_of,
    memory_option,
    now,
    policy_option,
    random_bytes,
    read_policy,
)
from credstore.cli.commands.log.shared import prefix_option as _prefix_option
from credstore.cli.options import Invocation
from credstore.cli.output import note
from credstore.errors import StorageConfigurationError

if TYPE_CHECKING:
    from credstore.proofs import TrustStore
    from credstore.proofs.log import LogCheck, LogPolicy, ProofLog
    from credstore.provider.provider import StorageProvider

_POLICY = policy_option("--log-policy")
_MEMORY = memory_option("--log-memory")
_FOR_WRITING = ("log_key", "log_mldsa_key", "log_origin")
_WRITING = (
    click.option("--log", "writes", is_flag=True, help="Also log it in the log of the store."),
    click.option(
        "--log-key",
        metavar="FILE",
        envvar="CREDSTORE_LOG_KEY",
        help="Private key of the log; or CREDSTORE_LOG_KEY.",
    ),
    click.option(
        "--log-origin",
        metavar="NAME",
        envvar="CREDSTORE_LOG_ORIGIN",
        help="Name of the log; or CREDSTORE_LOG_ORIGIN.",
    ),
    click.option(
        "--log-mldsa-key",
        metavar="FILE",
        envvar="CREDSTORE_LOG_MLDSA_KEY",
        help="A second key of the log; or CREDSTORE_LOG_MLDSA_KEY.",
    ),
    BUNDLED,
    _prefix_option("--log-prefix"),
    _MEMORY,
    _POLICY,
)
_REQUIRED = click.option("--require-log", is_flag=True, help="It must be shown to be in a log of the policy.")
_PLACE = (BUNDLED, _prefix_option("--log-prefix"), _MEMORY, _POLICY)


@dataclass(frozen=True, slots=True)
class LogChoice:
    """Which log to write, and whom to believe.

    Attributes:
        writes: Log what is signed.
        required: Accept only what is shown to be in a log.
        policy_file: Which logs count, or None for the one that is written.
        key_file: Private key of the log, or None.
        mldsa_key: Its second private key, or None.
        origin: Name of the log, or None.
        prefix: Where it is in the store.
        memory_folder: Remembers its last state, or None.
        bundled: The proofs of the store are the entries of its log.
    """

    writes: bool = False
    required: bool = False
    policy_file: str | None = None
    key_file: str | None = None
    mldsa_key: str | None = None
    origin: str | None = None
    prefix: str = ""
    memory_folder: str | None = None
    bundled: bool = False

    def policy(self) -> LogPolicy | None:
        """The policy in the file, or that of whoever trusts the written log; None without either.

        Raises:
            click.UsageError: A log is required, and no policy says which.
        """
        if self.policy_file is not None:
            return read_policy(self.policy_file, ())
        if self.required:
            raise click.UsageError("--require-log needs --log-policy, or CREDSTORE_LOG_POLICY")
        return None

    def check(self) -> LogCheck | None:
        """What verifies logged proofs offline, or None where no policy says how."""
        from credstore.proofs.log import LogCheck

        policy = self.policy()
        return None if policy is None else LogCheck(policy)

    async def open(
        self, stack: AsyncExitStack, provider: StorageProvider, trust: TrustStore
    ) -> ProofLog | None:
        """The log for a proof store, closed with the stack; None where nothing says which.

        Raises:
            click.UsageError: It is to be written, and its key or name is missing; or the proofs are its
                entries, and nothing says which log counts.
            StorageError: A file or a setting is wrong.
        """
        from credstore.proofs.log import (
            BundledLog,
            LogIndex,
            LogObjects,
            LogSequencer,
            ProofLog,
            StatementAdmission,
            WholeAdmission,
            WitnessGroup,
            sole_policy,
        )

        policy, memory = self.policy(), memory_of(self.memory_folder)
        objects = LogObjects(provider, self.prefix)
        if not self.writes:
            if self.bundled and policy is None:
                raise click.UsageError("--bundled needs --log-policy, or CREDSTORE_LOG_POLICY")
            if policy is None:
                return None
            return BundledLog(policy, objects=objects, memory=memory) if self.bundled else ProofLog(policy)
        if self.key_file is None or self.origin is None:
            raise click.UsageError("--log needs --log-key and --log-origin, or their environment variables")
        signer = log_signer(self.key_file, self.origin)
        cosign = None
        if policy is not None:
            client = await stack.enter_async_context(http())
            cosign = WitnessGroup(policy, client, memory=memory, objects=objects).cosign
        index = LogIndex(objects) if self.bundled else None
        sequencer = LogSequencer(
            provider,
            signer=signer,
            admission=(WholeAdmission if self.bundled else StatementAdmission)(trust, clock=now),
            clock=now,
            randomness=random_bytes,
            prefix=self.prefix,
            cosigners=cosigners(self.mldsa_key, self.origin),
            memory=memory,
            cosign=cosign,
            index=index,
            max_wait=0.0,
        )
        await stack.enter_async_context(sequencer)
        known = policy or sole_policy(signer.key.encode())
        try:
            if index is not None:
                return BundledLog(known, objects=objects, index=index, sequencer=sequencer, memory=memory)
            return ProofLog(known, sequencer=sequencer, memory=memory)
        except StorageConfigurationError as error:
            error.key = self.policy_file
            raise


async def hint_at_bundled(invocation: Invocation, provider: StorageProvider, log: LogChoice) -> None:
    """Say that a listing lacks the proofs that are entries of the log, where the store has such a log."""
    from credstore.proofs.log import LogObjects

    if (
        log.bundled
        or invocation.quiet
        or invocation.json
        or not await has_index(LogObjects(provider, log.prefix))
    ):
        return
    note("credstore: the log in this store has proofs as its entries; --bundled shows those")


def _refuse(names: Sequence[str], without: str) -> None:
    """Refuse options that were given in vain; what the environment says is for other commands, too.

    Raises:
        click.UsageError: One of them is on the command line.
    """
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} has no effect without {without}")


def writes_log(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that signs the options of a log; it gets them as `log`, a `LogChoice`."""

    @wraps(function)
    def taking(*arguments: Any, **given: Any) -> Any:
        if not given["writes"]:
            _refuse(_FOR_WRITING, "--log")
            if not given["bundled"]:
                _refuse(("log_memory",), "--log or --bundled")
        given["log"] = LogChoice(
            writes=given.pop("writes"),
            policy_file=given.pop("log_policy"),
            key_file=given.pop("log_key"),
            mldsa_key=given.pop("log_mldsa_key"),
            origin=given.pop("log_origin"),
            prefix=given.pop("log_prefix"),
            memory_folder=given.pop("log_memory"),
            bundled=given.pop("bundled"),
        )
        return function(*arguments, **given)

    return _with_options(taking, _WRITING)


def reads_log(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that reads stored proofs the options of a log; it gets them as `log`, a `LogChoice`."""
    return _with_options(_taking(function), (_REQUIRED, *_PLACE))


def lists_log(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `reads_log`, for a command that takes proofs whether they are logged or not."""
    return _with_options(_taking(function), _PLACE)


def checks_log(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that verifies bundles the options of a log; it gets them as `log`, a `LogChoice`."""
    return _with_options(_taking(function), (_REQUIRED, _POLICY))


def _taking(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def taking(*arguments: Any, **given: Any) -> Any:
        if not given.get("bundled", False):
            _refuse(("log_memory",), "--bundled")
        given["log"] = LogChoice(
            required=given.pop("require_log", False),
            policy_file=given.pop("log_policy"),
            prefix=given.pop("log_prefix", ""),
            memory_folder=given.pop("log_memory", None),
            bundled=given.pop("bundled", False),
        )
        return function(*arguments, **given)

    return taking


def _with_options(
    function: Callable[..., Any], options: Sequence[Callable[[Callable[..., Any]], Callable[..., Any]]]
) -> Callable[..., Any]:
    for option in reversed(options):
        function = option(function)
    return function
