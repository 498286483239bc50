"""The page's modules in Node, whose WebCrypto and JSON are not ours: one process, a request a line."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SCRIPT = Path(__file__).parent / "verifying.mjs"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Page:
    """What the page makes of a request: ("ok", result) or (code, message)."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def __call__(self, verb, **request):
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"verb": verb, **request}).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "Node ended"
        answer = json.loads(line)
        return ("ok", answer["result"]) if "result" in answer else (answer["error"], answer["message"])

    def bundle(self, data, *, trust, now, asset=None, policy=None):
        """Verify a bundle."""
        return self(
            "bundle",
            data=b64(data),
            trust=b64(trust),
            now=int(now.timestamp() * 1000),
            asset=None if asset is None else b64(asset),
            policy=policy,
        )


@contextmanager
def page_in_node() -> Iterator[Page]:
    node = shutil.which("node")
    assert node, "the system tests need node; see tests/servers/install_system.sh"
    process = subprocess.Popen(
        [node, "--no-warnings", str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Page(process)
    finally:
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.wait(600)
        process.stdout.close()
