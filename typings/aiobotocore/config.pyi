# What credstore uses of a package without types.

from collections.abc import Mapping

class AioConfig:
    def __init__(
        self, *, connect_timeout: float, read_timeout: float, retries: Mapping[str, object]
    ) -> None: ...
