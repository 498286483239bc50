// Trust stores: which public keys count, for which issuers, uses and times.
import { Refusal, equal, sha256, utf8 } from "./bytes.js";
import { encodeJson, parseJson } from "./json.js";
import * as fields from "./fields.js";
import { readList, readObject, refuse } from "./fields.js";
import { PublicKey } from "./keys.js";
import { TRUST_STORE_TYPE, parseEnvelope, parsePayload, readStatement } from "./statements.js";

const LARGEST = 1024 * 1024;
const USAGES = ["proof", "revoke", "log", "root"];

export class TrustStore {
  constructor(version, keys) {
    this.version = version;
    this.keys = keys;
  }

  find(keyid) {
    return this.keys.find((each) => each.keyid === keyid) ?? null;
  }

  /** Those of its keys that a test lets through. */
  only(test) {
    return new TrustStore(this.version, this.keys.filter(test));
  }
}

export const parseTrustStore = (bytes) => readTrustStore(parseJson(bytes, LARGEST));

async function readTrustStore(value) {
  const members = readObject(value, "the trust store", ["version", "keys"], []);
  const keys = [];
  for (const [place, entry] of readList(members.keys, "keys", 1000).entries()) {
    keys.push(await readKey(entry, `keys[${place}]`));
  }
  if (new Set(keys.map((each) => each.keyid)).size !== keys.length) {
    refuse("keys", "has a key twice");
  }
  return new TrustStore(fields.readSize(members.version, "version", 1), keys);
}

async function readKey(value, place) {
  const needs = ["keyid", "publicKey", "scheme", "issuers", "usages", "validFrom"];
  const members = readObject(value, place, needs, ["validUntil", "revoked"]);
  const spki = fields.readBase64(members.publicKey, `${place}.publicKey`, 1024);
  const publicKey = await PublicKey.load(fields.readText(members.scheme, `${place}.scheme`, 64), spki);
  if (members.keyid !== publicKey.keyid) {
    refuse(`${place}.keyid`, "is not the digest of its publicKey");
  }
  const issuers = readList(members.issuers, `${place}.issuers`, 100).map((each) =>
    fields.readUri(each, `${place}.issuers`, fields.LONGEST_ISSUER),
  );
  const usages = readList(members.usages, `${place}.usages`, USAGES.length, 1);
  if (!usages.every((each) => USAGES.includes(each))) {
    refuse(`${place}.usages`, `has values other than ${USAGES.join(", ")}`);
  }
  const validFrom = fields.readTime(members.validFrom, `${place}.validFrom`);
  const validUntil = "validUntil" in members ? fields.readTime(members.validUntil, `${place}.validUntil`) : Infinity;
  let invalidSince = null;
  if ("revoked" in members) {
    const revoked = readObject(members.revoked, `${place}.revoked`, ["at", "invalidSince"], []);
    fields.readTime(revoked.at, `${place}.revoked.at`);
    invalidSince = fields.readTime(revoked.invalidSince, `${place}.revoked.invalidSince`);
  }
  if (validUntil < validFrom) {
    refuse(`${place}.validUntil`, "is before validFrom");
  }
  return { publicKey, keyid: publicKey.keyid, issuers, usages, validFrom, validUntil, invalidSince };
}

/** The trust store in a published statement. Whoever signed it is for the caller to judge. */
export async function parsePublished(bytes) {
  const envelope = await parseEnvelope(bytes);
  const { name, digest, predicate } = readStatement(parsePayload(envelope.payload), TRUST_STORE_TYPE);
  const trust = await readTrustStore(predicate);
  const found = await sha256(utf8(encodeJson(predicate)));
  if (name !== "keyring" || !equal(fields.readHex(digest.sha256, "subject.digest.sha256", 32), found)) {
    throw new Refusal("PROOF_FORMAT", "the subject is not this trust store");
  }
  return trust;
}
