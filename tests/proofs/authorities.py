"""Timestamping authorities of the tests: certificates made here, tokens made by OpenSSL, served on the loopback."""

import http.server
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
CONFIG = """[tsa]
serial = {place}/serial
crypto_device = builtin
default_policy = 1.2.3.4
digests = sha1, sha256, sha384, sha512
signer_digest = sha256
accuracy = secs:1
ordering = no
tsa_name = no
ess_cert_id_chain = no
"""


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(name, key, issuer, issuer_key, *, authority, days):
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """One that stamps what it is asked to; its certificates are in `roots`, `intermediates`, `certificates`."""

    def __init__(self, place, name="Authority", *, intermediate=False, days=1000):
        place.mkdir(parents=True, exist_ok=True)
        self.place = place
        root_key = issuer_key = ec.generate_private_key(ec.SECP256R1())
        root = _certificate(f"{name} root", root_key, f"{name} root", root_key, authority=True, days=5000)
        self.roots, self.intermediates, issuer = _pem(root), b"", f"{name} root"
        if intermediate:
            # Longer than the signer's, as DER sorts by length first: so the order that OpenSSL writes matters.
            issuer_key = ec.generate_private_key(ec.SECP256R1())
            issuer = f"{name} intermediate"
            made = _certificate(issuer, issuer_key, f"{name} root", root_key, authority=True, days=4000)
            self.intermediates = _pem(made)
        key = ec.generate_private_key(ec.SECP256R1())
        unit = f"{name} unit that signs tokens with a long name"
        self.certificates = _pem(_certificate(unit, key, issuer, issuer_key, authority=False, days=days))
        (place / "config").write_text(CONFIG.format(place=place))
        (place / "serial").write_text("01")
        (place / "signer").write_bytes(self.certificates)
        (place / "chain").write_bytes(self.intermediates or self.roots)
        (place / "key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self.asked = 0

    def stamp(self, query, *, chain=True):
        """The response of OpenSSL to a query (DER)."""
        self.asked += 1
        (self.place / "query").write_bytes(query)
        command = ["openssl", "ts", "-reply", "-config", "config", "-section", "tsa", "-queryfile", "query"]
        command += ["-signer", "signer", "-inkey", "key", "-out", "response"]
        if chain:
            command += ["-chain", "chain"]
        subprocess.run(command, cwd=self.place, check=True, capture_output=True)
        return (self.place / "response").read_bytes()

    def is_stamp(self, response, message):
        """Whether OpenSSL verifies a response."""
        for name, data in (("response", response), ("data", message), ("roots", self.roots)):
            (self.place / name).write_bytes(data)
        command = ["openssl", "ts", "-verify", "-in", "response", "-data", "data", "-CAfile", "roots"]
        command += ["-untrusted", "chain"]
        return subprocess.run(command, cwd=self.place, check=False, capture_output=True).returncode == 0


@contextmanager
def serving(answer):
    """A loopback server whose response to a POST is (status, headers, body) of `answer(body, headers)`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers, data = answer(body, dict(self.headers))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            """Quietly."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/tsr"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving_authority(authority):
    """An authority over HTTP."""

    def answer(body, headers):
        if headers.get("content-type") != "application/timestamp-query":
            return 415, {}, b""
        return 200, {"content-type": "application/timestamp-reply"}, authority.stamp(body)

    with serving(answer) as url:
        yield url


@contextmanager
def serving_files(files):
    """A loopback server of files by path; a status in place of bytes is answered."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = files.get(self.path, 404)
            self.send_response(found if isinstance(found, int) else 200)
            body = b"" if isinstance(found, int) else found
            self.send_header("content-length", str(len(body)))
            self.send_header("location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            """Quietly."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
