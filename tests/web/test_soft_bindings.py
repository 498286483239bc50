"""C2PA's soft binding API: its routes, codes and limits; schemathesis runs our description of it."""

import asyncio
import json
import queue
import socket
import threading
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from credstore.edge.server import listen
from credstore.errors import StorageInvalidRequestError
from credstore.proofs import ProofStore, SoftBinding
from credstore.proofs.bindings import ISCC, BindingIndex, fingerprint_of
from credstore.proofs.bindings.finding import label_of
from credstore.proofs.bindings.names import encode_value
from credstore.proofs.c2pa import sign_manifest
from credstore.proofs.c2pa.boxes import active_manifest
from credstore.provider.presets import MemoryStorageProvider
from credstore.web import serving
from credstore.web.serving import serving_soft_bindings
from credstore.web.soft_binding_api import LARGEST_BODY, document
from credstore.web.soft_bindings import SoftBindingApp
from tests.proofs.c2pa_material import CREDENTIALS, DEFINITION
from tests.proofs.material import SIGNER, TRUST
from tests.proofs.pictures import encoded, picture, stripped

MARK = "com.example.watermark.1"
ID = encode_value(b"\xfb\xff id 4711")
ENDPOINT = "https://cdn.example/api"
EDITED = {"title": "edited", "assertions": [{"label": "example.claim", "data": {"step": 2}}]}


class Client:
    """Asks over HTTP, as a browser or another service does."""

    def __init__(self, base: str, app: SoftBindingApp) -> None:
        self.base = base
        self.app = app

    def request(self, method, path, *, content=None, **options):
        return requests.request(method, self.base + path, data=content, timeout=60, **options)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, **options):
        return self.request("POST", path, **options)


@contextmanager
def api(**options):
    """A server with one picture that has a manifest, and a client of it."""
    image = encoded(picture(1))
    ready: queue.Queue[tuple[Client, bytes, str]] = queue.Queue()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve():
        by = {"credential": CREDENTIALS["ES256"]}
        first = await sign_manifest(image, "image/png", definition=DEFINITION, embed=True, **by)
        signed = await sign_manifest(
            first.asset, "image/png", definition=EDITED, parent=True, rewrite=True, **by
        )
        async with ProofStore(MemoryStorageProvider(), trust=TRUST, signer=SIGNER) as store:
            index = BindingIndex(store)
            await index.issue(
                signed.asset,
                bindings=[SoftBinding(MARK, ID)],
                media_type="image/png",
                manifest=signed.manifest,
                manifest_type="application/c2pa",
            )
            chosen = {"watermarks": [MARK], "endpoint": ENDPOINT, "rate": 1e6, "burst": 10**6, **options}
            app = SoftBindingApp(index, **chosen)
            async with serving_soft_bindings(app, listen("127.0.0.1", 0)) as base:
                ready.put((Client(base, app), signed.manifest, await label_of(signed.manifest)))
                await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        yield ready.get(timeout=120)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def served():
    with api() as found:
        yield found


def test_a_stripped_picture_leads_to_its_manifest(served):
    client, manifest, label = served
    for media_type in ("image/jpeg", "application/octet-stream"):
        answer = client.post(
            "/matches/byContent", content=stripped(picture(1)), headers={"content-type": media_type}
        )
        assert answer.status_code == 200
        (match,) = answer.json()["matches"]
        assert (match["manifestId"], match["endpoint"]) == (label, ENDPOINT)
        assert 85 <= match["similarityScore"] <= 100
    answer = client.get(f"/manifests/{quote(label)}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/c2pa")
    assert answer.content == manifest
    # Without the manifest of its parent, which is another's.
    alone = client.get(f"/manifests/{label}?returnActiveManifest=true")
    assert (alone.status_code, alone.headers["content-type"]) == (200, "application/c2pa")
    assert alone.content == active_manifest(manifest) != manifest
    assert client.get(f"/manifests/{label}?returnActiveManifest=false").content == manifest
    assert client.request("HEAD", f"/manifests/{label}").headers["content-length"] == str(len(manifest))
    other = client.post(
        "/matches/byContent", content=stripped(picture(2)), headers={"content-type": "image/jpeg"}
    )
    assert other.json() == {"matches": []}


