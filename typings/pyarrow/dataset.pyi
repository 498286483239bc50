from typing import Any

from pyarrow.fs import PyFileSystem

class ParquetFileFormat:
    def make_write_options(self, **options: Any) -> Any: ...

def write_dataset(data: Any, base_dir: str, *, filesystem: PyFileSystem, **options: Any) -> None: ...
