"""Records shaped as C2PA proofs are, with the entropy of real ones: signatures, digests, ids, times.

What repeats in a real store repeats here: the issuers' certificate chains, the tools' names, the
assertions' labels. What does not, does not: every digest, signature, id and time is its own.

Source: C2PA specification 2.1 (claims, assertions, ingredients), as JSON the way c2pa-python's reader gives it.
"""

import base64
import json
import random
import uuid
from datetime import UTC, datetime, timedelta

TOOLS = [
    ("Adobe Photoshop", "26.1.0", "adobe_c2pa/0.12.5"),
    ("Adobe Firefly", "3.0", "adobe_c2pa/0.12.5"),
    ("Leica M11-P", "2.0.1", "leica_c2pa/1.4"),
    ("Truepic Lens", "5.2.3", "truepic_c2pa/2.1"),
    ("Content Credentials CLI", "0.9.12", "c2pa-rs/0.36.1"),
]
ACTIONS = [
    "c2pa.created",
    "c2pa.edited",
    "c2pa.cropped",
    "c2pa.color_adjustments",
    "c2pa.placed",
    "c2pa.resized",
]
NAMES = [
    "Ana Ruiz",
    "Jonas Weber",
    "Mei Lin",
    "Oluwaseun Ade",
    "Priya Nair",
    "Tom Baker",
    "Yuki Mori",
    "Zoë Hart",
]
PLACES = ["Lisbon", "Nairobi", "Osaka", "Berlin", "Lima", "Toronto", "Mumbai", "Oslo"]
FORMATS = ["image/jpeg", "image/png", "video/mp4", "image/webp"]


def issuers(seed: int = 1) -> list[dict[str, object]]:
    """Four issuers, each with a certificate chain of its own."""
    chance = random.Random(seed)
    return [
        {
            "name": name,
            "chain": [base64.b64encode(chance.randbytes(size)).decode() for size in (780, 910)],
        }
        for name in ("Adobe Inc.", "Leica Camera AG", "Truepic", "Example News Agency")
    ]


def record(chance: random.Random, known: list[dict[str, object]]) -> bytes:
    """One record, 4 to 7 KB."""

    def digest() -> str:
        return base64.b64encode(chance.randbytes(32)).decode()

    def name() -> str:
        return str(uuid.UUID(bytes=chance.randbytes(16), version=4))

    issuer = chance.choice(known)
    tool, version, library = chance.choice(TOOLS)
    when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(300 * 86400))
    kind = chance.choice(FORMATS)
    actions = [
        {
            "action": action,
            "when": (when + timedelta(seconds=chance.randrange(5000))).isoformat(),
            "softwareAgent": {"name": tool, "version": version},
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
        }
        for action in chance.sample(ACTIONS, chance.randrange(1, 5))
    ]
    ingredients = [
        {
            "title": f"IMG_{chance.randrange(10_000):04}.jpg",
            "format": kind,
            "document_id": f"xmp.did:{name()}",
            "instance_id": f"xmp.iid:{name()}",
            "relationship": "parentOf" if not number else "componentOf",
            "hash": digest(),
            "thumbnail": {
                "format": "image/jpeg",
                "identifier": f"self#jumbf=c2pa.assertions/c2pa.thumbnail.{number}",
            },
        }
        for number in range(chance.randrange(3))
    ]
    manifest = {
        "claim_generator": f"{tool.replace(' ', '_')}/{version} {library}",
        "claim_generator_info": [{"name": tool, "version": version, "org.cai.c2pa_rs": library}],
        "title": f"{chance.choice(PLACES)} {chance.randrange(1000)}.{kind.rpartition('/')[2]}",
        "format": kind,
        "instance_id": f"xmp:iid:{name()}",
        "ingredients": ingredients,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {
                "label": "stds.schema-org.CreativeWork",
                "data": {
                    "@context": "https://schema.org",
                    "@type": "CreativeWork",
                    "author": [{"@type": "Person", "name": chance.choice(NAMES)}],
                    "locationCreated": chance.choice(PLACES),
                    "dateCreated": when.isoformat(),
                },
            },
            {
                "label": "c2pa.hash.data",
                "data": {
                    "alg": "sha256",
                    "exclusions": [
                        {"start": chance.randrange(20, 5000), "length": chance.randrange(9000, 90_000)}
                    ],
                    "hash": digest(),
                    "name": "jumbf manifest",
                    "pad": "",
                },
            },
            {
                "label": "c2pa.training-mining",
                "data": {"entries": {"c2pa.ai_training": {"use": "notAllowed"}}},
            },
        ],
        "signature_info": {
            "alg": "Es256",
            "issuer": issuer["name"],
            "cert_serial_number": str(chance.getrandbits(120)),
            "time": when.isoformat(),
        },
    }
    proof = {
        "active_manifest": f"urn:c2pa:{name()}",
        "manifests": {f"urn:c2pa:{name()}": manifest},
        "validation_results": {
            "activeManifest": {
                "success": [
                    {"code": code, "url": f"self#jumbf=/c2pa/{name()}/c2pa.signature"}
                    for code in (
                        "claimSignature.validated",
                        "signingCredential.trusted",
                        "assertion.hashedURI.match",
                    )
                ]
            }
        },
        "claim_signature": {
            "x5chain": issuer["chain"],
            "signature": base64.b64encode(chance.randbytes(64)).decode(),
            "sigTst": base64.b64encode(chance.randbytes(96)).decode(),
        },
        "asset_hash": chance.randbytes(32).hex(),
    }
    return json.dumps(proof, ensure_ascii=False, separators=(",", ":")).encode()


def records(count: int, seed: int = 7) -> list[bytes]:
    """So many records, the same for the same seed."""
    chance, known = random.Random(seed), issuers()
    return [record(chance, known) for _ in range(count)]
