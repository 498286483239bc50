// Public keys, and what WebCrypto says of their signatures. The scheme belongs to the key, never to a message.
import { Refusal, Unable, equal, fromHex, join, sha256, toHex } from "./bytes.js";

// What stands before the key in its DER SubjectPublicKeyInfo: RFC 8410, and RFC 5480 with an uncompressed point.
const ED25519_HEAD = fromHex("302a300506032b6570032100");
const P256_HEAD = fromHex("3059301306072a8648ce3d020106082a8648ce3d03010703420004");
const P256_SIZE = P256_HEAD.length + 64;
const PRIME = 2n ** 255n - 19n;
// The y coordinates of the points of small order (RFC 7748 section 7): with these a signature fits many messages.
const Y8 = littleEndian(fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"));
const SMALL_ORDER = [1n, PRIME - 1n, 0n, Y8, PRIME - Y8];
const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const SCHEMES = {
  ed25519: { algorithm: { name: "Ed25519" }, form: (sig) => sig },
  "ecdsa-p256-sha256": { algorithm: ECDSA, form: fromDer },
  "ecdsa-p256-sha256-p1363": { algorithm: ECDSA, form: (sig) => sig },
};

function littleEndian(bytes) {
  return BigInt(`0x${toHex(bytes.slice().reverse())}`);
}

export class PublicKey {
  constructor(scheme, spki, keyid, key) {
    Object.assign(this, { scheme, spki, keyid, key });
  }

  static async load(scheme, spki) {
    if (!Object.hasOwn(SCHEMES, scheme)) {
      throw new Refusal("PROOF_ALGORITHM", `the scheme of a key is unknown: ${scheme.slice(0, 64)}`);
    }
    const edwards = scheme === "ed25519";
    const head = edwards ? ED25519_HEAD : P256_HEAD;
    const size = edwards ? head.length + 32 : P256_SIZE;
    if (spki.length !== size || !equal(spki.slice(0, head.length), head)) {
      throw new Refusal("PROOF_ALGORITHM", `the public key is not of the kind that ${scheme} takes`);
    }
    if (edwards) {
      const y = littleEndian(spki.slice(head.length)) & (2n ** 255n - 1n);
      if (y >= PRIME || SMALL_ORDER.includes(y)) {
        throw new Refusal("PROOF_ALGORITHM", "the Ed25519 public key must not be used");
      }
    }
    const key = await imported(spki, SCHEMES[scheme].algorithm);
    return new PublicKey(scheme, spki, `sha256:${toHex(await sha256(spki))}`, key);
  }

  /** A raw Ed25519 key, as logs and witnesses have it. */
  static ofEd25519(raw) {
    return PublicKey.load("ed25519", join(ED25519_HEAD, raw));
  }

  async isSignature(signature, message) {
    const { algorithm, form } = SCHEMES[this.scheme];
    const formed = form(signature);
    return formed !== null && formed.length === 64 && crypto.subtle.verify(algorithm, this.key, formed, message);
  }
}

async function imported(spki, algorithm) {
  try {
    return await crypto.subtle.importKey("spki", spki, algorithm, false, ["verify"]);
  } catch (error) {
    if (error.name === "NotSupportedError") {
      throw new Unable(`this browser cannot check signatures of the kind ${algorithm.name}`);
    }
    throw new Refusal("PROOF_ALGORITHM", "the public key is not one of its kind");
  }
}

/** r and s of a DER ECDSA-Sig-Value (RFC 3279 section 2.2.3), 32 bytes each; null for anything else. */
function fromDer(der) {
  if (der.length < 8 || der.length > 72 || der[0] !== 0x30 || der[1] !== der.length - 2) {
    return null;
  }
  const numbers = [];
  let at = 2;
  while (at < der.length) {
    const size = der[at + 1];
    const number = der.slice(at + 2, at + 2 + size);
    const minimal = number[0] !== 0 || (number.length > 1 && number[1] >= 0x80);
    if (der[at] !== 2 || number.length !== size || size === 0 || number[0] >= 0x80 || !minimal) {
      return null;
    }
    const digits = number[0] === 0 ? number.slice(1) : number;
    if (digits.length > 32) {
      return null;
    }
    numbers.push(join(new Uint8Array(32 - digits.length), digits));
    at += 2 + size;
  }
  return numbers.length === 2 ? join(...numbers) : null;
}
