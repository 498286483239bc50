"""An event loop without sockets, threads and waiting: its time is what timers are set for."""

import asyncio


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs at once to the next timer; where there is none and nothing can go on, it says so."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self
        self._now = 0.0

    def time(self) -> float:
        """Seconds since it was made."""
        return self._now

    def select(self, timeout: float | None):
        """What a selector does: here, let the time pass until the next timer."""
        if timeout is None:
            raise RuntimeError("all tasks wait, and nothing can ever wake them")
        self._now += timeout
        return ()

    def _process_events(self, events):
        assert events == ()
