"""A bucket's endpoint for uploads by forms, which checks what moto does not: signature, expiry, all conditions.

Written from "POST policy" of the S3 API and "Policy document" of Google's XML API, without credstore's code.
"""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Checked = Callable[[Mapping[str, str]], bool]
"""Whether the signature over the field `policy` is right."""
NOT_CONDITIONS = ("policy", "x-amz-signature", "x-goog-signature")


class Refused(Exception):
    """An upload that the store does not take: status and code."""


def signed_by_aws(secret: str) -> Checked:
    """The check of a Signature Version 4, with the secret key of whoever may sign."""

    def check(fields: Mapping[str, str]) -> bool:
        _, day, region, service, end = fields["x-amz-credential"].split("/")
        key = f"AWS4{secret}".encode()
        for part in (day, region, service, end):
            key = hmac.digest(key, part.encode(), hashlib.sha256)
        right = hmac.new(key, fields["policy"].encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(right, fields["x-amz-signature"])

    return check


def check_upload(
    given: Mapping[str, str], filename: str, data: bytes, *, bucket: str, now: float, checked: Checked
) -> str:
    """The key that an upload is stored under.

    Raises:
        Refused: The form does not allow it.
    """
    if "policy" not in given or not checked(given):
        raise Refused(403, "SignatureDoesNotMatch")
    policy = json.loads(base64.b64decode(given["policy"], validate=True))
    if datetime.fromisoformat(policy["expiration"]) <= datetime.fromtimestamp(now, UTC):
        raise Refused(403, "AccessDenied: Policy expired")
    values = {name.lower(): value.replace("${filename}", filename) for name, value in given.items()}
    open_ = {name for name in values if name not in NOT_CONDITIONS and not name.startswith("x-ignore-")}
    values["bucket"] = bucket
    for condition in policy["conditions"]:
        if isinstance(condition, dict):
            [(field, wanted)] = condition.items()
            kind, name = "eq", f"${field}"
        else:
            kind, name, wanted = condition
        if kind == "content-length-range":
            if len(data) < name:
                raise Refused(400, "EntityTooSmall")
            if len(data) > wanted:
                raise Refused(400, "EntityTooLarge")
            continue
        value = values.get(name[1:].lower())
        open_.discard(name[1:].lower())
        if value is None or not (value == wanted if kind == "eq" else value.startswith(wanted)):
            raise Refused(403, f"AccessDenied: Policy Condition failed: {name}")
    if open_:
        raise Refused(403, f"AccessDenied: Extra input fields: {min(open_)}")
    return values["key"]


class FormServer:
    """What has arrived, by key, and the clock that forms expire by."""

    def __init__(self, bucket: str, checked: Checked, now: float):
        self.bucket = bucket
        self.checked = checked
        self.now = now
        self.objects: dict[str, tuple[str | None, bytes]] = {}
        self.url = ""

    def take(self, path: str, content_type: str, body: bytes) -> tuple[int, bytes]:
        """The answer to one form."""
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
        fields: dict[str, str] = {}
        for part in message.iter_parts():
            name = part.get_param("name", header="content-disposition")
            data = part.get_payload(decode=True)
            if name == "file":
                try:
                    key = check_upload(
                        fields, part.get_filename("") or "", data,
                        bucket=path.strip("/") or self.bucket, now=self.now, checked=self.checked,
                    )  # fmt: skip
                except Refused as refused:
                    status, code = refused.args
                    return status, f"<Error><Code>{code}</Code></Error>".encode()
                self.objects[key] = (fields.get("Content-Type"), data)
                return int(fields.get("success_action_status", "204")), b""
            fields[name] = data.decode()
        return 400, b"<Error><Code>InvalidArgument: no file</Code></Error>"


@contextmanager
def serving_forms(bucket: str, checked: Checked, now: float) -> Iterator[FormServer]:
    """Serve on a loopback port until the block ends."""
    store = FormServer(bucket, checked, now)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = store.take(self.path, self.headers["content-type"], body)
            self.send_response(status)
            if status != 204:
                self.send_header("content-length", str(len(answer)))
            self.end_headers()
            if status != 204:
                self.wfile.write(answer)

        def log_message(self, *_told):
            """Nothing: the log would have nowhere to go."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    store.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
