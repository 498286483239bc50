# What credstore uses of a package without types.

from typing import Any, Self

class Table:
    @classmethod
    def from_pandas(cls, df: Any) -> Self: ...
    def to_pandas(self) -> Any: ...
