"""Places where nobody listens."""

import socket

import pytest


@pytest.fixture
def unused_url():
    """The URL of a port of this machine that refuses connections."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}"
