"""moto's S3 server in its own process, on an ephemeral loopback port."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from urllib.request import Request, urlopen

# moto checks the condition of a write and writes in two steps, and a read beside a write is now and then given
# an empty body, with a thread for each request: a real store does each in one step. So requests wait for each
# other, once the whole of their body is there.
_SERVE = """
import io, sys, threading
from moto.moto_server import threaded_moto_server as server_module
from moto.server import ThreadedMotoServer
turn = threading.Lock()
def one_at_a_time(application):
    def call(environ, start_response):
        body = environ["wsgi.input"]
        if environ.get("CONTENT_LENGTH"):
            environ["wsgi.input"] = io.BytesIO(body.read(int(environ["CONTENT_LENGTH"])))
        elif environ.get("wsgi.input_terminated"):
            environ["wsgi.input"] = io.BytesIO(body.read())
        with turn:
            return application(environ, start_response)
    return call
dispatcher = server_module.DomainDispatcherApplication
server_module.DomainDispatcherApplication = lambda *given: one_at_a_time(dispatcher(*given))
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


class MotoServer:
    """A running server.

    Attributes:
        url: Its endpoint, `http://127.0.0.1:<port>`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._numbers = count(1)

    def make_bucket(self, *, object_lock: bool = False) -> str:
        """A fresh, empty bucket; with Object Lock it keeps versions."""
        name = f"bucket-{next(self._numbers)}"
        headers = {"x-amz-bucket-object-lock-enabled": "true"} if object_lock else {}
        with urlopen(Request(f"{self.url}/{name}", method="PUT", headers=headers)):
            return name


class MotoProcess:
    """The process of one server, to be stopped, continued and killed; it ends with this one.

    Attributes:
        server: What it serves; nothing of it is left when the process ends.
    """

    def __init__(self, part_min_size: int = 256) -> None:
        """Start it, and wait until it serves.

        Args:
            part_min_size: Bytes of the smallest part but the last, far below S3's so that tests of
                multipart uploads stay small.
        """
        environ = {**os.environ, "S3_UPLOAD_PART_MIN_SIZE": str(part_min_size), "PYTHONWARNINGS": "ignore"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().decode().strip()
        if not port.isdigit():
            self.end()
            raise AssertionError('moto\'s server did not start; it comes with `pip install "moto[server]"`')
        self.server = MotoServer(f"http://127.0.0.1:{port}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Let it end, and wait for that; safe to call again."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(600)
        self._process.stdout.close()

    def kill(self) -> None:
        """End it with SIGKILL, also while it is stopped."""
        self._process.kill()
        self.end()


@contextmanager
def running_moto(part_min_size: int = 256) -> Iterator[MotoServer]:
    """Serve until the block ends; the process ends with it, or with this one.

    Args:
        part_min_size: As in `MotoProcess`.
    """
    process = MotoProcess(part_min_size)
    try:
        yield process.server
    finally:
        process.end()
