"""What the machine has and tests must not use."""

import os
import signal


def without_proxies() -> None:
    """Speak with this machine alone, whatever proxy it has for the rest of the world."""
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[variable]


def with_signals() -> None:
    """Hear Ctrl-C also where a shell has started the tests in the background, which ignores it for all children."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
