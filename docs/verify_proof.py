"""Verify a credstore proof bundle without credstore: `python verify_proof.py BUNDLE KEYS.json [ASSET]`.

An independent reading of the format: the standard library and `cryptography`, nothing else. It checks the
signature over the bytes received, that they are canonical (RFC 8785), every field, the key's issuers, uses
and window, the asset, revocations, and expiry; no log part and no RFC 3161 timestamp, so it refuses what only
a timestamp could save, a compromised key. Exit code 0: verified; 1: refused, and why.
"""

import base64
import hashlib
import json
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

NEVER, PRIME, OURS = "9999-12-31T23:59:59.999Z", 2**255 - 19, "sha256:[0-9a-f]{64}"
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826


def time(value):
    check(value, r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
    return datetime.fromisoformat(value)


# Forms of JSON values: a regular expression for a string, `int` for a size, `time`, [form, least, most] for
# an array, a dict for an object; there "name?" may be absent, and with "*" unknown members are ignored.
# fmt: off
ID, SHA256, ASCII = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "[0-9a-f]{64}", "[ -~]*"
URI = r"(?=.{1,%d}\Z)[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%%[0-9A-Fa-f]{2})+"
MEDIA = r"(?=.{1,255}\Z)[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(;[ -~]*)?"
PLAIN = r"[^\x00-\x1f\x7f]{1,%d}"
KEY = {"keyid": ASCII, "publicKey": ASCII, "scheme": "ed25519|ecdsa-p256-sha256(-p1363)?", "validFrom": time,
       "issuers": [URI % 255, 0, 100], "usages": ["proof|revoke|log|root", 1, 4], "validUntil?": time,
       "revoked?": {"at": time, "invalidSince": time}}
ENVELOPE = {"payload": ASCII, "payloadType": r"application/vnd\.in-toto\+json", "*": 1,
            "signatures": [{"keyid?": "(?s:.){0,255}", "sig": ASCII, "*": 1}, 1, 8]}
BUNDLE = {"mediaType": r"application/vnd\.credstore\.proof-bundle\.v1\+json", "envelope": ENVELOPE,
          "madeAt": time, "status?": [ENVELOPE, 0, 16], "log?": {"entry": ASCII, "proof": "(?s:.){0,131072}"},
          "timestamps?": [{"type": "rfc3161", "over": "signature", "response": ASCII}, 0, 8],
          "renewals?": [{"covers": [SHA256, 1, 64], "response": ASCII}, 0, 8]}
SOFT = {"alg": PLAIN % 64, "value": PLAIN % 4096, "*": 1}
MANIFEST = {"mediaType": MEDIA, "digest": {"sha256": SHA256, "*": 1}, "size": int, "uri?": URI % 2048, "*": 1}
PROOF = {"proofId": ID, "issuer": URI % 255, "issuedAt": time, "expiresAt?": time, "supersedes?": ID, "*": 1,
         "asset": {"size": int, "mediaType?": MEDIA, "softBindings?": [SOFT, 1, 16], "*": 1},
         "manifest?": MANIFEST, "claims?": {"*": 1}, "uri?": PLAIN % 2048, "critical?": [
         "proofId|issuer|issuedAt|expiresAt|asset|manifest|claims|uri|supersedes|critical", 1, 10]}
SUBJECT = {"name": "asset", "digest": {"sha256": SHA256, "sha512?": "[0-9a-f]{128}"}}
STATEMENT = {"_type": r"https://in-toto\.io/Statement/v1", "subject": [SUBJECT, 1, 1],
             "predicateType": r"https://credstore\.dev/proof/v1", "predicate": PROOF}
# fmt: on


def need(condition, reason):
    if not condition:
        raise ValueError(reason)


def check(value, form):
    if isinstance(form, str):
        need(isinstance(value, str) and re.fullmatch(form, value), f"a string is not of form {form[:60]}")
    elif isinstance(form, list):
        need(isinstance(value, list) and form[1] <= len(value) <= form[2], "no array of the right length")
        for each in value:
            check(each, form[0])
    elif isinstance(form, dict):
        need(isinstance(value, dict), "no object")
        need("*" in form or value.keys() <= {name.removesuffix("?") for name in form}, "an unknown member")
        for name, inner in form.items():
            need(name[-1] in "?*" or name in value, f"a missing member {name}")
            if name != "*" and name.removesuffix("?") in value:
                check(value[name.removesuffix("?")], inner)
    else:
        need(form is not int or (type(value) is int and value >= 0), "no size")
        form(value)


def strict(data, limit):
    def members(pairs):
        need(len(dict(pairs)) == len(pairs), "a name stands twice")
        return dict(pairs)

    need(len(data) <= limit, "too many bytes")
    double = lambda text: need(len(text) <= 25, "too many digits") or float(text)  # noqa: E731
    value = json.loads(data.decode(), object_pairs_hook=members, parse_float=double)
    jcs(value)
    return value


def jcs(value, deepest=32):
    """RFC 8785; numbers as ECMAScript prints them, which has the same digits as Python."""
    need(deepest > 0 or not isinstance(value, dict | list), "JSON nested too deep")
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(name)}:{jcs(value[name], deepest - 1)}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(jcs(each, deepest - 1) for each in value) + "]"
    if isinstance(value, float):
        need(abs(value) < float("inf") and not 2**53 - 1 < abs(value) < 1e21, "a number out of range")
        if 1e-6 <= abs(value) < 1e21:
            return f"{Decimal(repr(value)).normalize():f}"
        return re.sub(r"e([+-])0*", r"e\1", repr(value)) if value else "0"
    need(not isinstance(value, int) or abs(value) < 2**53, "an integer out of range")
    return json.dumps(value, ensure_ascii=False).encode().decode()  # Which refuses lone surrogates.


