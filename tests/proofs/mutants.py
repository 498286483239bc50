"""Records and bundles with small changes, as whoever hands them on can make them."""

import base64
import json

from credstore.proofs.format.canonical import encode_json
from credstore.proofs.format.dsse import encode_envelope
from credstore.proofs.format.record import ManifestLink, SoftBinding
from tests.proofs.material import OTHER_ID

RICH = {
    "claims": {"title": "€", "numbers": [1, 2.5], "deep": {"x": None}},
    "soft_bindings": (SoftBinding("phash", "d1d1"),),
    "manifest": ManifestLink(bytes(32), 7),
    "supersedes": OTHER_ID,
}
TOKENS = [
    b"null", b"true", b"1", b"-0", b"1e0", b"NaN", b"[]", b"{}", b'""', b"\\u0000", b'"keyid":', b'"payload":', b"\xff",
    b"\x00", b"\xef\xbb\xbf", b"=", b"-", b"_", b"[", b'{"', b'"}', b",", b" ", b"\\ud800", b"9" * 30,
]  # fmt: skip


def mutate(rng, data):
    """The bytes with one to three small changes; never the bytes themselves."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        place = rng.randrange(len(out)) if out else 0
        kind = rng.randrange(7)
        if kind == 0 and out:
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and out:
            out[place] = rng.randrange(256)
        elif kind == 2:
            del out[place : place + rng.choice((1, 2, 17))]
        elif kind == 3:
            out[place:place] = rng.choice(TOKENS)
        elif kind == 4:
            other = rng.randrange(len(out) + 1)
            out[place:place] = out[other : other + rng.choice((1, 8, 100))]
        elif kind == 5:
            token = rng.choice(TOKENS)
            out[place : place + len(token)] = token
        else:
            del out[rng.randrange(len(out) + 1) :]
    return bytes(out) if bytes(out) != data else data + b"x"


def mutate_record(rng, envelope):
    """A record whose payload, or whose signature, is another."""
    broken = json.loads(encode_envelope(envelope))
    payload, sig = envelope.payload, envelope.signatures[0].sig
    if rng.random() < 0.8:
        payload = mutate(rng, payload)
    else:
        sig = mutate(rng, sig)
    broken["payload"] = base64.b64encode(payload).decode()
    broken["signatures"][0]["sig"] = base64.b64encode(sig).decode()
    return encode_json(broken)
