"""What a provider says of its own calls; part of `StorageProvider`."""

from __future__ import annotations

from credstore.metrics import ProviderMetrics
from credstore.provider.session import Session


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
