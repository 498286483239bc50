// What a transparency log shows: policies (c2sp.org/tlog-policy), entries, and proofs (c2sp.org/tlog-proof).
import { Refusal, Unable, equal, exactBytes, join, sha256, textOf, toHex } from "./bytes.js";
import { parseCanonical } from "./json.js";
import { readBase64, readId, readList, readObject, refuse } from "./fields.js";
import { NoteError, asCode, asCodeLater, decodeBase64, parseCheckpoint, parseNote, parseVkey } from "./note.js";
import { COSIGNATURE, ED25519, MLDSA_COSIGNATURE, readDecimal, verifyNote } from "./note.js";
import { PROOF_TYPE, TRUST_STORE_TYPE, parseEnvelope, parseNotice, parseRecord } from "./statements.js";

const HEAD = "c2sp.org/tlog-proof@v1";
const LARGEST_PROOF = 384 * 1024;
const KINDS = ["issue", "revoke", "erase", "keyring"];
const LATEST_SECOND = 253402300799n;
const EMPTY_ROOT = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** Which logs count, and how many witnesses it takes. */
export async function parsePolicy(text) {
  const policy = { logs: [], witnesses: new Map(), groups: new Map(), quorum: null };
  const members = new Set();
  const isTaken = (name) => name === "none" || policy.witnesses.has(name) || policy.groups.has(name);
  for (const [place, line] of text.split("\n").entries()) {
    const words = line.split(/[ \t]+/).filter((word) => word !== "");
    if (words.length === 0 || words[0].startsWith("#")) {
      continue;
    }
    const [verb, name, rule, ...rest] = words;
    const wrong = (why) => {
      throw new Refusal("CONFIGURATION", `line ${place + 1} of the log policy: ${why}`);
    };
    const keyOf = (vkey, kinds) => parseVkey(vkey ?? "", kinds).catch((error) => wrong(error.message));
    if (verb === "log" && words.length <= 3) {
      const key = await keyOf(name, [ED25519, MLDSA_COSIGNATURE]);
      if (policy.logs.some((each) => equal(each.public, key.public))) {
        wrong("the key of an earlier log");
      }
      policy.logs.push(key);
    } else if (verb === "witness" && (words.length === 3 || words.length === 4)) {
      const key = await keyOf(rule, [COSIGNATURE, MLDSA_COSIGNATURE]);
      if (isTaken(name) || [...policy.witnesses.values()].some((each) => equal(each.public, key.public))) {
        wrong("a name or key that is taken");
      }
      policy.witnesses.set(name, key);
    } else if (verb === "group" && words.length >= 4) {
      const least = leastOf(rule, rest.length);
      const unknown = rest.some((each) => each === "none" || !isTaken(each) || members.has(each));
      if (isTaken(name) || unknown || new Set(rest).size !== rest.length || least < 1 || least > rest.length) {
        wrong("a group of members that earlier lines define, each in one group");
      }
      rest.forEach((each) => members.add(each));
      policy.groups.set(name, { least, members: rest });
    } else if (verb === "quorum" && words.length === 2 && policy.quorum === null && (name === "none" || isTaken(name))) {
      policy.quorum = name;
    } else {
      wrong("it is not one of log, witness, group, and one quorum");
    }
  }
  if (policy.quorum === null) {
    throw new Refusal("CONFIGURATION", "a log policy has one quorum line, and this one has none");
  }
  return policy;
}

/** How many of a group's members it takes; 0 for what is no rule. */
function leastOf(rule, count) {
  if (rule === "all" || rule === "any") {
    return rule === "all" ? count : 1;
  }
  return /^[1-9][0-9]{0,2}$/.test(rule) ? Number(rule) : 0;
}

/** Since when a witness or group has seen a checkpoint: `{met, time}`, time Infinity where that is not known. */
function seenBy(policy, name, times) {
  if (policy.witnesses.has(name)) {
    return { met: times.has(name), time: times.get(name) ?? Infinity };
  }
  const group = policy.groups.get(name);
  const seen = group.members.map((each) => seenBy(policy, each, times)).filter((each) => each.met);
  if (seen.length < group.least) {
    return { met: false, time: Infinity };
  }
  return { met: true, time: seen.map((each) => each.time).sort((a, b) => a - b)[group.least - 1] };
}

