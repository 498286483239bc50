"""What goes to both members of a fallback alike, or to the one that has the object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from credstore.concurrency import both
from credstore.driver.contract import (
    BreaksCircuits,
    Driver,
    KeepsConnections,
    LockingDriver,
    TaggedDriver,
)
from credstore.driver.guard import Guard
from credstore.driver.refusals import (
    TAGS,
    check_legal_holds,
    check_retention_mode,
)
from credstore.driver.values import (
    DeleteOutcome,
    ReadOptions,
    VersionPage,
)
from credstore.errors import (
    RetentionMode,
    StorageError,
)
from credstore.model import CircuitState, Retention
from credstore.strategies.fallback import plan
from credstore.strategies.fallback.versions import MemberVersions
from credstore.strategies.outcomes import outcome_of


class TwoMembers(Driver):
    """Two drivers as one; what is asked where is up to the class below."""

    def __init__(self, primary: Driver, fallback: Driver, labels: tuple[str, str] | None) -> None:
        """Own both: they are closed with this driver.

        Args:
            primary: Asked first.
            fallback: Asked after it.
            labels: What they are called in `served_by`; their names, made different, unless given.
        """
        self._primary = primary
        self._fallback = fallback
        same = primary.name == fallback.name
        if labels is None:
            labels = (
                f"{primary.name} (primary)" if same else primary.name,
                f"{fallback.name} (fallback)" if same else fallback.name,
            )
        self._first, self._second = labels
        self._versions = MemberVersions((primary, fallback), (self._first, self._second))
        self._capabilities = plan.able_together(primary.capabilities, fallback.capabilities)
        self._guard = Guard("fallback")

    @property
    def labels(self) -> tuple[str, str]:
        """What the members are called in `served_by`: the primary, the fallback."""
        return self._first, self._second

    async def get_tags(self, key: str, *, deadline: float | None = None) -> Mapping[str, str]:
        """The object's tags at the member that has it; see `TaggedDriver`."""
        member = await self._tagged(key, deadline)
        return {} if member is None else await member.get_tags(key, deadline=deadline)

    async def put_tags(self, key: str, tags: Mapping[str, str], *, deadline: float | None = None) -> None:
        """Replace all tags of an object at the member that has it; see `TaggedDriver`."""
        member = await self._tagged(key, deadline)
        if member is None:
            raise TAGS.of(f"the member of {self.name} that has this object")
        await member.put_tags(key, tags, deadline=deadline)

    async def _tagged(self, key: str, deadline: float | None) -> TaggedDriver | None:
        """The member that has an object, if that member has tags."""
        info = await self.head(key, ReadOptions(deadline=deadline))
        member = self._fallback if info.served_by == self._second else self._primary
        return member if isinstance(member, TaggedDriver) else None

    async def keeps_versions(self, *, deadline: float | None = None) -> bool:
        """Whether one of the members may keep versions; see `VersionedDriver.keeps_versions`."""
        return await self._versions.kept(deadline)

    async def list_versions(
        self,
        prefix: str = "",
        cursor: str | None = None,
        *,
        exact: bool = False,
        limit: int = 1000,
        deadline: float | None = None,
    ) -> VersionPage:
        """One page of one member, the primary's first; see `VersionedDriver.list_versions`.

        Objects of a member without versions count as one version each.

        Raises:
            StorageUnsupportedError: Neither member keeps versions.
            StorageError: From a member; what it has cannot be left out.
        """
        return await self._versions.page(prefix, cursor, exact=exact, limit=limit, deadline=deadline)

    async def delete_versions(
        self, versions: Sequence[tuple[str, str]], *, deadline: float | None = None
    ) -> Mapping[tuple[str, str], DeleteOutcome | StorageError]:
        """Remove each version at the member that has it; see `VersionedDriver.delete_versions`."""
        return await self._versions.remove(versions, deadline)

    async def get_retention(
        self, key: str, version_id: str | None = None, *, deadline: float | None = None
    ) -> Retention:
        """What keeps a version at the member that has it, or an object at all that have it.

        Where both have an object, the longer retention counts, since both have to give it up.
        """
        self._guard.check(deadline)
        return await self._versions.retention(key, version_id, deadline)

    async def set_retention(
        self,
        key: str,
        retain_until: datetime | None,
        mode: RetentionMode,
        *,
        version_id: str | None = None,
        bypass_governance: bool = False,
        deadline: float | None = None,
    ) -> None:
        """Put an object under retention at every member that has it; see `LockingDriver.set_retention`.

        Raises:
            StorageError: A member that may have it cannot be asked, and nothing was changed; or, with
                `applied` "maybe", one was reached and the other was not.
        """
        self._guard.check(deadline)
        check_retention_mode(mode, self._capabilities, self.name)

        async def retain(member: LockingDriver, version: str | None) -> None:
            await member.set_retention(
                key,
                retain_until,
                mode,
                version_id=version,
                bypass_governance=bypass_governance,
                deadline=deadline,
            )

        await self._versions.lock(key, version_id, retain, deadline)

    async def set_legal_hold(
        self, key: str, *, held: bool, version_id: str | None = None, deadline: float | None = None
    ) -> None:
        """Hold an object, or release it, at every member that has it; see `set_retention`."""
        self._guard.check(deadline)
        check_legal_holds(self._capabilities, self.name)

        async def hold(member: LockingDriver, version: str | None) -> None:
            await member.set_legal_hold(key, held=held, version_id=version, deadline=deadline)

        await self._versions.lock(key, version_id, hold, deadline)

    @property
    def circuits(self) -> Mapping[str, CircuitState]:
        """The circuits of both members; see `BreaksCircuits.circuits`."""
        found: dict[str, CircuitState] = {}
        for member in (self._primary, self._fallback):
            if isinstance(member, BreaksCircuits):
                found |= member.circuits
        return found

    async def warm(self, connections: int, *, deadline: float | None = None) -> None:
        """Have connections to both members ready; see `KeepsConnections.warm`.

        Raises:
            StorageError: One of them could not be reached; both were tried.
        """
        self._guard.check(deadline)

        async def ready(member: Driver) -> None:
            if isinstance(member, KeepsConnections):
                await member.warm(connections, deadline=deadline)

        for failed in await both(outcome_of(ready(self._primary)), lambda: outcome_of(ready(self._fallback))):
            if isinstance(failed, StorageError):
                raise failed
