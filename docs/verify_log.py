"""Verify a C2SP transparency log without credstore: the standard library and `cryptography`, nothing else.

    python verify_log.py checkpoint  NOTE VKEY...
    python verify_log.py inclusion   PROOF ENTRY VKEY...
    python verify_log.py consistency OLD_NOTE NEW_NOTE HASHES VKEY...

An independent reading of c2sp.org/signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof and of RFC 9162
section 2.1. NOTE is a checkpoint with its signatures, PROOF a tlog-proof, ENTRY the entry's bytes, HASHES a
file with one base64 hash of the consistency proof a line. Every VKEY must have signed (type 01, Ed25519) or
cosigned (04 Ed25519, 06 ML-DSA-44) each note, and the first has to be the log's. Exit code 0: verified, with
what was verified as JSON; 1: refused, and why.
"""

import base64
import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519

SIZES = {1: 32, 4: 32, 6: 1312}
PRIME = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL = {0, 1, PRIME - 1, Y8, PRIME - Y8}


class Refused(Exception):  # noqa: N818 - a verdict
    """Something does not verify."""


def need(condition, reason):
    if not condition:
        raise Refused(reason)


def unbase64(text):
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise Refused("something is not base64") from None
    need(base64.b64encode(data).decode() == text, "something is not the one base64 of its bytes")
    return data


def number(text):
    need(
        text.isascii() and text.isdigit() and len(text) < 20 and str(int(text)) == text,
        "a number is malformed",
    )
    need(int(text) < 2**63, "a number is 2^63 or more")
    return int(text)


def read(name, most):
    with Path(name).open("rb") as file:
        data = file.read(most + 1)
    need(len(data) <= most, f"{name} has more than {most} bytes")
    return data


# Keys and notes.


def vkey(text):
    """Name, type and key of a vkey, which has two plus signs and perhaps more in its base64."""
    parts = text.split("+", 2)
    need(len(parts) == 3, "a vkey is NAME+ID+KEY")
    name, key_id, raw = parts[0], parts[1], unbase64(parts[2])
    need(raw and SIZES.get(raw[0]) == len(raw) - 1, f"the vkey of {name} is of an unknown type")
    need(
        hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] == key_id, f"the id in the vkey of {name}"
    )
    if raw[0] != 6:
        y = int.from_bytes(raw[1:], "little") & (2**255 - 1)
        need(y < PRIME and y not in SMALL, f"the key of {name} must not be used")
    return name, raw[0], raw[1:], bytes.fromhex(key_id)


def message(key, text, time):
    name, kind, _, _ = key
    if kind == 1:
        return text.encode()
    if kind == 4:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    origin, size, root = text.split("\n")[:3]
    parts = [b"subtree/v1\n\0", bytes([len(name.encode())]), name.encode(), time.to_bytes(8, "big")]
    parts += [bytes([len(origin.encode())]), origin.encode(), bytes(8), number(size).to_bytes(8, "big")]
    return b"".join([*parts, unbase64(root)])


def fits(key, signature, text):
    """Whether one signature fits, with its time where it has one."""
    _, kind, public, _ = key
    time = None
    if kind != 1:
        time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
        need(time < 2**63, "a cosignature is from beyond 2^63")
    try:
        if kind == 6:
            from cryptography.hazmat.primitives.asymmetric import mldsa

            mldsa.MLDSA44PublicKey.from_public_bytes(public).verify(signature, message(key, text, time))
        else:
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message(key, text, time))
    except ImportError:
        raise Refused("ML-DSA-44 needs a newer cryptography") from None
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False, None
    return True, time