/** The checkpoint, verified, and when its witnesses have seen it, in milliseconds. */
async function openCheckpoint(bytes, policy) {
  const note = asCode("CHECKPOINT", () => parseNote(bytes));
  const { verified } = await asCodeLater("CHECKPOINT", () => verifyNote(note, policy.logs));
  const checkpoint = parseCheckpoint(note.text);
  if (checkpoint.size === 0n && toHex(checkpoint.root) !== EMPTY_ROOT) {
    throw new Refusal("CHECKPOINT", "not the root of an empty log");
  }
  if (!verified.some((each) => each.key.name === checkpoint.origin)) {
    throw new Refusal("CHECKPOINT", `the log ${checkpoint.origin} has not signed its checkpoint`);
  }
  const { times, unable } = await cosigned(note, policy, verified);
  if (policy.quorum === "none") {
    return { checkpoint, witnesses: times, time: null };
  }
  const { met, time } = seenBy(policy, policy.quorum, times);
  if (!met && unable) {
    throw new Unable("this browser cannot check the ML-DSA signatures of the log's witnesses");
  }
  if (!met) {
    throw new Refusal("WITNESS_QUORUM", "too few of the witnesses that count have seen this state of the log");
  }
  return { checkpoint, witnesses: times, time: time === Infinity ? null : time };
}

async function cosigned(note, policy, ofLog) {
  const times = new Map();
  const keys = [...policy.witnesses.values()];
  const isKnown = (line) => keys.some((key) => key.name === line.name && toHex(key.id) === line.id);
  if (!note.signatures.some(isKnown)) {
    return { times, unable: false };
  }
  const all = [...keys, ...ofLog.map((each) => each.key)];
  const { verified, unable } = await asCodeLater("CHECKPOINT", () => verifyNote(note, all));
  for (const [name, key] of policy.witnesses) {
    const found = verified.find((each) => each.key === key);
    if (found !== undefined) {
      if (found.time > LATEST_SECOND) {
        throw new Refusal("CHECKPOINT", "the time of a cosignature is beyond the calendar");
      }
      times.set(name, found.time === 0n ? null : Number(found.time) * 1000);
    }
  }
  return { times, unable };
}

/** Index, hashes and checkpoint of a log's proof, about which nothing is verified. */
function parseLogProof(bytes) {
  const text = bytes.length > LARGEST_PROOF ? "" : latin(bytes);
  const end = text.indexOf("\n\n");
  const lines = text.slice(0, Math.max(end, 0)).split("\n");
  if (end < 0 || lines[0] !== HEAD || /[^\x00-\x7f]/.test(lines.join(""))) {
    throw new Refusal("LOG_INCLUSION", `not a log proof: it does not start with ${HEAD}, or has no checkpoint`);
  }
  return asCode("LOG_INCLUSION", () => {
    const rest = lines.slice(1);
    if (rest[0]?.startsWith("extra ")) {
      decodeBase64(rest.shift().slice(6));
    }
    const first = rest.shift() ?? "";
    if (!first.startsWith("index ")) {
      throw new NoteError("the log proof has no index");
    }
    const index = readDecimal(first.slice(6));
    const hashes = rest.map(decodeBase64);
    if (hashes.length > 63 || hashes.some((each) => each.length !== 32)) {
      throw new NoteError("a hash of the log proof is not of 32 bytes, or there are more than 63");
    }
    return { index, hashes, checkpoint: bytes.slice(end + 2) };
  });
}

function latin(bytes) {
  return Array.from(bytes, (each) => String.fromCharCode(each)).join("");
}

/** RFC 9162 section 2.1.3.2: whether a leaf is at an index of a tree. */
export async function isIncluded({ hashes, index, size, leaf, root }) {
  if (index >= size) {
    return false;
  }
  let at = index;
  let last = size - 1n;
  let found = leaf;
  for (const sibling of hashes) {
    if (last === 0n) {
      return false;
    }
    if ((at & 1n) === 1n || at === last) {
      found = await sha256(join(Uint8Array.of(1), sibling, found));
      while ((at & 1n) === 0n && at !== 0n) {
        at >>= 1n;
        last >>= 1n;
      }
    } else {
      found = await sha256(join(Uint8Array.of(1), found, sibling));
    }
    at >>= 1n;
    last >>= 1n;
  }
  return last === 0n && equal(found, root);
}