def test_watermarks_and_fingerprints_lead_to_it_too(served):
    client, _, label = served
    found = {"matches": [{"manifestId": label, "endpoint": ENDPOINT, "similarityScore": 100}]}
    assert client.get("/matches/byBinding", params={"alg": MARK, "value": ID}).json() == found
    # A plus sign that was not escaped is still part of base64.
    assert client.get(f"/matches/byBinding?alg={MARK}&value={ID}").json() == found
    assert client.post("/matches/byBinding?maxResults=1", json={"alg": MARK, "value": ID}).json() == found
    value = asyncio.run(fingerprint_of(encoded(picture(1)))).value
    assert client.get("/matches/byBinding", params={"alg": ISCC, "value": value}).json() == found
    hints = {"hintAlg": MARK, "hintValue": ID}
    answer = client.post(
        "/matches/byContent",
        params=hints,
        content=stripped(picture(9)),
        headers={"content-type": "image/jpeg"},
    )
    assert answer.json() == found
    for alg in ("com.example.watermark.2", "anything"):
        assert client.get("/matches/byBinding", params={"alg": alg, "value": ID}).json() == {"matches": []}
    assert client.get("/services/supportedAlgorithms").json() == {
        "watermarks": [{"alg": MARK}],
        "fingerprints": [{"alg": ISCC}],
    }


GET, POST = "GET", "POST"
REFUSED = [
    (GET, "/matches/byBinding", {}, 400),
    (GET, f"/matches/byBinding?alg={MARK}", {}, 400),
    (GET, f"/matches/byBinding?alg={MARK}&value=***", {}, 400),
    (GET, f"/matches/byBinding?alg=a/b&value={ID}", {}, 400),
    (GET, f"/matches/byBinding?alg={MARK}&alg={MARK}&value=AA", {}, 400),
    (GET, f"/matches/byBinding?alg={MARK}&value=AA&maxResults=0", {}, 400),
    (GET, f"/matches/byBinding?alg={MARK}&value=AA&maxResults=101", {}, 400),
    (GET, f"/matches/byBinding?alg={MARK}&value=AA&maxResults=1e3", {}, 400),
    (GET, f"/matches/byBinding?alg={MARK}&value=%FF%FE", {}, 400),
    (GET, f"/matches/byBinding?alg={MARK}&value={'A' * 7000}", {}, 414),
    (POST, "/matches/byBinding", {"content": b"{}", "headers": {"content-type": "text/plain"}}, 415),
    (POST, "/matches/byBinding", {"json": []}, 400),
    (POST, "/matches/byBinding", {"json": {"alg": 1, "value": ID}}, 400),
    (
        POST,
        "/matches/byBinding",
        {"content": b"[" * 5000, "headers": {"content-type": "application/json"}},
        400,
    ),
    (
        POST,
        "/matches/byBinding",
        {"content": bytes(20_000), "headers": {"content-type": "application/json"}},
        413,
    ),
    (POST, "/matches/byContent", {"content": b"hello", "headers": {"content-type": "text/plain"}}, 415),
    (POST, "/matches/byContent", {"content": b"hello", "headers": {"content-type": "image/png"}}, 415),
    (POST, "/matches/byContent", {"content": b"", "headers": {"content-type": "image/png"}}, 415),
    (
        POST,
        "/matches/byContent?alg=com.example.x",
        {"content": b"", "headers": {"content-type": "image/png"}},
        400,
    ),
    (
        POST,
        f"/matches/byContent?hintAlg={MARK}",
        {"content": b"", "headers": {"content-type": "image/png"}},
        400,
    ),
    (GET, "/manifests/urn:c2pa:none", {}, 404),
    (GET, "/manifests/", {}, 400),
    (GET, f"/manifests/{'x' * 600}", {}, 400),
    (GET, "/manifests/x?returnActiveManifest=maybe", {}, 400),
    (GET, "/manifests/x?returnActiveManifest=", {}, 400),
    (GET, "/manifests/urn:c2pa:none?returnActiveManifest=true", {}, 404),
    (GET, "/nothing", {}, 404),
    ("DELETE", "/manifests/x", {}, 405),
    (GET, "/matches/byContent", {}, 405),
]


@pytest.mark.parametrize(("method", "path", "options", "status"), REFUSED)
def test_every_refusal_has_its_code(served, method, path, options, status):
    client, _, _ = served
    answer = client.request(method, path, **options)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert answer.headers["access-control-allow-origin"] == "*"
    if status == 405:
        assert "OPTIONS" in answer.headers["allow"]


def test_bodies_are_bounded_before_they_are_read(served):
    """One that says it is too large is not read at all; one that does not say so, up to the limit."""
    client, _, _ = served
    app = client.app
    taken = 0

    async def endless():
        nonlocal taken
        while True:
            taken += 1 << 20
            yield bytes(1 << 20)

    async def ask(**headers):
        return await app.respond(
            "POST",
            "/matches/byContent",
            "",
            headers={"content-type": "image/png", **headers},
            body=endless(),
            address="a",
        )

    for length in (str(LARGEST_BODY + 1), "9" * 30, "-1", "x"):
        assert asyncio.run(ask(**{"content-length": length})).status == 413
    assert taken == 0
    assert asyncio.run(ask()).status == 413
    assert taken <= LARGEST_BODY + 2 * (1 << 20)