def b64(value, most, url=b"+/"):
    need(len(value) <= (most + 2) // 3 * 4, "base64 of too many bytes")
    alphabet = url if re.search("[-_]", value) else b"+/"
    data = base64.b64decode(value, altchars=alphabet, validate=True)
    need(base64.b64encode(data, alphabet).decode() == value, "no base64 in its one form")
    return data


def load_verifier(entry):
    spki = b64(entry["publicKey"], 1024)
    key = serialization.load_der_public_key(spki)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    need(entry["keyid"] == "sha256:" + hashlib.sha256(der).hexdigest() and der == spki, "a key of another id")
    need(time(entry["validFrom"]) <= time(entry.get("validUntil", entry["validFrom"])), "a reversed window")
    if entry["scheme"] == "ed25519":
        need(isinstance(key, ed25519.Ed25519PublicKey), "a key of another kind than its scheme")
        y = int.from_bytes(key.public_bytes_raw(), "little") % 2**255
        need(y < PRIME and y not in {0, 1, PRIME - 1, Y8, PRIME - Y8}, "a weak Ed25519 key")
        return key.verify
    need(isinstance(getattr(key, "curve", None), ec.SECP256R1), "a key of another kind than its scheme")

    def ecdsa(sig, message):
        if entry["scheme"] == "ecdsa-p256-sha256-p1363":
            need(len(sig) == 64, "r and s have 32 bytes each")
            sig = utils.encode_dss_signature(int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:], "big"))
        key.verify(sig, message, ec.ECDSA(hashes.SHA256()))

    return ecdsa


def unseal(envelope, trust):
    payload, keys = b64(envelope["payload"], 2**20, b"-_"), []
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload)
    for signature in envelope["signatures"]:
        sig = b64(signature["sig"], 1024, b"-_")
        for entry, verify_signature in trust:
            keyid = signature.get("keyid", "")
            if (keyid == entry["keyid"] or not re.fullmatch(OURS, keyid)) and entry not in keys:
                with suppress(InvalidSignature, ValueError):
                    verify_signature(sig, message)
                    keys.append(entry)
                    break
    need(keys, "no signature of a trusted key fits: something was changed, or another key signed")
    statement = strict(payload, 2**20)
    need(jcs(statement).encode() == payload, "the statement is not canonical")
    check(statement, STATEMENT)
    return statement["subject"][0], statement["predicate"], keys


def verify(bundle, trust, now, asset=None):
    """From the bytes of a bundle and a trust store to the predicate, or ValueError."""
    try:
        trust, bundle = strict(trust, 2**20), strict(bundle, 2**22)
        check(trust, {"version": int, "keys": [KEY, 0, 1000]})
        check(bundle, BUNDLE)
        once = len({key["keyid"] for key in trust["keys"]}) == len(trust["keys"])
        need(once and trust["version"] > 0, "a key twice, or no version")
        trust = [(key, load_verifier(key)) for key in trust["keys"]]
        subject, proof, keys = unseal(bundle["envelope"], trust)
        issued, expires = time(proof["issuedAt"]), time(proof.get("expiresAt", NEVER))
        need(expires > issued, "a lifetime that ends before it begins")
        need(proof.get("supersedes") != proof["proofId"], "a proof that replaces itself")
        need(len(jcs(proof.get("claims", {})).encode()) <= 2**18, "claims too large")
        keys = [key for key in keys if "proof" in key["usages"] and proof["issuer"] in key["issuers"]]
        need(keys, "the key is not trusted for this issuer and use")
        keys = [key for key in keys if time(key["validFrom"]) <= issued <= time(key.get("validUntil", NEVER))]
        need(any("revoked" not in key for key in keys), "the key was not valid then, or is compromised")
        need(issued <= now + timedelta(minutes=5), "issued in the future")
        found = asset is not None and (hashlib.sha256(asset).hexdigest(), len(asset))
        need(not found or found == (subject["digest"]["sha256"], proof["asset"]["size"]), "another asset")
        # A valid notice revokes, and an invalid one spoils the bundle: either way, the proof does not hold.
        need(not bundle.get("status"), "revoked or erased, or the notice in the bundle is not valid")
        stamps = [each["response"] for each in bundle.get("timestamps", []) + bundle.get("renewals", [])]
        _ = [b64(each, 2**16) for each in stamps], b64(bundle.get("log", {}).get("entry", ""), 2**16 - 1)
        need(now < expires, f"expired at {proof.get('expiresAt')}")
        return proof
    except (UnsupportedAlgorithm, RecursionError) as error:
        raise ValueError(str(error)) from error


if __name__ == "__main__":
    given, trusted, *asset = [Path(name).read_bytes() for name in sys.argv[1:]]
    try:
        print(json.dumps(verify(given, trusted, datetime.now(UTC), *asset), indent=2))
    except ValueError as refusal:
        sys.exit(f"refused: {refusal}")
    print("verified, but not: the log, timestamps" + ("" if asset else ", the asset"), file=sys.stderr)
