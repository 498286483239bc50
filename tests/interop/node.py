"""A Node process with the AWS SDK for JavaScript v3: a real foreign client."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent / "servers" / "node"


class Node:
    """Sends one command after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, action: str, **given: Any) -> dict[str, Any]:
        """Run one action of client.mjs; bytes travel as base64.

        Raises:
            AssertionError: Node answered with an error.
        """
        answer = self.ask(action, **given)
        assert "error" not in answer, answer
        if "body" in answer:
            answer["body"] = base64.b64decode(answer["body"])
        return answer

    def ask(self, action: str, **given: Any) -> dict[str, Any]:
        """As a call, with errors as answers."""
        if isinstance(given.get("body"), bytes):
            given["body"] = base64.b64encode(given["body"]).decode()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, **given}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "Node ended; see its output above"
        return json.loads(line)


@contextmanager
def running_node(endpoint: str, key_id: str, secret: str) -> Iterator[Node]:
    """Run until the block ends, connected to one S3 endpoint."""
    assert shutil.which("node"), "node is not installed; run `make test-system`, which installs it"
    assert (HERE / "node_modules").is_dir(), (
        "the AWS SDK for JavaScript is missing; run `make test-system`, which installs it"
    )
    process = subprocess.Popen(
        ["node", str(HERE / "client.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        node = Node(process)
        node("connect", endpoint=endpoint, accessKeyId=key_id, secretAccessKey=secret)
        yield node
    finally:
        process.stdin.close()
        process.wait(600)
        process.stdout.close()
