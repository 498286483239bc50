# What credstore uses of a package without types.

from collections.abc import Mapping

class Config:
    def __init__(self, *, s3: Mapping[str, str] | None = None) -> None: ...
