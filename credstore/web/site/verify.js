// What the Python package checks of a bundle, in its order. It fails closed: a result means that all of it passed.
import { Refusal, Unable, equal } from "./bytes.js";
import { parseJson } from "./json.js";
import { formatTime, readBase64, readHex, readList, readObject, readTime, refuse } from "./fields.js";
import { bindLogged, checkLog } from "./log.js";
import { parseNotice, parseRecord, readEnvelope, verifySignatures } from "./statements.js";

export const BUNDLE_TYPE = "application/vnd.credstore.proof-bundle.v1+json";
const LARGEST_BUNDLE = 4 * 1024 * 1024;
const SKEW = 5 * 60 * 1000;
const LARGEST_TOKEN = 64 * 1024;
const MOST_TOKENS = 8;

/** The parts of a bundle, about which nothing is verified. */
export async function parseBundle(bytes) {
  const needs = ["mediaType", "envelope", "madeAt"];
  const may = ["log", "timestamps", "renewals", "status"];
  const members = readObject(parseJson(bytes, LARGEST_BUNDLE), "the bundle", needs, may);
  if (members.mediaType !== BUNDLE_TYPE) {
    refuse("mediaType", `is not ${BUNDLE_TYPE}`);
  }
  const notices = readList("status" in members ? members.status : [], "status", 16);
  const tokens = readList("timestamps" in members ? members.timestamps : [], "timestamps", MOST_TOKENS);
  const renewals = readList("renewals" in members ? members.renewals : [], "renewals", MOST_TOKENS);
  const envelope = await readEnvelope(members.envelope, "envelope");
  const madeAt = readTime(members.madeAt, "madeAt");
  const status = [];
  for (const each of notices) {
    status.push(await readEnvelope(each, "status"));
  }
  tokens.forEach(checkTimestamp);
  const log = "log" in members ? readLog(members.log) : null;
  renewals.forEach(checkRenewal);
  return { envelope, madeAt, status, log, stamps: tokens.length + renewals.length };
}

function checkTimestamp(value) {
  const members = readObject(value, "a timestamp", ["type", "over", "response"], []);
  if (members.type !== "rfc3161" || members.over !== "signature") {
    refuse("a timestamp", "is not an rfc3161 one over a signature");
  }
  readBase64(members.response, "a timestamp's response", LARGEST_TOKEN);
}

function checkRenewal(value) {
  const members = readObject(value, "a renewal", ["covers", "response"], []);
  readList(members.covers, "covers", 64, 1).forEach((each) => readHex(each, "covers", 32));
  readBase64(members.response, "response", LARGEST_TOKEN);
}

function readLog(value) {
  const members = readObject(value, "log", ["entry", "proof"], []);
  if (typeof members.proof !== "string" || [...members.proof].length > 384 * 1024) {
    refuse("log.proof", "is not a string of its length");
  }
  return { entry: readBase64(members.entry, "log.entry", 65535), proof: members.proof };
}

/**
 * Verify a bundle, as bytes.
 *
 * @param trust the keys that count
 * @param now milliseconds since 1970, by the reader's clock
 * @param asset `{sha256, size}` of the bytes that the proof has to be about, or null
 * @param policy which logs count, or null
 * @returns the proof, its state ("valid", "expired" or "revoked"), what the log shows, and what was not checked
 */
export async function verifyBundle(bytes, { trust, now, asset = null, policy = null }) {
  const bundle = await parseBundle(bytes);
  const { envelope } = bundle;
  const unchecked = [];
  let logged = null;
  if (bundle.log !== null) {
    logged = policy === null ? null : await checkLog(bundle.log, envelope, policy);
    unchecked.push(logged === null ? "log" : "consistency");
  }
  if (bundle.stamps > 0) {
    unchecked.push("timestamps");
  }
  const times = logged === null || logged.time === null ? [] : logged.sigs.map((sig) => ({ time: logged.time, sig }));
  const proof = await verifySigned(bundle, { trust, now, asset, times });
  if (logged !== null) {
    await bindLogged(logged, proof, trust);
  }
  if (asset === null) {
    unchecked.push("asset");
  }
  const notices = [];
  for (const each of bundle.status) {
    notices.push(await verifyNotice(each, trust, now, proof));
  }
  const erased = notices.find((each) => each.kind === "erasure");
  if (erased !== undefined) {
    throw new Refusal("PROOF_ERASED", `the issuer has erased this proof at ${formatTime(erased.at)}`);
  }
  const notice = notices.reduce((first, each) => (first === null || each.at < first.at ? each : first), null);
  const expired = proof.record.expiresAt !== null && now >= proof.record.expiresAt;
  const state = notice !== null ? "revoked" : expired ? "expired" : "valid";
  return { ...proof, state, expired, notice, logged, unchecked, madeAt: bundle.madeAt };
}

