"""Verify a credstore proof bundle without credstore: `python verify_proof.py BUNDLE --trust keys.json`.

An independent reading of the format, for audits: the standard library and `cryptography`, nothing else. It
checks the signature over the bytes received, that they are canonical (RFC 8785), every field, the key's
issuers, uses and window, the asset, revocations in the bundle, and expiry. It does not check a log part nor
RFC 3161 timestamps, says so, and therefore refuses what only a timestamp could save: a compromised key.
Exit code 0: verified. 1: refused, with the reason.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

SKEW = timedelta(minutes=5)
PRIME = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# Forms of JSON values: a regular expression for a string, a function that raises, [form, least, most] for an
# array, or a dict for an object; there "name?" may be absent, and "*" says that unknown members are ignored.
ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SHA256 = "[0-9a-f]{64}"
URI = r"[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+"
ISSUER = rf"(?=.{{1,255}}\Z){URI}"
MEDIA = r"(?=.{1,255}\Z)[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(;[ -~]*)?"
PLAIN = r"[^\x00-\x1f\x7f]"
SCHEMES = "ed25519|ecdsa-p256-sha256|ecdsa-p256-sha256-p1363"


def time(value):
    check(value, r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
    return datetime.fromisoformat(value)


def size(value):
    need(type(value) is int and value >= 0, "a size out of form")


def claims(value):
    need(isinstance(value, dict) and len(jcs(value).encode()) <= 2**18, "claims are no object or too large")


KEY = {"keyid": PLAIN + "{1,80}", "publicKey": "[ -~]*", "scheme": SCHEMES, "issuers": [ISSUER, 0, 100],
       "usages": ["proof|revoke|log|root", 1, 4], "validFrom": time, "validUntil?": time,
       "revoked?": {"at": time, "invalidSince": time}}  # fmt: skip
RING = {"version": size, "keys": [KEY, 0, 1000]}
SIGNATURE = {"keyid?": r"(?s:.){0,255}", "sig": "[ -~]*", "*": 1}
ENVELOPE = {
    "payload": "[ -~]*",
    "payloadType": r"application/vnd\.in-toto\+json",
    "signatures": [SIGNATURE, 1, 8],
    "*": 1,
}
TOKEN = {"type": "rfc3161", "over": "signature", "response": "[ -~]*"}
BUNDLE = {"mediaType": r"application/vnd\.credstore\.proof-bundle\.v1\+json", "envelope": ENVELOPE, "madeAt": time,
          "status?": [ENVELOPE, 0, 16], "timestamps?": [TOKEN, 0, 8],
          "log?": {"entry": "[ -~]*", "proof": r"(?s:.){0,131072}"}}  # fmt: skip
ASSET = {"size": size, "mediaType?": MEDIA, "*": 1,
         "softBindings?": [{"alg": PLAIN + "{1,64}", "value": PLAIN + "{1,4096}", "*": 1}, 1, 16]}  # fmt: skip
MANIFEST = {
    "mediaType": MEDIA,
    "digest": {"sha256": SHA256, "*": 1},
    "size": size,
    "uri?": rf"(?=.{{1,2048}}\Z){URI}",
    "*": 1,
}
FIELDS = "proofId|issuer|issuedAt|expiresAt|asset|manifest|claims|uri|supersedes|critical"
PROOF = {"proofId": ID, "issuer": ISSUER, "issuedAt": time, "expiresAt?": time, "asset": ASSET, "*": 1,
         "manifest?": MANIFEST, "claims?": claims, "uri?": PLAIN + "{1,2048}", "supersedes?": ID,
         "critical?": [FIELDS, 1, 10]}  # fmt: skip
NOTICE = {"proofId": ID, "issuer": ISSUER, "revokedAt": time, "*": 1, "critical?": "(?!)",
          "reason": "keyCompromise|incorrect|withdrawn|legal|unspecified"}  # fmt: skip


def need(condition, reason):
    if not condition:
        raise ValueError(reason)


def check(value, form):
    if isinstance(form, str):
        need(isinstance(value, str) and re.fullmatch(form, value), f"a string out of form: {form[:40]}")
    elif isinstance(form, list):
        need(isinstance(value, list) and form[1] <= len(value) <= form[2], "no array of the right length")
        for each in value:
            check(each, form[0])
    elif isinstance(form, dict):
        need(isinstance(value, dict), "no object")
        need("*" in form or all(name in form or name + "?" in form for name in value), "an unknown member")
        for name, inner in form.items():
            need(name[-1] in "?*" or name in value, f"a missing member {name}")
            if name != "*" and name.removesuffix("?") in value:
                check(value[name.removesuffix("?")], inner)
    else:
        form(value)


def strict(data, limit):
    """One JSON value in which no two readers can see two meanings."""

    def members(pairs):
        need(len(dict(pairs)) == len(pairs), "a name stands twice")
        return dict(pairs)

    need(len(data) <= limit, "too many bytes")
    value = json.loads(data.decode(), object_pairs_hook=members)
    jcs(value)
    return value


def jcs(value, deepest=32):
    """RFC 8785."""
    need(deepest > 0 or not isinstance(value, dict | list), "JSON nested too deep")
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(name)}:{jcs(value[name], deepest - 1)}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(jcs(each, deepest - 1) for each in value) + "]"
    if isinstance(value, float):
        need(abs(value) < float("inf") and not 2**53 - 1 < abs(value) < 1e21, "a number out of range")
        return number(value)
    need(not isinstance(value, int) or abs(value) < 2**53, "an integer out of range")
    text = json.dumps(value, ensure_ascii=False)
    text.encode()  # Refuses lone surrogates.
    return text


def number(value):
    """ECMAScript's Number::toString, from Python's digits, which are the same."""
    parts = Decimal(repr(abs(value))).normalize().as_tuple()
    digits, sign = "".join(map(str, parts.digits)), "-" * (value < 0)
    count, point = len(digits), len(digits) + parts.exponent
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}" if value else "0"
    return f"{sign}{digits[0]}{'.' * (count > 1)}{digits[1:]}e{point - 1:+d}"


def b64(value, most, url=b"+/"):
    need(len(value) <= (most + 2) // 3 * 4, "base64 of too many bytes")
    alphabet = url if re.search("[-_]", value) else b"+/"
    data = base64.b64decode(value, altchars=alphabet, validate=True)
    need(base64.b64encode(data, alphabet).decode() == value, "no base64 in its one form")
    return data


def load(entry):
    """The public key of one entry of the key ring."""
    spki = b64(entry["publicKey"], 1024)
    key = serialization.load_der_public_key(spki)
    if entry["scheme"] == "ed25519":
        need(isinstance(key, ed25519.Ed25519PublicKey), "a key of another kind than its scheme")
        y = int.from_bytes(key.public_bytes_raw(), "little") % 2**255
        need(y < PRIME and y not in {0, 1, PRIME - 1, Y8, PRIME - Y8}, "a weak Ed25519 key")
    else:
        need(isinstance(getattr(key, "curve", None), ec.SECP256R1), "a key of another kind than its scheme")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    need(der == spki, "a public key not in its one encoding")
    need(entry["keyid"] == "sha256:" + hashlib.sha256(spki).hexdigest(), "a keyid is not of its key")
    need(
        time(entry["validFrom"]) <= time(entry.get("validUntil", entry["validFrom"])), "a window upside down"
    )
    return key


def fits(entry, key, sig, message):
    try:
        if entry["scheme"] == "ed25519":
            key.verify(sig, message)
            return True
        if entry["scheme"] == "ecdsa-p256-sha256-p1363":
            need(len(sig) == 64, "r and s have 32 bytes each")
            sig = utils.encode_dss_signature(int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:], "big"))
        key.verify(sig, message, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def opened(envelope, ring, kind, form):
    """What one envelope says, by whom, and the digest that identifies it."""
    payload, tries, keys = b64(envelope["payload"], 2**20, b"-_"), 0, []
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    for signature in envelope["signatures"]:
        sig = b64(signature["sig"], 1024, b"-_")
        for entry, key in ring:
            if signature.get("keyid", "") in {"", entry["keyid"]} and entry not in keys and tries < 8:
                tries += 1
                if fits(entry, key, sig, message):
                    keys.append(entry)
                    break
    need(keys, "no signature of a trusted key fits: something was changed, or another key signed")
    statement = strict(payload, 2**20)
    need(jcs(statement).encode() == payload, "the statement is not canonical")
    subject = {"name": PLAIN + "{1,255}", "digest": {"sha256": SHA256, "sha512?": "[0-9a-f]{128}"}}
    kinds = "|".join(re.escape(f"https://credstore.dev/{each}/v1") for each in kind)
    check(statement, {"_type": r"https://in-toto\.io/Statement/v1", "subject": [subject, 1, 1],
                      "predicateType": kinds, "predicate": form})  # fmt: skip
    return statement["subject"][0], statement["predicate"], keys, hashlib.sha256(message).hexdigest()


def may(key, usages, issuer, at):
    """Whether a key may sign for the issuer at the time it claims; a root key may for every issuer."""
    right = any(each in key["usages"] and (issuer in key["issuers"] or each == "root") for each in usages)
    return (
        right and time(key["validFrom"]) <= at and ("validUntil" not in key or at <= time(key["validUntil"]))
    )


def verify(bundle, ring, now, asset=None):
    """Verify bytes of a bundle with bytes of a key ring; returns the predicate, or raises ValueError."""
    try:
        ring, bundle = strict(ring, 2**20), strict(bundle, 2**22)
        check(ring, RING)
        check(bundle, BUNDLE)
        need(
            ring["version"] and len({key["keyid"] for key in ring["keys"]}) == len(ring["keys"]),
            "a key twice",
        )
        ring = [(key, load(key)) for key in ring["keys"]]
        subject, proof, keys, digest = opened(bundle["envelope"], ring, ["proof"], PROOF)
        issued, expires = time(proof["issuedAt"]), time(proof.get("expiresAt", "9999-12-31T23:59:59.999Z"))
        need(subject["name"] == "asset" and expires > issued, "a subject or lifetime out of form")
        need(proof.get("supersedes") != proof["proofId"], "a proof that supersedes itself")
        keys = [key for key in keys if may(key, ["proof"], proof["issuer"], issued) and "revoked" not in key]
        need(keys, "the key may not sign for this issuer, or was not valid then, or is compromised")
        need(issued <= now + SKEW, "issued in the future")
        if asset is not None:
            same = hashlib.sha256(asset).hexdigest() == subject["digest"]["sha256"]
            need(same and len(asset) == proof["asset"]["size"], "the asset is not the one proved")
        for each in bundle.get("status", []):
            about, notice, keys, _ = opened(each, ring, ["revocation", "erasure"], NOTICE)
            at, names = time(notice["revokedAt"]), {about["name"], notice["proofId"]}
            need(
                names == {proof["proofId"]} and notice["issuer"] == proof["issuer"],
                "a notice about another proof",
            )
            need(about["digest"]["sha256"] == digest and at <= now + SKEW, "a notice about another proof")
            keys = [key for key in keys if "revoked" not in key or at < time(key["revoked"]["invalidSince"])]
            need(
                any(may(key, ["revoke", "root"], proof["issuer"], at) for key in keys),
                "a notice by a wrong key",
            )
            need(condition=False, reason=f"revoked at {notice['revokedAt']}, reason: {notice['reason']}")
        for each in bundle.get("timestamps", []):
            b64(each["response"], 2**16)
        b64(bundle.get("log", {}).get("entry", ""), 2**16 - 1)
        need(now < expires, f"expired at {proof.get('expiresAt')}")
    except (UnsupportedAlgorithm, RecursionError) as error:
        raise ValueError(str(error)) from error
    return proof


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Verify a credstore proof bundle, offline.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--trust", type=Path, required=True, help="keys.json, from where you trust it")
    parser.add_argument("--asset", type=Path, help="the file that the proof should be about")
    options = parser.parse_args()
    content = options.asset.read_bytes() if options.asset else None
    try:
        print(
            json.dumps(
                verify(options.bundle.read_bytes(), options.trust.read_bytes(), datetime.now(UTC), content)
            )
        )
    except ValueError as refusal:
        sys.exit(f"refused: {refusal}")
    print("verified" + (", the log and timestamps not" if content else ", the asset, log and timestamps not"))