def test_any_page_may_ask(served):
    client, _, label = served
    answer = client.request(
        "OPTIONS",
        "/matches/byContent",
        headers={"origin": "https://a.example", "access-control-request-method": "POST"},
    )
    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "content-type"
    answer = client.get(f"/manifests/{label}", headers={"origin": "https://a.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_each_address_has_its_limit():
    now = [0.0]
    with api(rate=2.0, burst=3, clock=lambda: now[0]) as (client, _, _):
        app = client.app

        def ask(address: str, method: str = "GET") -> tuple[int, str | None]:
            async def nothing():
                return
                yield b""

            answer = asyncio.run(
                app.respond(
                    method, "/services/supportedAlgorithms", "", headers={}, body=nothing(), address=address
                )
            )
            return answer.status, (answer.headers or {}).get("retry-after")

        assert [ask("a")[0] for _ in range(4)] == [200, 200, 200, 429]
        assert ask("a") == (429, "1")
        assert ask("a", "OPTIONS")[0] == 204
        assert ask("b")[0] == 200
        now[0] = 1.0
        assert [ask("a")[0] for _ in range(3)] == [200, 200, 429]
        for number in range(20_000):
            app._spent[f"x{number}"] = (0.0, 0.0)
        assert ask("c")[0] == 200
    with pytest.raises(StorageInvalidRequestError):
        SoftBindingApp(None, rate=0)


def test_a_store_that_fails_is_a_503_without_details():
    with api() as (client, _, label):

        async def fail(*_, **__):
            raise RuntimeError("secret")

        client.app._index.manifest = fail
        answer = client.get(f"/manifests/{label}")
        assert answer.status_code == 503
        assert "secret" not in answer.text
        assert answer.headers["retry-after"] == "30"


def test_the_description_is_served(served):
    client, _, _ = served
    assert client.get("/openapi.json").json() == json.loads(json.dumps(document()))


SCHEMA = schemathesis.openapi.from_dict(document())
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize(
    "operation", [each.ok() for each in SCHEMA.get_all_operations()], ids=lambda each: each.label
)
def test_the_description_is_what_it_does(served, operation):
    """Cases that fit the description, and cases that do not."""
    client, _, _ = served

    modes = (
        list(GenerationMode)
        if "{" in operation.path or "matches" in operation.path
        else [GenerationMode.POSITIVE]
    )
    for mode in modes:

        @settings(
            max_examples=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            derandomize=True,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            case.validate_response(case.call(base_url=client.base), checks=CHECKS)

        check()


def test_it_is_an_asgi_application_as_well():
    """By the protocol's messages, with a body in parts; and a HEAD without one."""

    async def ask(app, method, path, parts=(b"",), **headers):
        sent = []
        waiting = [
            {"type": "http.request", "body": part, "more_body": number + 1 < len(parts)}
            for number, part in enumerate(parts)
        ]

        async def receive():
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
        }
        await app(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    async def scene():
        async with ProofStore(MemoryStorageProvider(), trust=TRUST, signer=SIGNER) as store:
            app = SoftBindingApp(BindingIndex(store), watermarks=[MARK])
            status, headers, body = await ask(app, "HEAD", "/services/supportedAlgorithms")
            assert (status, body) == (200, b"")
            assert int(headers[b"content-length"]) > 0
            data = json.dumps({"alg": MARK, "value": ID}).encode()
            status, _, body = await ask(
                app,
                "POST",
                "/matches/byBinding",
                (data[:5], data[5:]),
                **{"content-type": "application/json"},
            )
            assert (status, json.loads(body)) == (200, {"matches": []})
            heard = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
            said = []

            async def receive():
                return next(heard)

            async def send(message):
                said.append(message["type"])

            await app({"type": "lifespan"}, receive, send)
            assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    asyncio.run(scene())


@pytest.mark.parametrize("sent", [b"", b"\x89PNG"])
def test_a_body_that_does_not_arrive_holds_no_connection(served, monkeypatch, sent):
    client, _, _ = served
    monkeypatch.setattr(serving, "IDLE", 0.01)
    address = urlsplit(client.base)
    head = b"POST /matches/byContent HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=600) as connection:
        connection.sendall(head + sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not arrive in time" in answer
