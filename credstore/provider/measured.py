"""What a provider says of its own calls; part of `StorageProvider`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from credstore.config.settings import CommonConfig
from credstore.metrics import ProviderMetrics
from credstore.provider.session import Session

if TYPE_CHECKING:  # Prices are loaded when one is asked for.
    from credstore.prices.plan import Bill, Explanation, Facts, Verb

_READING = ("retrieve", "open")


class MeasuredVerbs:
    """The measurements of one store."""

    _session: Session

    def metrics(self) -> ProviderMetrics:
        """What the calls of this provider did so far, by verb: calls, errors, durations, bytes, requests.

        Nothing needs to be installed or switched on. `credstore.web` serves it to Prometheus, and
        `OpenTelemetryMetrics` hands it to OpenTelemetry.

        Cost: no request.
        """
        return self._session.lifetime.metrics.snapshot()

    def explain(
        self, verb: Verb, size: int, *, storage_class: str | None = None, days: float = 30.0
    ) -> Explanation:
        """Which requests an operation makes, and what it costs by the list prices of `credstore.prices`.

        Args:
            verb: "store", "retrieve", "get_metadata", "exists", "delete", "copy" or "list".
            size: Stored bytes of the object; for "list", the number of objects.
            storage_class: Of what is written; the store's default unless given.
            days: How long what is written is kept; a month unless given.

        Returns:
            The plan and the bill in US dollars. A cost is None where no price could be confirmed; `price` has
            the date and the source of the prices, and `notes` what they leave out.

        Raises:
            StorageInvalidRequestError: The verb is unknown, or a number is negative.

        Cost: no request.
        """
        from credstore.prices.plan import explained

        found = explained(self._facts(), verb, size, storage_class=storage_class, days=days)
        members = self._session.members
        if len(members) > 1:
            first = next(iter(members))
            note = f"this is what {first} does; each of the others has a plan and prices of its own"
            found = replace(found, notes=(*found.notes, note))
        return found

    def bill(self) -> Bill:
        """What the calls of this provider cost so far: requests and egress, by list prices.

        Storage is not part of it, since it depends on how long objects stay, and what a cache served is not
        either. Of several stores as one, each is billed by its own prices, for all that was sent to it, also
        repairs and what `scrub` reads: `members` has their bills.

        Cost: no request.
        """
        from credstore.prices.plan import billed, together

        configs = self._session.members
        bills = [
            billed(facts_of(configs[label], label), meter.sent, meter.egress)
            for label, meter in self._session.meters.items()
        ]
        if bills:
            return bills[0] if len(bills) == 1 else together(self._session.name, bills)
        found = self.metrics()
        verbs = [found.verbs[verb] for verb in _READING if verb in found.verbs]
        read = sum(each.bytes - each.notes.get("cache_hit_bytes", 0) for each in verbs)
        return billed(self._facts(), found.requests, max(0, read))

    def _facts(self) -> Facts:
        config = self._session.config
        return replace(facts_of(config, self._session.name), tags=self._session.capabilities.tags)


def facts_of(config: CommonConfig, label: str) -> Facts:
    """What a plan needs to know of a store."""
    from credstore.prices.plan import PART_SIZE, Facts

    return Facts(
        cloud=config.cloud,
        label=label,
        part_from=getattr(config, "multipart_threshold", None),
        part_size=getattr(config, "part_size", None) or PART_SIZE,
        dedup=config.dedup,
        cached=config.cache is not None,
    )
