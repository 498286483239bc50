// Whose keys count: those a reader brings, in this order: a file, the link's fragment, the issuer's own site.
// Keys that come with the page itself show who signed, and never make a verdict green.
import { parseTrustStore, TrustStore } from "./trust.js";
import { parsePolicy } from "./log.js";
import { Refusal, Unable, textOf } from "./bytes.js";
import { parseBundle, verifyBundle } from "./verify.js";

const KEYID = /^sha256:[0-9a-f]{64}$/;

/** `key` and `log` of a fragment such as #key=sha256:…&log=VKEY; a plus sign stays one. */
export function parseFragment(hash) {
  const found = { key: null, log: null };
  for (const part of hash.replace(/^#/, "").split("&")) {
    const [name, ...rest] = part.split("=");
    if (Object.hasOwn(found, name)) {
      try {
        found[name] = decodeURIComponent(rest.join("="));
      } catch {
        throw new Refusal("CONFIGURATION", "the link's fragment cannot be read");
      }
    }
  }
  if (found.key !== null && !KEYID.test(found.key)) {
    throw new Refusal("CONFIGURATION", "the link's fragment has a key that is not sha256: and 64 hex digits");
  }
  return found;
}

export class Anchors {
  /**
   * @param nearby trust store and log policy of the page itself, which are nobody's word
   * @param where what to tell a reader who lacks a key: where it could come from
   */
  constructor(nearby, where) {
    this.nearby = nearby;
    this.where = where;
    this.file = null;
    this.pin = null;
    this.published = null;
    this.policy = null;
  }

  get none() {
    return this.nearby.trust.keys.length === 0 ? "this page has no keys, so it cannot tell who" : "none of the keys at hand";
  }

  get source() {
    return this.file !== null ? "file" : this.pin !== null ? "fragment" : this.published !== null ? "wellKnown" : "page";
  }

  /** Verify a bundle with them: `{proof, state}`, or what `verifyBundle` throws. */
  async judge(bytes, asset, now) {
    const trust = await this.trustFor(bytes);
    const counts = this.source !== "page";
    // A log that the page names shows nothing to whoever does not go by the page's keys either.
    const policy = this.policy ?? (counts ? null : this.nearby.policy);
    try {
      const proof = await verifyBundle(bytes, { trust, now, asset, policy });
      return { proof, state: counts ? "verified" : "consistent" };
    } catch (error) {
      throw this.explained(error, counts);
    }
  }

  explained(error, counts) {
    if (error.code === "PROOF_UNTRUSTED_KEY" && !counts) {
      return new Unable(`${this.none} signed this; ${this.where}`);
    }
    if (error.code === "PROOF_UNTRUSTED_KEY" && this.source === "fragment") {
      return new Refusal(error.code, "another key signed this proof, not the one in the link");
    }
    return error;
  }

  async trustFor(bytes) {
    const { keys } = this.nearby.trust;
    switch (this.source) {
      case "file":
        return this.file;
      case "wellKnown":
        return this.published;
      case "fragment": {
        const { envelope } = await parseBundle(bytes);
        if (!keys.some((each) => each.keyid === this.pin) && envelope.signatures.some((each) => each.keyid === this.pin)) {
          throw new Unable(`the key in the link is not at hand; ${this.where}`);
        }
        // Only the pinned key may sign proofs; the others can at most revoke, which never makes a verdict green.
        const others = (each) => each.usages.filter((usage) => usage !== "proof");
        return new TrustStore(1, keys.map((each) => (each.keyid === this.pin ? each : { ...each, usages: others(each) })));
      }
      default:
        return this.nearby.trust;
    }
  }
}

/** The keys that an issuer publishes on its site count for that site only. */
export function publishedBy(trust, origin) {
  const ofOrigin = (issuer) => URL.canParse(issuer) && new URL(issuer).origin === origin;
  const keys = trust.keys.map((each) => ({ ...each, issuers: each.issuers.filter(ofOrigin) }));
  return new TrustStore(trust.version, keys);
}

/** What the page has beside it; nothing where that is missing. */
export async function readNearby(fetched) {
  const none = new TrustStore(1, []);
  const [keys, policy] = await Promise.all([fetched("keys.json"), fetched("log-policy.txt")]);
  return {
    trust: keys === null ? none : await parseTrustStore(keys),
    policy: policy === null ? null : await parsePolicy(textOf(policy) ?? ""),
  };
}
