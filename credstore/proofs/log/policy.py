"""Which logs and witnesses count, and how many witnesses it takes: c2sp.org/tlog-policy. Pure.

Rules of this file: names are octets, compared as such; a key counts once, whatever it is called; a known
key's line that does not fit refuses the whole checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

from credstore.arguments import typed, typed_class
from credstore.errors import StorageConfigurationError
from credstore.model import NOTHING
from credstore.proofs.format.errors import CheckpointError, WitnessQuorumError
from credstore.proofs.log.checkpoint import SignedCheckpoint, open_checkpoint, read_key
from credstore.proofs.log.note import (
    COSIGNATURE,
    ED25519,
    MLDSA_COSIGNATURE,
    NoteError,
    VerifierKey,
    verify_note,
)

LARGEST_POLICY = 1024 * 1024
MOST = 256
"""Maximum number of logs, of witnesses and of groups."""
NONE = "none"
_LOG_KINDS = (ED25519, MLDSA_COSIGNATURE)
_WITNESS_KINDS = (COSIGNATURE, MLDSA_COSIGNATURE)
_LATEST = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PolicyLog:
    """A log that counts.

    Attributes:
        key: Its name is the origin.
        url: Where it can be read, or None.
    """

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyWitness:
    """A witness that counts.

    Attributes:
        name: In this policy only.
        key: Its key.
        url: The prefix of its API, or None.
    """

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyGroup:
    """A group that has seen a checkpoint when `least` of its members have.

    Attributes:
        least: 1 or more.
        members: Names of witnesses and groups.
    """

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WitnessedCheckpoint:
    """A checkpoint that satisfies a policy.

    Attributes:
        signed: The checkpoint, with the log's signatures.
        witnesses: When each witness of the policy that cosigned it did, by name, UTC; None for a
            cosignature without time.
        time: The earliest time at which enough witnesses had seen it, UTC; None without witnesses, or
            where their cosignatures have no time.
    """

    signed: SignedCheckpoint
    witnesses: Mapping[str, datetime | None]
    time: datetime | None


@typed_class
@dataclass(frozen=True, slots=True)
class LogPolicy:
    """Which logs count, and how many witnesses it takes.

    Attributes:
        logs: One or more.
        witnesses: By name.
        groups: By name.
        quorum: Name of a witness or group, or "none".
    """

    logs: tuple[PolicyLog, ...]
    witnesses: Mapping[str, PolicyWitness] = field(default=NOTHING)
    groups: Mapping[str, PolicyGroup] = field(default=NOTHING)
    quorum: str = NONE

    @property
    def log_keys(self) -> tuple[VerifierKey, ...]:
        """The keys of the logs."""
        return tuple(log.key for log in self.logs)

    @typed
    def verify(self, data: bytes, *, what: str | None = None) -> WitnessedCheckpoint:
        """Check that a log has signed a checkpoint, and that enough witnesses have cosigned it.

        Args:
            data: The note.
            what: Where it comes from, for the error.

        Raises:
            CheckpointError: Not signed by its log, or a signature of a known key does not fit.
            WitnessQuorumError: Too few witnesses.
        """
        signed = open_checkpoint(data, self.log_keys, what=what)
        times = self.cosigned(signed)
        if self.quorum == NONE:
            return WitnessedCheckpoint(signed, times, None)
        satisfied, time = self._met(self.quorum, times)
        if not satisfied:
            missing = sorted(set(self.witnesses) - set(times))
            raise WitnessQuorumError(
                f"the quorum {self.quorum!r} is not met for size {signed.checkpoint.size} of "
                f"{signed.checkpoint.origin!r}; without a cosignature: {', '.join(missing)}",
                key=what,
                retryable=False,  # The same note never gets more of them.
            )
        return WitnessedCheckpoint(signed, times, time)

    def cosigned(self, signed: SignedCheckpoint) -> dict[str, datetime | None]:
        """Which witnesses have cosigned a checkpoint, with the time of each.

        Raises:
            CheckpointError: A cosignature of a known key does not fit.
        """
        names = {each.key: each.name for each in self.witnesses.values()}
        known = {(key.name, key.key_id) for key in names}
        if not any((line.name, line.key_id) in known for line in signed.note.signatures):
            return {}
        try:
            # Together with the log's, since none of the witnesses' may count here.
            found = verify_note(signed.note, [*names, *(each.key for each in signed.signatures)])
        except NoteError as error:
            raise CheckpointError(f"a cosignature cannot be used: {error}") from None
        return {names[each.key]: _instant(each.time) for each in found if each.key in names}

    @property
    def is_witnessed(self) -> bool:
        """Whether a checkpoint needs cosignatures to count, which say since when it was seen."""
        return self.quorum != NONE

    def is_met(self, names: Sequence[str]) -> bool:
        """Whether cosignatures of these witnesses are enough."""
        return self.quorum == NONE or self._met(self.quorum, dict.fromkeys(names))[0]

    def _met(self, name: str, times: Mapping[str, datetime | None]) -> tuple[bool, datetime | None]:
        """Whether a witness or group has seen it, and since when at the earliest, where known."""
        if name in self.witnesses:
            return name in times, times.get(name)
        group = self.groups[name]
        members = [self._met(each, times) for each in group.members]
        seen = [time for satisfied, time in members if satisfied]
        if len(seen) < group.least:
            return False, None
        dated = sorted(_LATEST if time is None else time for time in seen)
        time = dated[group.least - 1]
        return True, None if time == _LATEST else time


def _instant(seconds: int | None) -> datetime | None:
    """The time of a cosignature; 0 says that it makes no statement about one."""
    if not seconds:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise CheckpointError("the time of a cosignature is beyond the calendar") from None


@typed
def parse_log_policy(data: bytes) -> LogPolicy:
    """Read a policy file.

    Raises:
        StorageConfigurationError: Not a policy; the message names the line.
    """
    if len(data) > LARGEST_POLICY:
        raise StorageConfigurationError(f"a log policy has at most {LARGEST_POLICY} bytes")
    reader = _Reader()
    for number, raw in enumerate(data.split(b"\n"), 1):
        if any((each < 0x20 and each != 0x09) or each == 0x7F for each in raw):  # noqa: PLR2004 - see the format
            _refuse(number, "control characters other than tab and newline")
        words = [word for word in raw.replace(b"\t", b" ").split(b" ") if word]
        if words and not words[0].startswith(b"#"):
            # Octets that are not UTF-8 stay what they are.
            reader.read(number, [word.decode(errors="surrogateescape") for word in words])
    if reader.quorum is None:
        raise StorageConfigurationError("a log policy has one quorum line, and this one has none")
    return LogPolicy(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)


def _refuse(number: int, why: str) -> NoReturn:
    raise StorageConfigurationError(f"line {number} of the log policy: {why}")


class _Reader:
    """What has been read of a policy so far."""

    def __init__(self) -> None:
        self.logs: list[PolicyLog] = []
        self.witnesses: dict[str, PolicyWitness] = {}
        self.groups: dict[str, PolicyGroup] = {}
        self.quorum: str | None = None
        self._members: set[str] = set()
        self._verbs: dict[str, Callable[[int, list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }

    def read(self, number: int, words: list[str]) -> None:
        """Take one line.

        Raises:
            StorageConfigurationError: It is wrong.
        """
        verb = self._verbs.get(words[0])
        if verb is None:
            _refuse(number, "it starts with none of log, witness, group, quorum")
        verb(number, words[1:])
        if max(len(self.logs), len(self.witnesses), len(self.groups)) > MOST:
            _refuse(number, f"more than {MOST} of a kind")

    def _log(self, number: int, words: list[str]) -> None:
        if len(words) not in {1, 2}:
            _refuse(number, "it is not: log VKEY [URL]")
        key = self._key(number, words[0], _LOG_KINDS)
        if any(log.key.public == key.public for log in self.logs):
            _refuse(number, "the key of an earlier log")
        self.logs.append(PolicyLog(key, words[1] if words[1:] else None))

    def _witness(self, number: int, words: list[str]) -> None:
        if len(words) not in {2, 3}:
            _refuse(number, "it is not: witness NAME VKEY [URL]")
        name = self._new_name(number, words[0])
        key = self._key(number, words[1], _WITNESS_KINDS)
        if any(each.key.public == key.public for each in self.witnesses.values()):
            _refuse(number, "the key of an earlier witness")
        self.witnesses[name] = PolicyWitness(name, key, words[2] if words[2:] else None)

    def _group(self, number: int, words: list[str]) -> None:
        if len(words) < 3:  # noqa: PLR2004 - name, rule and a member
            _refuse(number, "it is not: group NAME all|any|K MEMBER...")
        name, rule, *members = words
        self._new_name(number, name)
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                _refuse(number, "a member that no earlier line defines")
            if member in self._members:
                _refuse(number, "a member that is in a group already")
            self._members.add(member)
        least = {"all": len(members), "any": 1}.get(rule, 0)
        if not least and rule.isascii() and rule.isdigit() and rule[0] != "0" and len(rule) <= len(str(MOST)):
            least = int(rule)
        if not 1 <= least <= len(members):
            _refuse(number, f"the rule is not all, any, or a number from 1 to {len(members)}")
        self.groups[name] = PolicyGroup(least, tuple(members))

    def _quorum(self, number: int, words: list[str]) -> None:
        if self.quorum is not None:
            _refuse(number, "a second quorum")
        if len(words) != 1:
            _refuse(number, "it is not: quorum NAME")
        if words[0] != NONE and words[0] not in self.witnesses and words[0] not in self.groups:
            _refuse(number, "a name that no earlier line defines")
        self.quorum = words[0]

    def _new_name(self, number: int, name: str) -> str:
        if name == NONE or name in self.witnesses or name in self.groups:
            _refuse(number, "a name that is taken")
        return name

    def _key(self, number: int, vkey: str, kinds: Sequence[int]) -> VerifierKey:
        try:
            return read_key(vkey, kinds)
        except StorageConfigurationError as error:
            _refuse(number, error.message)


@typed
def sole_policy(*vkeys: str) -> LogPolicy:
    """The policy of whoever trusts a log without witnesses.

    Args:
        vkeys: The keys of the log, or of several.

    Raises:
        StorageConfigurationError: Not vkeys of logs.
    """
    if not vkeys:
        raise StorageConfigurationError("name the vkey of a log")
    return LogPolicy(tuple(PolicyLog(read_key(each, _LOG_KINDS)) for each in vkeys))
