# What credstore uses of a package with incomplete types.

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

_T = TypeVar("_T")

class KilledWorker(Exception): ...  # noqa: N818 - its name there

class Future(Generic[_T]):
    def __await__(self) -> Generator[Any, None, _T]: ...
    def release(self) -> None: ...

class Worker:
    address: str
    def log_event(self, topic: str, msg: Mapping[str, int]) -> None: ...

class Client:
    status: str
    def __init__(
        self,
        address: str | LocalCluster,
        *,
        asynchronous: bool,
        set_as_default: bool,
        timeout: float,
        name: str,
    ) -> None: ...
    def __await__(self) -> Generator[Any, None, Self]: ...
    def close(self) -> Awaitable[None]: ...
    def submit(
        self, func: Callable[..., _T], *args: Any, key: str, pure: bool, priority: int = 0
    ) -> Future[_T]: ...
    def cancel(self, futures: Sequence[Future[Any]], *, force: bool) -> Awaitable[None]: ...
    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        on_error: Literal["raise", "return", "ignore"] = "raise",
    ) -> Awaitable[Mapping[str, Any]]: ...
    def nthreads(self) -> Awaitable[Mapping[str, int]]: ...
    def subscribe_topic(
        self, topic: str, handler: Callable[[tuple[float, Any]], Awaitable[None]]
    ) -> None: ...
    def unsubscribe_topic(self, topic: str) -> None: ...

class LocalCluster:
    scheduler_address: str
    def __init__(self, *, asynchronous: bool, **settings: Any) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

def get_worker() -> Worker: ...
