"""Runs the null S3 of `null_server.py` in a process of its own, so that only the client is measured.

It returns what was stored: bytes, `x-amz-meta-*`, ETags, multipart objects whole. A verified read hashes there as it
does on a real store, and a byte that changed is found.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.servers.certificates import make_chain

BUCKET = "bench"


class Server(NamedTuple):
    """A running server.

    Attributes:
        url: Its endpoint; it has one bucket, `BUCKET`.
        ca_file: The authority that its certificate needs, or None over HTTP.
    """

    url: str
    ca_file: str | None


@contextmanager
def running_null_s3(
    *, tls: bool = False, close: bool = False, own: bool = False, speak: str = "s3"
) -> Iterator[Server]:
    """Serve until the block ends; the process ends with it, or with this one.

    Args:
        tls: Speak HTTPS, with a certificate of an authority that only `ca_file` has.
        close: End the connection with each response to a write, so that each has to connect again.
        own: List what is kept, instead of names that never change.
        speak: "s3", or as much of "azure" or "gcs" as small objects need.
    """
    with tempfile.TemporaryDirectory() as place:
        authority, *pair = make_chain(Path(place)) if tls else (None,)
        command = [
            sys.executable,
            "-m",
            "benchmarks.null_server",
            *(["--close"] if close else ["--own"] if own else [] if speak == "s3" else [f"--{speak}"]),
            *map(str, pair),
        ]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port.isdigit():
                raise SystemExit("the null S3 did not start")
            yield Server(f"{'https' if tls else 'http'}://127.0.0.1:{port}", authority and str(authority))
        finally:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()