async function verifySigned(bundle, { trust, now, asset, times }) {
  const { envelope } = bundle;
  const signed = await verifySignatures(envelope, trust);
  const record = parseRecord(envelope.payload);
  const accepted = acceptSignatures(signed, record, times, bundle.stamps > 0);
  if (record.issuedAt - now > SKEW) {
    throw new Refusal("PROOF_NOT_YET_VALID", `the proof was issued at ${formatTime(record.issuedAt)}, in the future`);
  }
  if (asset !== null && !(record.size === asset.size && equal(record.sha256, asset.sha256))) {
    throw new Refusal("PROOF_ASSET_MISMATCH", "the file is not the one that the proof is about");
  }
  const attested = accepted.map((each) => each.time).filter((each) => each !== null);
  return {
    record,
    envelope,
    keyids: accepted.map((each) => each.keyid),
    time: attested.length === 0 ? record.issuedAt : Math.min(...attested),
    timeSource: attested.length === 0 ? "issuer" : "witness",
  };
}

/** The signatures of keys that may sign this for its issuer at that time; at least one. */
function acceptSignatures(signed, record, times, hasTimestamps) {
  const accepted = [];
  let refused = null;
  for (const { key, sig } of signed) {
    // A trusted time is about one signature; it says nothing about one that was added later.
    const about = times.filter((each) => equal(each.sig, sig)).map((each) => each.time);
    const time = about.length === 0 ? null : Math.min(...about);
    try {
      checkKey(key, "proof", record.issuer);
      checkTime(key, record.issuedAt, time);
      accepted.push({ keyid: key.keyid, time });
    } catch (error) {
      refused ??= error;
    }
  }
  if (accepted.length > 0) {
    return accepted;
  }
  if (hasTimestamps && ["PROOF_KEY_REVOKED", "PROOF_KEY_EXPIRED"].includes(refused.code)) {
    throw new Unable(`${refused.message}; timestamps could show that it is older, and cannot be checked here`);
  }
  throw refused;
}

function checkKey(key, usage, issuer) {
  if (!key.usages.includes(usage)) {
    throw new Refusal("PROOF_UNTRUSTED_KEY", `the key ${key.keyid} is not for use '${usage}'`);
  }
  if (!key.issuers.includes(issuer)) {
    throw new Refusal("PROOF_UNTRUSTED_KEY", `the key ${key.keyid} does not count for the issuer ${issuer}`);
  }
}

function checkTime(key, claimed, trusted) {
  const time = trusted ?? claimed;
  if (key.invalidSince !== null && (trusted === null || time >= key.invalidSince)) {
    throw new Refusal(
      "PROOF_KEY_REVOKED",
      `the key ${key.keyid} has not counted since ${formatTime(key.invalidSince)}, and nothing shows the signature to be older`,
    );
  }
  // A witness's clock may be behind, and often has whole seconds only.
  const early = trusted !== null && key.validFrom - SKEW <= time && time < key.validFrom && key.validFrom <= claimed;
  const judged = early ? claimed : time;
  if (judged < key.validFrom || judged > key.validUntil) {
    throw new Refusal("PROOF_KEY_EXPIRED", `the key ${key.keyid} was not valid at ${formatTime(time)}`);
  }
  if (trusted !== null && claimed - trusted > SKEW) {
    throw new Refusal("PROOF_TIMESTAMP", "the proof says it was issued after the time that was attested for it");
  }
}

/** A revocation or an erasure of this proof, by a key that may. */
async function verifyNotice(envelope, trust, now, proof) {
  const signed = await verifySignatures(envelope, trust);
  const notice = parseNotice(envelope.payload);
  const { record } = proof;
  if (
    notice.proofId !== record.proofId ||
    notice.issuer !== record.issuer ||
    !equal(notice.digest, proof.envelope.digest)
  ) {
    throw new Refusal("PROOF_ID_MISMATCH", `this ${notice.kind} is about another proof`);
  }
  let refused = null;
  for (const { key } of signed) {
    const may = key.usages.includes("root") || (key.usages.includes("revoke") && key.issuers.includes(notice.issuer));
    if (!may) {
      refused ??= new Refusal("PROOF_UNTRUSTED_KEY", `the key ${key.keyid} may not revoke for ${notice.issuer}`);
    } else if (key.invalidSince !== null && notice.at >= key.invalidSince) {
      refused ??= new Refusal("PROOF_KEY_REVOKED", `the key ${key.keyid} was compromised before it signed this`);
    } else if (notice.at < key.validFrom || notice.at > key.validUntil) {
      refused ??= new Refusal("PROOF_KEY_EXPIRED", `the key ${key.keyid} was not valid at ${formatTime(notice.at)}`);
    } else {
      refused = null;
      break;
    }
  }
  if (refused !== null) {
    throw refused;
  }
  if (notice.at - now > SKEW) {
    throw new Refusal("PROOF_NOT_YET_VALID", `the ${notice.kind} is dated in the future`);
  }
  return notice;
}
