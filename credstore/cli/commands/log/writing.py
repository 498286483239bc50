"""`credstore log init`, `append` and `vkey`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from credstore.cli.commands.log.shared import (
    KEY,
    MEMORY,
    ORIGIN,
    POLICY,
    PREFIX,
    WITNESS_KIND,
    http,
    log_signer,
    memory_of,
    now,
    random_bytes,
    read_policy,
)
from credstore.cli.options import Invocation, command
from credstore.cli.output import print_json, printable, say
from credstore.cli.proof_files import TRUST, read_trust, read_whole
from credstore.cli.runner import open_store, run_loop

if TYPE_CHECKING:
    from credstore.proofs import TrustStore
    from credstore.proofs.log import LogPolicy, LogSequencer

T = TypeVar("T")
LARGEST_STATEMENT = 4 * 1024 * 1024


def _with_sequencer(
    invocation: Invocation,
    action: Callable[[LogSequencer], Awaitable[T]],
    *,
    key_file: str,
    origin: str,
    prefix: str,
    memory_folder: str | None,
    trust: TrustStore,
    policy: LogPolicy | None,
) -> T:
    """Open the log of the store to write, act on it, close it."""
    from credstore.proofs.log import LogSequencer, StatementAdmission, WitnessGroup

    signer, memory = log_signer(key_file, origin), memory_of(memory_folder)

    async def work() -> T:
        async with http() as client, open_store(invocation) as provider:
            group = None if policy is None else WitnessGroup(policy, client, memory=memory)
            async with LogSequencer(
                provider,
                signer=signer,
                admission=StatementAdmission(trust, clock=now),
                clock=now,
                randomness=random_bytes,
                prefix=prefix,
                memory=memory,
                cosign=None if group is None else group.cosign,
                max_wait=0.0,
            ) as sequencer:
                return await action(sequencer)

    return run_loop(work())


@command("init")
@KEY
@ORIGIN
@PREFIX
@MEMORY
@click.pass_obj
def init_command(
    invocation: Invocation, *, key_file: str, origin: str, prefix: str, memory_folder: str | None
) -> None:
    """Make an empty log in the store, once, and show its vkey.

    The store has to be a single one whose conditional writes are proved. A log that exists is never started
    again, and one whose lock was lost is refused.
    """
    from credstore.proofs import TrustStore

    async def action(sequencer: LogSequencer) -> None:
        await sequencer.create()

    _with_sequencer(
        invocation,
        action,
        key_file=key_file,
        origin=origin,
        prefix=prefix,
        memory_folder=memory_folder,
        trust=TrustStore(1, ()),
        policy=None,
    )
    _show_vkey(invocation, log_signer(key_file, origin).key.encode())


@command("append")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--inbox", is_flag=True, help="Log what other processes have left in the inbox, too.")
@click.option("--submit", is_flag=True, help="Leave the statements in the inbox, for whoever sequences.")
@KEY
@ORIGIN
@TRUST
@PREFIX
@MEMORY
@POLICY
@click.pass_obj
def append_command(
    invocation: Invocation,
    *,
    files: tuple[str, ...],
    inbox: bool,
    submit: bool,
    key_file: str,
    origin: str,
    trust_file: str,
    prefix: str,
    memory_folder: str | None,
    policy_file: str | None,
) -> None:
    """Log signed statements, each a file with a DSSE envelope or a proof bundle, and show their indices.

    An index that is shown is final. Without files, what an earlier run left unfinished is finished. With a
    policy, checkpoints are published once its quorum of witnesses has cosigned them.
    """
    policy = None if policy_file is None else read_policy(policy_file, ())
    statements = [_statement(read_whole(name, LARGEST_STATEMENT)) for name in files]

    async def action(sequencer: LogSequencer) -> tuple[list[int], list[str], tuple[int, int], int]:
        if submit:
            return [], [await sequencer.submit(each) for each in statements], (0, 0), 0
        size = await sequencer.recover()
        drained = await sequencer.drain() if inbox else (0, 0)
        indices = await sequencer.append(statements)
        return indices, [], drained, max([size, *(index + 1 for index in indices)])

    indices, names, drained, size = _with_sequencer(
        invocation,
        action,
        key_file=key_file,
        origin=origin,
        prefix=prefix,
        memory_folder=memory_folder,
        trust=read_trust(trust_file),
        policy=policy,
    )
    if invocation.json:
        print_json(
            {
                "indices": dict(zip(files, indices, strict=False)),
                "submitted": dict(zip(files, names, strict=False)),
                "inbox": {"logged": drained[0], "refused": drained[1]},
                "size": None if submit else size,
            }
        )
        return
    for file, result in zip(files, indices or names, strict=True):
        say(f"{result}  {printable(file)}")
    if inbox and not invocation.quiet:
        say(f"inbox: {drained[0]} logged, {drained[1]} refused")


def _statement(data: bytes) -> bytes:
    """The envelope in a file, which may be within a bundle."""
    from credstore.proofs import ProofFormatError, parse_bundle
    from credstore.proofs.format.dsse import encode_envelope

    try:
        return encode_envelope(parse_bundle(data).envelope)
    except ProofFormatError:
        return data  # The log says what is wrong with it.


@command("vkey")
@KEY
@click.option("--witness", is_flag=True, help="As the key of a witness.")
@click.option(
    "--name", metavar="NAME", envvar="CREDSTORE_LOG_ORIGIN", required=True, help="Of log or witness."
)
@click.pass_obj
def vkey_command(invocation: Invocation, *, key_file: str, witness: bool, name: str) -> None:
    """Show the public key of a log or witness as a vkey, for policies."""
    signer = log_signer(key_file, name, WITNESS_KIND if witness else 1)
    _show_vkey(invocation, signer.key.encode())


def _show_vkey(invocation: Invocation, vkey: str) -> None:
    if invocation.json:
        print_json({"vkey": vkey})
    else:
        say(vkey)
