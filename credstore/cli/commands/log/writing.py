"""`credstore log init`, `append` and `vkey`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from credstore.cli.commands.log.shared import (
    BUNDLED,
    KEY,
    MEMORY,
    MLDSA_KEY,
    ORIGIN,
    POLICY,
    PREFIX,
    cosigners,
    counted,
    has_index,
    http,
    log_signer,
    memory_of,
    now,
    random_bytes,
    read_policy,
)
from credstore.cli.options import Invocation, command
from credstore.cli.output import note, print_json, printable, say, say_row
from credstore.cli.proof_files import (
    TRUST,
    create_private,
    naming,
    new_passphrase,
    read_trust,
    read_whole,
)
from credstore.cli.runner import open_store, run_loop
from credstore.errors import StorageAlreadyExistsError

if TYPE_CHECKING:
    from credstore.proofs.log import LogObjects, LogPolicy, LogSequencer
    from credstore.proofs.log.entry import Admission

T = TypeVar("T")
LARGEST_STATEMENT = 4 * 1024 * 1024
_LOCK = "lock"


def _with_sequencer(
    invocation: Invocation,
    action: Callable[[LogSequencer, LogObjects], Awaitable[T]],
    *,
    key_file: str,
    origin: str,
    mldsa_key: str | None,
    prefix: str,
    memory_folder: str | None,
    admission: Admission,
    policy: LogPolicy | None,
    bundled: bool = False,
) -> T:
    """Open the log of the store to write, act on it, close it."""
    from credstore.proofs.log import LogIndex, LogObjects, LogSequencer, WitnessGroup

    signer, memory = log_signer(key_file, origin), memory_of(memory_folder)
    seconds = cosigners(mldsa_key, origin)

    async def work() -> T:
        async with http(invocation.timeout) as client, open_store(invocation) as provider:
            objects = LogObjects(provider, prefix)
            group = None if policy is None else WitnessGroup(policy, client, memory=memory, objects=objects)
            async with LogSequencer(
                provider,
                signer=signer,
                admission=admission,
                clock=now,
                randomness=random_bytes,
                prefix=prefix,
                cosigners=seconds,
                memory=memory,
                cosign=None if group is None else group.cosign,
                index=LogIndex(objects) if bundled else None,
                max_wait=0.0,
            ) as sequencer:
                return await action(sequencer, objects)

    return run_loop(work())


@command("init")
@KEY
@MLDSA_KEY
@ORIGIN
@PREFIX
@MEMORY
@click.pass_obj
def init_command(
    invocation: Invocation,
    *,
    key_file: str,
    mldsa_key: str | None,
    origin: str,
    prefix: str,
    memory_folder: str | None,
) -> None:
    """Make an empty log in the store, once, and show its vkey.

    The store has to be a single one whose conditional writes are proved. A log that exists is never started
    again, and one whose lock was lost is refused.
    """
    from credstore.proofs import TrustStore
    from credstore.proofs.log import StatementAdmission

    async def action(sequencer: LogSequencer, objects: LogObjects) -> None:
        await _refuse_namesakes(objects, origin)
        await sequencer.create()

    _with_sequencer(
        invocation,
        action,
        key_file=key_file,
        origin=origin,
        mldsa_key=mldsa_key,
        prefix=prefix,
        memory_folder=memory_folder,
        admission=StatementAdmission(TrustStore(1, ()), clock=now),
        policy=None,
    )
    keys = [log_signer(key_file, origin), *cosigners(mldsa_key, origin)]
    _show_vkeys(invocation, [each.key.encode() for each in keys])


async def _refuse_namesakes(objects: LogObjects, origin: str) -> None:
    """Refuse a second log of one name in the store, as far as its first 1,000 names and the usual place show.

    Raises:
        StorageAlreadyExistsError: There is one at another prefix.
        StorageError: The store failed.
    """
    from credstore.proofs.log import LogObjects

    provider = objects.provider
    first = [item.key for item in await provider.list("", 1000)]
    places = {
        LogObjects(provider).prefix,
        *(key.removesuffix(_LOCK) for key in first if key.endswith("/lock")),
    }
    for place in sorted(places - {objects.prefix}):
        data = await LogObjects(provider, place).fetch(_LOCK, LARGEST_STATEMENT) or b""
        if data.split(b"\n")[1:2] == [f"origin {origin}".encode()]:
            raise StorageAlreadyExistsError(
                f"the store has the log {origin!r} already; a second one of the same name would contradict "
                "it, so give this one another --origin and key",
                key=place + _LOCK,
            )


@command("append")
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--inbox", is_flag=True, help="Log what other processes have left in the inbox, too.")
@click.option("--submit", is_flag=True, help="Leave the statements in the inbox, for whoever sequences.")
@KEY
@MLDSA_KEY
@ORIGIN
@TRUST
@PREFIX
@MEMORY
@POLICY
@BUNDLED
@click.pass_obj
def append_command(
    invocation: Invocation,
    *,
    files: tuple[str, ...],
    inbox: bool,
    submit: bool,
    key_file: str,
    mldsa_key: str | None,
    origin: str,
    trust_file: str,
    prefix: str,
    memory_folder: str | None,
    policy_file: str | None,
    bundled: bool,
) -> None:
    """Log signed statements, each a file with a DSSE envelope or a proof bundle, and show their indices.

    An index that is shown is final. Without files, what an earlier run left unfinished is finished. With a
    policy, checkpoints are published once its quorum of witnesses has cosigned them. With --bundled a
    statement of up to 16 KiB is logged whole, so that proof get and find --bundled show it.
    """
    from credstore.proofs.log import StatementAdmission, WholeAdmission
    from credstore.proofs.log.entry import is_whole

    policy = None if policy_file is None else read_policy(policy_file, ())
    statements = [_statement(read_whole(name, LARGEST_STATEMENT)) for name in files]
    admission = (WholeAdmission if bundled else StatementAdmission)(read_trust(trust_file), clock=now)
    for name, statement in zip(files, statements, strict=True):
        with naming(name):  # Here, so that what is wrong says with which file.
            _, entry = admission(statement)
        if bundled and not is_whole(entry):
            raise click.UsageError(
                f"{name}: more than 16 KiB, which is too large for an entry; issue it with --log --bundled"
            )

    async def action(
        sequencer: LogSequencer, objects: LogObjects
    ) -> tuple[list[int], list[str], tuple[int, int], int]:
        if not (bundled or submit or invocation.quiet) and await has_index(objects):
            note("credstore: this log has whole proofs; without --bundled only digests are logged")
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
        mldsa_key=mldsa_key,
        prefix=prefix,
        memory_folder=memory_folder,
        admission=admission,
        policy=policy,
        bundled=bundled,
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
        say_row(str(result), file, elastic=1)
    if not (files or inbox or invocation.quiet):
        note(f"credstore: the log has {counted(size, 'entry', 'entries')}; name files to log more")
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
    signer = log_signer(key_file, name, cosigns=witness)
    _show_vkeys(invocation, [signer.key.encode()])


def _show_vkeys(invocation: Invocation, vkeys: list[str]) -> None:
    if invocation.json:
        print_json({"vkey": vkeys[0]} | ({"mldsa_vkey": vkeys[1]} if vkeys[1:] else {}))
        return
    for vkey in vkeys:
        say(vkey)


@command("keygen")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option(
    "--scheme",
    type=click.Choice(["ed25519", "ml-dsa-44"]),
    default="ed25519",
    show_default=True,
    help="A log needs an Ed25519 key; ML-DSA-44 is for its second one, and for witnesses.",
)
@click.option(
    "--passphrase",
    is_flag=True,
    help="Encrypt the key: with CREDSTORE_PROOF_PASSPHRASE, else with a passphrase that is asked for.",
)
@click.pass_obj
def keygen_command(invocation: Invocation, *, file: str, scheme: str, passphrase: bool) -> None:
    """Make the private key of a log or witness in the new FILE (PEM, mode 0600); it is never replaced."""
    from credstore.proofs.log import generate_note_key

    if Path(file).exists() or Path(file).is_symlink():
        create_private(file, b"")  # Refused, before anyone is asked for a passphrase.
    create_private(file, generate_note_key(scheme, new_passphrase() if passphrase else None))
    if invocation.json:
        print_json({"file": file, "scheme": scheme})
    elif not invocation.quiet:
        note(f"credstore: the private key is in {printable(file)}; keep it secret, and a copy elsewhere")
