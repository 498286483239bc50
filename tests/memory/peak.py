"""How much memory this process had."""

import resource
import sys
from pathlib import Path


def peak(*, anew: bool = False) -> int:
    """KiB of memory at most since the start, or since it was counted anew.

    What `getrusage` tells on Linux begins with the peak of the process that started this one.
    """
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
