// DSSE envelopes around in-toto statements: proofs, and the notices that revoke or erase them.
import { Refusal, binary, join, lengthOf, sha256, utf8 } from "./bytes.js";
import { encodedSize, parseCanonical, parseJson } from "./json.js";
import * as fields from "./fields.js";
import { LONGEST_ISSUER, readList, readObject, refuse } from "./fields.js";

export const PAYLOAD_TYPE = "application/vnd.in-toto+json";
const STATEMENT_TYPE = "https://in-toto.io/Statement/v1";
export const PROOF_TYPE = "https://credstore.dev/proof/v1";
export const TRUST_STORE_TYPE = "https://credstore.dev/keyring/v1";
const REVOCATION_TYPE = "https://credstore.dev/revocation/v1";
const ERASURE_TYPE = "https://credstore.dev/erasure/v1";
const REASONS = ["keyCompromise", "incorrect", "withdrawn", "legal", "unspecified"];
const LARGEST_PAYLOAD = 1024 * 1024;
const LARGEST_CLAIMS = 256 * 1024;
const LARGEST_ENVELOPE = 2 * 1024 * 1024;
const MOST_SIGNATURES = 8;
const MOST_TRIES = 64;
const KEYID = /^sha256:[0-9a-f]{64}$/;
const UNDERSTOOD = [
  "proofId", "issuer", "issuedAt", "expiresAt", "asset", "manifest", "claims", "uri", "supersedes", "critical",
];

/** DSSE's pre-authentication encoding: type and body, each behind its length in bytes. */
export function encodePae(type, body) {
  const kind = utf8(type);
  return join(utf8(`DSSEv1 ${kind.length} `), kind, utf8(` ${body.length} `), body);
}

export const parseEnvelope = (bytes) => readEnvelope(parseJson(bytes, LARGEST_ENVELOPE), "the envelope");

/** The payload's bytes, its signatures, what these sign, and the digest of that: the identity of the statement. */
export async function readEnvelope(value, name) {
  const members = readObject(value, name, ["payload", "payloadType", "signatures"]);
  if (members.payloadType !== PAYLOAD_TYPE) {
    refuse("payloadType", `is not ${PAYLOAD_TYPE}`);
  }
  const entries = readList(members.signatures, "signatures", MOST_SIGNATURES, 1);
  const payload = fields.readBase64(members.payload, "payload", LARGEST_PAYLOAD, true);
  const signatures = entries.map(readSignature);
  const pae = encodePae(PAYLOAD_TYPE, payload);
  return { payload, signatures, pae, digest: await sha256(pae) };
}

function readSignature(value) {
  const members = readObject(value, "a signature", ["sig"]);
  const keyid = members.keyid ?? ("keyid" in members ? null : "");
  if (typeof keyid !== "string" || lengthOf(keyid) > 255) {
    refuse("keyid", "is not a string of at most 255 characters");
  }
  return { keyid, sig: fields.readBase64(members.sig, "sig", 1024, true) };
}

/** The signatures that fit keys of a trust store, in the order of the envelope: `{key, sig}`. */
export async function verifySignatures(envelope, trust) {
  const found = new Map();
  let tries = 0;
  let untried = 0;
  const named = envelope.signatures.map((each) => [each, each.keyid && trust.find(each.keyid)]);
  // Those with an id first: whoever adds signatures without one must not use up what is tried.
  for (const [signature, key] of [...named.filter((each) => each[1]), ...named.filter((each) => !each[1])]) {
    for (const candidate of key ? [key] : candidates(signature.keyid, envelope, trust)) {
      if (found.has(candidate.keyid)) {
        continue;
      }
      if (tries >= MOST_TRIES) {
        untried += 1;
        continue;
      }
      tries += 1;
      if (await candidate.publicKey.isSignature(signature.sig, envelope.pae)) {
        found.set(candidate.keyid, { key: candidate, sig: signature.sig, place: envelope.signatures.indexOf(signature) });
        break;
      }
    }
  }
  if (found.size > 0) {
    return [...found.values()].sort((a, b) => a.place - b.place);
  }
  if (tries === 0) {
    throw new Refusal("PROOF_UNTRUSTED_KEY", "none of the keys that count signed this");
  }
  if (untried > 0) {
    throw new Refusal("PROOF_UNTRUSTED_KEY", "not all keys that count could be tried");
  }
  throw new Refusal(
    "PROOF_SIGNATURE",
    "no signature fits: the statement or a signature was changed, or another key signed",
  );
}

/** Keys for a signature whose id leads to none; what the payload says of its issuer only orders them. */
function candidates(keyid, envelope, trust) {
  if (KEYID.test(keyid)) {
    return [];
  }
  const payload = binary(envelope.payload);
  const isNamed = (key) => key.issuers.some((each) => payload.includes(`"issuer":"${each}"`));
  return [...trust.keys.filter(isNamed), ...trust.keys.filter((key) => !isNamed(key))];
}

export const parsePayload = (payload) => parseCanonical(payload, LARGEST_PAYLOAD);

