"""A null S3: nginx with WebDAV on loopback, which stores and serves files and checks nothing.

A multipart upload is started and completed by fixed responses, its parts overwrite each other; a listing is
100 pages of 1,000 keys, written in advance.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    default_type application/xml;
    map $args $page {{ default 0; "~continuation-token=(?<token>[0-9]+)" $token; }}
    client_body_temp_path {place}/body;
    client_body_buffer_size 1m;
    client_max_body_size 0;
    keepalive_requests 100000000;
    server {{
        listen 127.0.0.1:{port} {listen} backlog=4096;
        {tls}
        root {place}/root;
        rewrite_log off;
        location /pages/ {{ }}
        location / {{
            if ($args ~ "list-type=2") {{ rewrite ^ /pages/$page break; }}
            if ($args ~ "^uploads") {{ return 200 "{started}"; }}
            if ($request_method = POST) {{ return 200 "{completed}"; }}
            dav_methods PUT DELETE;
            create_full_put_path on;
            # S3 responds to a write with an etag, WebDAV does not.
            if ($request_method = PUT) {{
                add_header ETag '"9e107d9d372bb6826bd81d3542a419d6"' always;
            }}
        }}
    }}
}}
"""
_STARTED = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
_COMPLETED = (
    "<CompleteMultipartUploadResult><ETag>9e107d9d372bb6826bd81d3542a419d6-1</ETag>"
    "</CompleteMultipartUploadResult>"
)
_TLS = "ssl_certificate {file}; ssl_certificate_key {file}; ssl_session_cache shared:s:1m;"
PAGES, PAGE = 100, 1000
LARGE = 256 * 1024 * 1024
"""Bytes of the object `large`, which exists for reads."""


@contextmanager
def running_null_s3(certificate: str | None = None) -> Iterator[str]:
    """Serve until the block ends.

    Args:
        certificate: File of a certificate and its key, to speak TLS.

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
        _write_pages(Path(place) / "root" / "pages")
        (Path(place) / "root" / BUCKET / "large").write_bytes(bytes(LARGE))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        user = "user root;" if os.geteuid() == 0 else ""
        config = Path(place) / "nginx.conf"
        tls = "" if certificate is None else _TLS.format(file=certificate)
        config.write_text(
            _CONFIG.format(
                place=place,
                port=port,
                user=user,
                tls=tls,
                listen="ssl" if tls else "",
                started=_STARTED,
                completed=_COMPLETED,
            )
        )
        process = subprocess.Popen([nginx, "-c", str(config), "-p", place], stderr=subprocess.DEVNULL)
        url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        try:
            _wait_for(port, process)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _write_pages(place: Path) -> None:
    place.mkdir()
    entry = (
        "<Contents><Key>k{:06}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
        "<ETag>&quot;9e107d9d372bb6826bd81d3542a419d6&quot;</ETag><Size>4096</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )
    for page in range(PAGES):
        entries = "".join(entry.format(page * PAGE + number) for number in range(PAGE))
        more = f"<NextContinuationToken>{page + 1}</NextContinuationToken>" if page + 1 < PAGES else ""
        (place / str(page)).write_text(
            f"<ListBucketResult><Name>{BUCKET}</Name><Prefix></Prefix><KeyCount>{PAGE}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{'true' if more else 'false'}</IsTruncated>"
            f"{more}{entries}</ListBucketResult>"
        )


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise SystemExit("nginx did not start")
