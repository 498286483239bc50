# What credstore uses of a package without types.

import os

def stringify_path(filepath: str | os.PathLike[str] | list[str]) -> str | list[str]: ...
def other_paths(
    paths: list[str], path2: str | list[str], exists: bool = False, flatten: bool = False
) -> list[str]: ...
