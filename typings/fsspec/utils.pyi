# What credstore uses of a package without types.

import os

def stringify_path(filepath: str | os.PathLike[str] | list[str]) -> str | list[str]: ...