def checkpoint(data, keys):
    """Origin, size, root and times of a checkpoint that all keys have signed."""
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise Refused("the note is not UTF-8") from None
    need(all(each >= " " or each == "\n" for each in whole), "the note has control characters")
    text, found, rest = whole.rpartition("\n\n")
    need(found and rest.endswith("\n"), "the note has no signatures, or ends within a line")
    text += "\n"
    lines = text.split("\n")[:-1]
    need(len(lines) >= 3 and all(lines), "a checkpoint has three lines or more, none of them empty")
    origin, size, root = lines[0], number(lines[1]), unbase64(lines[2])
    need(len(root) == 32, "the root has another length")
    need(size or root == hashlib.sha256(b"").digest(), "not the root of an empty log")
    need(keys[0][0] == origin and keys[0][1] in {1, 6}, f"the first key is not that of the log {origin}")
    signed = {}
    signatures = rest.split("\n")[:-1]
    need(len(signatures) <= 64, "more than 64 signatures")
    for line in signatures:
        need(line.startswith("\u2014 "), "a signature does not start with an em dash")
        name, _, encoded = line[2:].partition(" ")
        raw = unbase64(encoded)
        need(len(raw) > 4, "a signature has only an id")
        for key in keys:
            if (key[0], key[3]) == (name, raw[:4]):
                good, time = fits(key, raw[4:], text)
                need(good, f"the signature of {name} does not fit")
                signed.setdefault(key, time)
    for key in keys:
        need(key in signed, f"{key[0]} has not signed the checkpoint")
    return origin, size, root, {key[0]: signed[key] for key in keys if key[1] != 1}


# Trees, RFC 9162 section 2.1.


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def inclusion(hashes, index, size, leaf, root):
    """Section 2.1.3.2."""
    need(index < size, "the index is beyond the size")
    fn, sn, r = index, size - 1, leaf
    for p in hashes:
        need(sn != 0, "the proof has too many hashes")
        if fn % 2 or fn == sn:
            r = node(p, r)
            while fn % 2 == 0 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the proof has too few hashes")
    need(r == root, "the entry is not at this index of this tree")


def consistency(hashes, first, first_root, second, second_root):
    """Section 2.1.4.2, with the cases of no entries and of equal sizes."""
    need(first <= second, "the new checkpoint is smaller than the old one")
    if first in {0, second}:
        need(not hashes, "a proof where nothing needs to be proved")
        need(first == 0 or first_root == second_root, "two roots for one size")
        return
    need(hashes, "the proof is empty")
    path = [first_root, *hashes] if first & (first - 1) == 0 else hashes
    fn, sn = first - 1, second - 1
    while fn % 2:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        need(sn != 0, "the proof has too many hashes")
        if fn % 2 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while fn % 2 == 0 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "the proof has too few hashes")
    need(fr == first_root and sr == second_root, "the new tree does not continue the old one")


def hashes_of(lines):
    need(len(lines) <= 64, "more than 64 hashes")
    found = [unbase64(line) for line in lines]
    need(all(len(each) == 32 for each in found), "a hash is not of 32 bytes")
    return found


def proof_parts(data):
    """Index, hashes and checkpoint of a tlog-proof."""
    head, found, note = data.partition(b"\n\n")
    lines = head.decode("ascii", errors="replace").split("\n")
    need(found and lines[0] == "c2sp.org/tlog-proof@v1", "this is not a tlog-proof")
    at = 2 if lines[1:] and lines[1].startswith("extra ") else 1
    need(lines[at:] and lines[at].startswith("index "), "the proof has no index")
    return number(lines[at].removeprefix("index ")), hashes_of(lines[at + 1 :]), note


def run(verb, *words):
    files = {"checkpoint": 1, "inclusion": 2, "consistency": 3}.get(verb)
    need(files is not None and len(words) > files, __doc__)
    keys = [vkey(each) for each in words[files:]]
    need(len({key[2] for key in keys}) == len(keys), "one key is named twice")
    if verb == "checkpoint":
        found = checkpoint(read(words[0], 256 * 1024), keys)
    elif verb == "inclusion":
        index, hashes, note = proof_parts(read(words[0], 384 * 1024))
        found = checkpoint(note, keys)
        leaf = hashlib.sha256(b"\0" + read(words[1], 65_535)).digest()
        inclusion(hashes, index, found[1], leaf, found[2])
    else:
        old = checkpoint(read(words[0], 256 * 1024), keys)
        found = checkpoint(read(words[1], 256 * 1024), keys)
        lines = read(words[2], 4096).decode("ascii", errors="replace").split("\n")
        need(lines.pop() == "", "the file of hashes ends within a line")
        consistency(hashes_of(lines), old[1], old[2], found[1], found[2])
    times = {name: time and datetime.fromtimestamp(time, UTC).isoformat() for name, time in found[3].items()}
    return {"origin": found[0], "size": found[1], "root": found[2].hex(), "cosigned": times}


if __name__ == "__main__":
    try:
        print(json.dumps(run(*(sys.argv[1:] or [""]))))
    except (Refused, OSError, OverflowError, ValueError) as error:
        sys.exit(f"refused: {error}")
