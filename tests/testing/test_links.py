"""How a check opens a link: as it stands, with what it demands, and trusting whom it is told to."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer

import pytest

from credstore.driver import SignedRequest
from credstore.errors import StorageConnectionError
from credstore.testing.links import Fetched, fetch_link
from tests.servers.certificates import make_certificate


class Echo(BaseHTTPRequestHandler):
    """Answers with the request."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        told = f"{self.command} {self.path} {self.headers.get('x-demanded')} ".encode() + body
        self.send_response(404 if "absent" in self.path else 200)
        self.send_header("X-Seen", "yes")
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else told)

    do_GET = do_HEAD = do_PUT = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        return None


@contextmanager
def serving(certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    server = TCPServer(("127.0.0.1", 0), Echo)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http{'' if certificate is None else 's'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(url: str, method="GET", body: bytes | None = None, **settings) -> Fetched:
    link = SignedRequest(url=url, method=method, expires_at=datetime.now(UTC), headers={"x-demanded": "this"})
    return asyncio.run(fetch_link(link, body, **settings))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_a_link_is_opened_as_it_stands_with_what_it_demands(method):
    body = b"data" if method == "PUT" else None
    with serving() as base:
        answer = fetch(f"{base}/a%20b/%2E%2E/c?x=%2F+y", method, body)
    told = f"{method} /a%20b/%2E%2E/c?x=%2F+y this {'data' if body else ''}".encode()
    assert (answer.status, answer.headers["x-seen"]) == (200, "yes")
    assert answer.body == (b"" if method == "HEAD" else told)


def test_a_refusal_is_an_answer_too():
    with serving() as base:
        answer = fetch(f"{base}/absent")
    assert (answer.status, answer.body) == (404, b"GET /absent this ")


def test_a_server_is_trusted_by_its_own_authority_alone(tmp_path):
    certificate = make_certificate(tmp_path)
    with serving(certificate) as base:
        assert fetch(f"{base}/key", ca_file=str(certificate[0])).status == 200
        with pytest.raises(StorageConnectionError, match=r"nothing answers the link \(SSLCert"):
            fetch(f"{base}/key")