/** What a log of the policy shows about the statement of an envelope; null where it is of another log. */
export async function checkLog(part, envelope, policy) {
  const entry = await readEntry(part.entry, envelope);
  const bytes = exactBytes(part.proof);
  const proof = parseLogProof(bytes);
  const origin = textOf(proof.checkpoint.slice(0, indexOf(proof.checkpoint, 10)));
  if (!policy.logs.some((key) => key.name === origin)) {
    return null;
  }
  const opened = await openCheckpoint(proof.checkpoint, policy);
  const { size, root } = opened.checkpoint;
  const leaf = await sha256(join(Uint8Array.of(0), part.entry));
  if (!(await isIncluded({ hashes: proof.hashes, index: proof.index, size, leaf, root }))) {
    throw new Refusal("LOG_INCLUSION", "the proof of the log does not lead from the entry to its checkpoint");
  }
  return { ...entry, origin, index: proof.index, size, witnesses: opened.witnesses, time: opened.time };
}

function indexOf(bytes, byte) {
  const at = bytes.indexOf(byte);
  return at < 0 ? bytes.length : at;
}

/** What an entry says, if it is about this statement: digests of it, or the whole of it. */
async function readEntry(data, envelope) {
  if (latin(data.slice(0, 11)) === '{"payload":') {
    const whole = await parseEnvelope(data).catch((error) => {
      throw new Refusal("LOG_INCLUSION", `the log's entry is not a statement: ${error.message}`);
    });
    if (!equal(whole.digest, envelope.digest)) {
      throw new Refusal("LOG_INCLUSION", "the log's entry is another statement");
    }
    return { sigs: whole.signatures.map((each) => each.sig), keyid: null, proofId: null, subject: null };
  }
  const entry = asEntry(() => parseEntry(data));
  if (entry.pae !== `sha256:${toHex(envelope.digest)}` || entry.kind !== asEntry(() => kindOf(envelope.payload))) {
    throw new Refusal("LOG_INCLUSION", "the log's entry is about another statement");
  }
  return { sigs: [entry.sig], keyid: entry.keyid, proofId: entry.proofId, subject: entry.subject };
}

function asEntry(read) {
  try {
    return read();
  } catch (error) {
    throw error instanceof Refusal ? new Refusal("LOG_ENTRY", `not an entry: ${error.message}`) : error;
  }
}

function parseEntry(data) {
  const members = readObject(parseCanonical(data, 16 * 1024), "the entry", ["kind", "pae", "keyid", "sig", "v"]);
  if (members.v !== 1 || !KINDS.includes(members.kind) || typeof members.keyid !== "string") {
    refuse("the entry", "is of an unknown version or kind");
  }
  const isDigest = (value) => typeof value === "string" && /^sha256:[0-9a-f]{64}$/.test(value);
  const subject = members.subject ?? null;
  if (!isDigest(members.pae) || (subject !== null && !isDigest(readList(subject, "subject", 1, 1)[0]))) {
    refuse("a digest", "is not sha256:<64 hex digits>");
  }
  return {
    kind: members.kind,
    pae: members.pae,
    keyid: members.keyid,
    sig: readBase64(members.sig, "sig", 1024),
    proofId: "proofId" in members ? readId(members.proofId, "proofId") : null,
    subject: subject === null ? null : subject[0],
  };
}

function kindOf(payload) {
  const text = latin(payload);
  if (text.includes(`"predicateType":"${TRUST_STORE_TYPE}"`)) {
    return "keyring";
  }
  if (text.includes(`"predicateType":"${PROOF_TYPE}"`)) {
    parseRecord(payload);
    return "issue";
  }
  return parseNotice(payload).kind === "erasure" ? "erase" : "revoke";
}

/** Compare what was logged with the proof that verified. */
export async function bindLogged(logged, proof, trust) {
  const wrong = (message) => {
    throw new Refusal("LOG_INCLUSION", message);
  };
  if (logged.proofId !== null && logged.proofId !== proof.record.proofId) {
    wrong(`the log's entry is about proof ${logged.proofId}`);
  }
  if (logged.subject !== null && logged.subject !== `sha256:${toHex(proof.record.sha256)}`) {
    wrong("the log's entry is about another asset");
  }
  const signers = proof.keyids.filter((each) => logged.keyid === null || logged.keyid === each);
  for (const keyid of signers) {
    for (const sig of logged.sigs) {
      if (await trust.find(keyid)?.publicKey.isSignature(sig, proof.envelope.pae)) {
        return;
      }
    }
  }
  wrong("the log's entry has a signature that is not one of the proof's");
}

