"""A null S3: nginx with WebDAV on loopback, which stores and serves files and checks nothing."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

BUCKET = "bench"
_CONFIG = """
{user}
daemon off;
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    client_body_buffer_size 1m;
    client_max_body_size 0;
    keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {place}/root;
        location / {{
            dav_methods PUT DELETE;
            create_full_put_path on;
            # S3 answers a write with an etag, WebDAV does not.
            if ($request_method = PUT) {{
                add_header ETag '"9e107d9d372bb6826bd81d3542a419d6"' always;
            }}
        }}
    }}
}}
"""


@contextmanager
def running_null_s3() -> Iterator[str]:
    """Serve until the block ends.

    Yields:
        The endpoint; it has one bucket, `BUCKET`.
    """
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        raise SystemExit("the benchmarks need nginx; on Debian and Ubuntu: apt install nginx-light")
    # Memory, not a disk: the clients are measured.
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=base) as place:
        (Path(place) / "root" / BUCKET).mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        user = "user root;" if os.geteuid() == 0 else ""
        config = Path(place) / "nginx.conf"
        config.write_text(_CONFIG.format(place=place, port=port, user=user))
        process = subprocess.Popen([nginx, "-c", str(config), "-p", place], stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            urlopen(url).close()
        except URLError as error:
            if hasattr(error, "code"):  # It answers.
                return
        else:
            return
    raise SystemExit("nginx did not start")
