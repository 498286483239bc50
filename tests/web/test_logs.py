"""A log and a witness as parts of an ASGI application: what is served, with which headers, and what is refused."""

import asyncio

from credstore import MemoryStorageProvider
from credstore.errors import StorageConnectionError
from credstore.proofs.log import LogWitness
from credstore.proofs.log.add_checkpoint import encode_request, monitoring_path
from credstore.proofs.log.note import COSIGNATURE, LocalNoteSigner
from credstore.web import LogPart, WebApp, WitnessPart
from credstore.web.app import Answer
from tests.proofs.log.logs import NOW, ORIGIN, PREFIX, SIGNER, Shop, made

WITNESS = LocalNoteSigner("w.example", bytes(range(32, 64)), COSIGNATURE)


class Failing:
    """A part whose store cannot be reached."""

    async def answer(self, path, query):
        raise StorageConnectionError("the network is down")


async def asked(app, method, path, *bodies, headers=()):
    """Status, headers and body by ASGI."""
    messages = [
        {"type": "http.request", "body": each, "more_body": number < len(bodies)}
        for number, each in enumerate(bodies or [b""], 1)
    ]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": headers}
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, sent[1]["body"]


def test_a_log_and_a_witness_in_one_application():
    async def main():
        shop = Shop()
        async with await made(shop) as log:
            await log.append([b"one", b"two"])
        witness = LogWitness(MemoryStorageProvider(), signer=WITNESS, logs=[SIGNER.key], clock=lambda: NOW)
        app = WebApp({"/": LogPart(shop.provider()), "/witness": WitnessPart(witness), "/broken": Failing()})
        status, headers, body = await asked(app, "GET", "/checkpoint")
        assert (status, body) == (200, shop.objects.by_key[f"{PREFIX}checkpoint"].data)
        assert headers["access-control-allow-origin"] == "*"
        assert "no-transform" in headers["cache-control"]
        status, headers, _ = await asked(app, "GET", "/tile/0/000.p/2")
        assert (status, "immutable" in headers["cache-control"]) == (200, True)
        assert (await asked(app, "HEAD", "/checkpoint"))[2] == b""
        for path in ("/lock", "/staging/", "/in/", "/../lock", "/tile/0/001", "/", "/witness/nothing"):
            assert (await asked(app, "GET", path))[0] == 404
        request = encode_request(0, [], body)
        for path, method, parts, expected in (
            ("/checkpoint", "POST", [b"x"], 405),
            ("/checkpoint", "DELETE", [], 405),
            ("/witness/add-checkpoint", "GET", [], 405),
            ("/witness/elsewhere", "POST", [b"x"], 405),
            ("/witness/add-checkpoint", "POST", [b"rubbish"], 400),
            ("/witness/add-checkpoint", "POST", [bytes(400 * 1024)] * 4, 413),
            ("/witness/add-checkpoint", "POST", [request[:9], request[9:]], 200),
            ("/witness/add-checkpoint", "POST", [request], 409),
            ("/broken", "GET", [], 503),
        ):
            assert (await asked(app, method, path, *parts))[0] == expected, (method, path)
        status, _, shown = await asked(app, "GET", f"/witness/{monitoring_path(ORIGIN)}")
        assert (status, body in shown) == (200, True)
        assert app.largest_body < 400 * 1024
        assert WebApp({"/": LogPart(shop.provider())}).largest_body == 0
        assert Answer().status == 200

    asyncio.run(main())
