"""Makes the test vectors of envelope.md, and opens them. Standard library and cryptography only.

python envelope_vectors.py > vectors.json
python envelope_vectors.py vectors.json       # opens each and says so
"""

import hashlib
import hmac
import json
import pathlib
import struct
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

CODECS = ["none", "gzip", "zstd"]


def hkdf(secret, salt, info, length):
    """RFC 5869, using only HMAC."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    block, output, counter = b"", b"", 0
    while len(output) < length:
        counter += 1
        block = hmac.new(extracted, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
    return output[:length]


def derive(data_key, salt):
    """Chunk key, commitment, slot key, size mask."""
    derived = hkdf(data_key, salt, b"credstore envelope\x01\x01", 96)
    return derived[:32], derived[32:64], derived[64:88], derived[88:]


def associated_data(core, case):
    """The 32 bytes that bind each chunk."""
    text = core
    for name in ("store_id", "key", "dictionary"):
        part = case[name].encode()
        text += struct.pack(">I", len(part)) + part
    return hashlib.sha256(text).digest()


def encrypt(case):
    """The stored object."""
    plain, salt = bytes.fromhex(case["payload"]), bytes.fromhex(case["salt"])
    chunk_key, commitment, slot_key, mask = derive(bytes.fromhex(case["data_key"]), salt)
    size = case["plain_size"]
    flags = CODECS.index(case["codec"]) + (0 if size is None else 4)
    masked = bytes(a ^ b for a, b in zip(struct.pack(">Q", size or 0), mask, strict=True))
    core = bytes.fromhex("894353450d0a1a0a") + bytes([1, 1, flags, case["exponent"]])
    core += bytes.fromhex(case["write_id"]) + salt + commitment + masked
    wrapped = aes_key_wrap(bytes.fromhex(case["wrapping_key"]), bytes.fromhex(case["data_key"]))
    name = case["key_id"].encode()
    slot = bytes([len(name)]) + name + struct.pack(">H", len(wrapped)) + wrapped
    stored = core + slot + hmac.new(slot_key, slot, hashlib.sha256).digest()[:16]
    length = 2 ** case["exponent"]
    count = max(1, -(-len(plain) // length))
    for number in range(count):
        nonce = bytes(7) + struct.pack(">IB", number, number == count - 1)
        chunk = plain[number * length : (number + 1) * length]
        stored += AESGCM(chunk_key).encrypt(nonce, chunk, associated_data(core, case))
    return stored


def decrypt(stored, case):
    """Codec, plain size and payload of a stored object."""
    if stored[:10] != bytes.fromhex("894353450d0a1a0a0101"):
        raise ValueError
    flags, exponent, core = stored[10], stored[11], stored[:100]
    id_end = 101 + stored[100]
    (wrapped_size,) = struct.unpack(">H", stored[id_end : id_end + 2])
    slot_end = id_end + 2 + wrapped_size
    if stored[101:id_end].decode() != case["key_id"]:
        raise ValueError
    data_key = aes_key_unwrap(bytes.fromhex(case["wrapping_key"]), stored[id_end + 2 : slot_end])
    chunk_key, commitment, slot_key, mask = derive(data_key, core[28:60])
    slot_tag = hmac.new(slot_key, stored[100:slot_end], hashlib.sha256).digest()[:16]
    if not hmac.compare_digest(commitment, core[60:92]):
        raise ValueError
    if not hmac.compare_digest(slot_tag, stored[slot_end : slot_end + 16]):
        raise ValueError
    (size,) = struct.unpack(">Q", bytes(a ^ b for a, b in zip(core[92:], mask, strict=True)))
    chunks, length, plain = stored[slot_end + 16 :], 2**exponent + 16, b""
    count = max(1, -(-len(chunks) // length))
    for number in range(count):
        nonce = bytes(7) + struct.pack(">IB", number, number == count - 1)
        chunk = chunks[number * length : (number + 1) * length]
        plain += AESGCM(chunk_key).decrypt(nonce, chunk, associated_data(core, case))
    return CODECS[flags % 4], size if flags & 4 else None, plain


def bytes_of(label, length):
    """Bytes that look random and are always the same."""
    return b"".join(hashlib.sha256(f"{label} {n}".encode()).digest() for n in range(length // 32 + 1))[
        :length
    ]


def case(number, payload_size, exponent, **other):
    """The inputs of one vector."""
    return {
        "name": f"{payload_size} bytes in chunks of {2**exponent}",
        "store_id": "vectors",
        "key": f"claims/{number}.json",
        "dictionary": "",
        "write_id": bytes_of(f"write {number}", 16).hex(),
        "codec": "none",
        "plain_size": payload_size,
        "exponent": exponent,
        "salt": bytes_of(f"salt {number}", 32).hex(),
        "data_key": bytes_of(f"data key {number}", 32).hex(),
        "key_id": "local-1",
        "wrapping_key": bytes_of("wrapping key", 32).hex(),
        "payload": bytes_of(f"payload {number}", payload_size).hex(),
        **other,
    }


def cases():
    """One of each kind."""
    yield case(1, 0, 16)
    yield case(2, 1, 16, key="ключ/🔑.json", store_id="a store; with: signs")
    yield case(3, 4095, 12)
    yield case(4, 4096, 12, plain_size=None, key_id="k" * 255)
    yield case(5, 4097, 12)
    yield case(6, 8192, 12, key_id="arn:aws:kms:eu-west-1:111122223333:key/1234abcd")
    yield case(7, 300, 22, codec="gzip", plain_size=1000)
    yield case(8, 300, 14, codec="zstd", plain_size=2**40, dictionary=bytes_of("dictionary", 32).hex())
    yield case(9, 300, 14, codec="zstd", plain_size=None)


def main():
    """Make or check."""
    if len(sys.argv) == 1:
        vectors = [{**one, "stored": encrypt(one).hex()} for one in cases()]
        json.dump(vectors, sys.stdout, indent=1, ensure_ascii=True)
        print()
        return
    vectors = json.loads(pathlib.Path(sys.argv[1]).read_text())
    for one in vectors:
        found = decrypt(bytes.fromhex(one["stored"]), one)
        if found != (one["codec"], one["plain_size"], bytes.fromhex(one["payload"])):
            raise SystemExit(f"{one['name']}: other bytes")
    print(f"{len(vectors)} objects open")


if __name__ == "__main__":
    main()
