"""What the log commands share: options, policies, and the readers and writers of a command."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from credstore.cli.options import Invocation
from credstore.cli.proof_files import naming, read_note_signer, read_whole
from credstore.cli.runner import open_store, run_loop
from credstore.errors import StorageConfigurationError, StorageError

if TYPE_CHECKING:
    from credstore.proofs.log import LogClient, LogHttp, LogMemory, LogObjects, LogPolicy
    from credstore.proofs.log.note import NoteSigner

T = TypeVar("T")
_FILES = ("tile/", "index/")
LARGEST_POLICY = 1024 * 1024
MLDSA_KIND = 6

KEY = click.option(
    "--key",
    "key_file",
    metavar="FILE",
    envvar="CREDSTORE_LOG_KEY",
    required=True,
    help="Private Ed25519 key in PEM, which signs nothing else; or CREDSTORE_LOG_KEY.",
)
MLDSA_KEY = click.option(
    "--mldsa-key",
    metavar="FILE",
    envvar="CREDSTORE_LOG_MLDSA_KEY",
    help="A second key, ML-DSA-44, under each checkpoint; or CREDSTORE_LOG_MLDSA_KEY.",
)
ORIGIN = click.option(
    "--origin",
    metavar="NAME",
    envvar="CREDSTORE_LOG_ORIGIN",
    required=True,
    help="Name of the log, such as log.example.com/proofs, for ever; or CREDSTORE_LOG_ORIGIN.",
)


Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def prefix_option(*names: str) -> Option:
    """The option that says where the log is in the store."""
    return click.option(
        *names, metavar="PREFIX", default="log/v1/", show_default=True, help="Where the log is in the store."
    )


def policy_option(*names: str) -> Option:
    """The option that says which logs and witnesses count."""
    return click.option(
        *names,
        metavar="FILE",
        envvar="CREDSTORE_LOG_POLICY",
        help="Which logs and witnesses count (c2sp.org/tlog-policy); or CREDSTORE_LOG_POLICY.",
    )


def memory_option(*names: str) -> Option:
    """The option that says where the last states are remembered."""
    return click.option(
        *names,
        metavar="FOLDER",
        envvar="CREDSTORE_LOG_MEMORY",
        help="Remembers the last state, to find forks and restored backups; or CREDSTORE_LOG_MEMORY.",
    )


PREFIX = prefix_option("--prefix")
BUNDLED = click.option(
    "--bundled",
    is_flag=True,
    envvar="CREDSTORE_LOG_BUNDLED",
    help="Proofs are the entries of the log, without objects of their own; or CREDSTORE_LOG_BUNDLED=1.",
)
POLICY = policy_option("--policy", "policy_file")
LOG = click.option(
    "--log", "vkeys", metavar="VKEY", multiple=True, help="The log's vkey, instead of a policy."
)
URL = click.option("--url", metavar="URL", help="Where the log is served, instead of the store.")
MEMORY = memory_option("--memory", "memory_folder")


def now() -> datetime:
    """The current time."""
    return datetime.now(UTC)


def read_policy(policy_file: str | None, vkeys: tuple[str, ...]) -> LogPolicy:
    """The policy in a file, or that of whoever trusts these logs without witnesses.

    Raises:
        click.UsageError: There is neither, or both, or the file cannot be read.
        StorageConfigurationError: It is not a policy.
    """
    from credstore.proofs.log import parse_log_policy, sole_policy

    if (policy_file is None) == (not vkeys):
        raise click.UsageError("name the logs that count with either --policy or --log")
    if policy_file is None:
        return sole_policy(*vkeys)
    with naming(policy_file):
        return parse_log_policy(read_whole(policy_file, LARGEST_POLICY))


def log_signer(key_file: str, name: str, *, cosigns: bool = False) -> NoteSigner:
    """The private key in a file, as that of a log or witness.

    Raises:
        click.UsageError: It cannot be read.
        StorageConfigurationError: Not such a key, or not a name.
    """
    from credstore.proofs.log import seed_signer

    seed_signer(name, bytes(32))  # Here, as a wrong name has nothing to do with the file.
    with naming(key_file):
        return read_note_signer(key_file, name, cosigns=cosigns)


def cosigners(key_file: str | None, origin: str) -> tuple[NoteSigner, ...]:
    """The log's second key, for checkpoints, if there is one.

    Raises:
        click.UsageError: It cannot be read.
        StorageConfigurationError: Not an ML-DSA-44 key.
    """
    if key_file is None:
        return ()
    found = log_signer(key_file, origin, cosigns=True)
    if found.key.kind != MLDSA_KIND:
        raise StorageConfigurationError("the second key of a log is an ML-DSA-44 key", key=key_file)
    return (found,)


def memory_of(folder: str | None) -> LogMemory | None:
    """What is remembered in a folder, or None."""
    from credstore.proofs.log import LogMemory

    return None if folder is None else LogMemory(folder)


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """A log to read.

    Attributes:
        client: Reads it.
        http: For its witnesses.
        memory: Remembers the last states, or None.
        objects: Of a log in the store; None for one at a URL.
    """

    client: LogClient
    http: LogHttp
    memory: LogMemory | None
    objects: LogObjects | None


@asynccontextmanager
async def http(timeout: float | None = None) -> AsyncGenerator[LogHttp, None]:  # noqa: ASYNC109 - of a request
    """A client that is closed at the end, with seconds for one request."""
    from credstore.proofs.log import LogHttp

    async with LogHttp() if timeout is None else LogHttp(timeout=timeout) as client:
        yield client


def with_log(
    invocation: Invocation,
    action: Callable[[OpenedLog], Awaitable[T]],
    *,
    policy: LogPolicy,
    url: str | None,
    prefix: str,
    memory_folder: str | None,
    writing: bool = False,
) -> T:
    """Open a log to read, act on it, close it.

    Args:
        invocation: Names the store.
        action: What to do.
        policy: Which logs count.
        url: Where it is served, or None for the store.
        prefix: Where it is in the store.
        memory_folder: Remembers the last state, or None.
        writing: Whether something next to it is written, too.

    Raises:
        StorageError: As `action`.
    """
    from credstore.proofs.log import LogClient, LogObjects

    memory = memory_of(memory_folder)

    async def work() -> T:
        async with http(invocation.timeout) as client:
            if url is not None:
                with _placing(url.rstrip("/") + "/"):
                    reader = LogClient(client.fetch(url), policy=policy, memory=memory)
                    return await action(OpenedLog(reader, client, memory, None))
            async with open_store(invocation, reading=not writing) as provider:
                with _placing(prefix):
                    objects = LogObjects(provider, prefix)
                    reader = LogClient(objects.fetch, policy=policy, memory=memory)
                    return await action(OpenedLog(reader, client, memory, objects))

    return run_loop(work())


@contextmanager
def _placing(where: str) -> Generator[None, None, None]:
    """Make errors about a file of the log say where the log is."""
    from credstore.proofs import LogError

    try:
        yield
    except LogError as error:
        if error.key is not None and (error.key == "checkpoint" or error.key.startswith(_FILES)):
            error.key = where + error.key
        raise


async def has_index(objects: LogObjects) -> bool:
    """Whether a log has whole proofs as its entries, as far as can be seen: whether it has an index."""
    with suppress(StorageError):
        return bool(await objects.names("index/", 1))
    return False


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things, in words."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def random_bytes(count: int) -> bytes:
    """From the system."""
    return os.urandom(count)
