"""What the machine has and tests must not use."""

import os


def without_proxies() -> None:
    """Speak with this machine alone, whatever proxy it has for the rest of the world."""
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[variable]
