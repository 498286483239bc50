from collections.abc import Callable
from typing import IO, Any

compr: dict[str | None, Callable[..., IO[bytes]]]

def __getattr__(name: str) -> Any: ...