/** Name and digest of the subject, and the predicate, of a statement of one kind. */
export function readStatement(statement, kind) {
  const members = readObject(statement, "the statement", ["_type", "subject", "predicateType", "predicate"], []);
  if (members._type !== STATEMENT_TYPE) {
    refuse("_type", "is not in-toto Statement v1");
  }
  if (members.predicateType !== kind) {
    refuse("predicateType", `is not ${kind}`);
  }
  const [subject] = readList(members.subject, "subject", 1, 1);
  const named = readObject(subject, "subject", ["name", "digest"], []);
  return {
    name: fields.readText(named.name, "subject.name", LONGEST_ISSUER),
    digest: readObject(named.digest, "subject.digest", ["sha256"], ["sha512"]),
    predicate: readObject(members.predicate, "predicate"),
  };
}

/** What a proof says, from the bytes that were signed. */
export function parseRecord(payload) {
  const { name, digest, predicate } = readStatement(parsePayload(payload), PROOF_TYPE);
  if (name !== "asset") {
    refuse("subject.name", "is not 'asset'");
  }
  readObject(predicate, "predicate", ["proofId", "issuer", "issuedAt", "asset"]);
  const asset = readObject(predicate.asset, "asset", ["size"]);
  const optional = (from, member, read) => (member in from ? read(from[member]) : null);
  const record = {
    proofId: fields.readId(predicate.proofId, "proofId"),
    issuer: fields.readUri(predicate.issuer, "issuer", LONGEST_ISSUER),
    issuedAt: fields.readTime(predicate.issuedAt, "issuedAt"),
    sha256: fields.readHex(digest.sha256, "subject.digest.sha256", 32),
    size: fields.readSize(asset.size, "asset.size"),
    sha512: optional(digest, "sha512", (value) => fields.readHex(value, "subject.digest.sha512", 64)),
    expiresAt: optional(predicate, "expiresAt", (value) => fields.readTime(value, "expiresAt")),
    mediaType: optional(asset, "mediaType", (value) => fields.readMediaType(value, "asset.mediaType")),
    softBindings: optional(asset, "softBindings", readSoftBindings),
    manifest: optional(predicate, "manifest", readManifest),
    claims: optional(predicate, "claims", (value) => readClaims(value, payload.length)),
    uri: optional(predicate, "uri", (value) => fields.readText(value, "uri", 2048)),
    supersedes: optional(predicate, "supersedes", (value) => fields.readId(value, "supersedes")),
  };
  optional(predicate, "critical", checkCritical);
  if (record.expiresAt !== null && record.expiresAt <= record.issuedAt) {
    refuse("expiresAt", "is not after issuedAt");
  }
  if (record.supersedes === record.proofId) {
    refuse("supersedes", "is the proof's own id");
  }
  return record;
}

function readSoftBindings(value) {
  return readList(value, "asset.softBindings", 16, 1).map((each) => {
    const members = readObject(each, "asset.softBindings", ["alg", "value"]);
    return {
      alg: fields.readText(members.alg, "softBindings.alg", 64),
      value: fields.readText(members.value, "softBindings.value", 4096),
    };
  });
}

function readManifest(value) {
  const members = readObject(value, "manifest", ["mediaType", "digest", "size"]);
  const digest = readObject(members.digest, "manifest.digest", ["sha256"]);
  return {
    sha256: fields.readHex(digest.sha256, "manifest.digest.sha256", 32),
    size: fields.readSize(members.size, "manifest.size"),
    mediaType: fields.readMediaType(members.mediaType, "manifest.mediaType"),
    uri: "uri" in members ? fields.readUri(members.uri, "manifest.uri") : null,
  };
}

function readClaims(value, size) {
  const claims = readObject(value, "claims");
  if (size > LARGEST_CLAIMS && encodedSize(claims) > LARGEST_CLAIMS) {
    refuse("claims", `has more than ${LARGEST_CLAIMS} bytes`);
  }
  return claims;
}

function checkCritical(value) {
  const names = readList(value, "critical", UNDERSTOOD.length, 1);
  if (!names.every((name) => UNDERSTOOD.includes(name))) {
    refuse("critical", "names a member that this version does not understand");
  }
}

/** What a revocation or an erasure says, from the bytes that were signed. */
export function parseNotice(payload) {
  const statement = readObject(parsePayload(payload), "the statement", ["predicateType"]);
  const erases = statement.predicateType === ERASURE_TYPE;
  const { name, digest, predicate } = readStatement(statement, erases ? ERASURE_TYPE : REVOCATION_TYPE);
  readObject(predicate, "predicate", ["proofId", "reason", "revokedAt", "issuer"]);
  if ("critical" in predicate) {
    refuse("critical", "names a member that this version does not understand");
  }
  if (!REASONS.includes(predicate.reason)) {
    refuse("reason", `is not one of ${REASONS.join(", ")}`);
  }
  const notice = {
    kind: erases ? "erasure" : "revocation",
    proofId: fields.readId(predicate.proofId, "proofId"),
    digest: fields.readHex(digest.sha256, "subject.digest.sha256", 32),
    issuer: fields.readUri(predicate.issuer, "issuer", LONGEST_ISSUER),
    reason: predicate.reason,
    at: fields.readTime(predicate.revokedAt, "revokedAt"),
  };
  if (name !== notice.proofId) {
    refuse("subject.name", "is not the proofId");
  }
  return notice;
}
