// Verifies with the page's modules in Node: a request a line on stdin, its result a line on stdout.
import { createInterface } from "node:readline";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
const site = new URL("../../credstore/web/site/", import.meta.url);
const { Unable, sha256 } = await import(new URL("bytes.js", site));
const { encodeJson, parseJson } = await import(new URL("json.js", site));
const { PublicKey } = await import(new URL("keys.js", site));
const { isIncluded, parsePolicy } = await import(new URL("log.js", site));
const { parseNote, parseVkey, verifyNote } = await import(new URL("note.js", site));
const { reportOf, shownClaims } = await import(new URL("report.js", site));
const { encodePae } = await import(new URL("statements.js", site));
const { parsePublished, parseTrustStore } = await import(new URL("trust.js", site));
const { verifyBundle } = await import(new URL("verify.js", site));

const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const hex = (data) => Buffer.from(data).toString("hex");

const verbs = {
  async bundle({ data, trust, now, asset, policy }) {
    const found = await verifyBundle(bytes(data), {
      trust: await parseTrustStore(bytes(trust)),
      now,
      asset: asset === null ? null : { sha256: await sha256(bytes(asset)), size: bytes(asset).length },
      policy: policy === null ? null : await parsePolicy(policy),
    });
    const { record, keyids, time, timeSource, state, unchecked, logged } = found;
    const witnesses = logged === null ? null : [...logged.witnesses.keys()].sort();
    const size = logged === null ? null : Number(logged.size);
    return { proofId: record.proofId, keyids, time, timeSource, state, unchecked: unchecked.sort(), witnesses, size };
  },
  async report({ data, trust, now, asset, policy, words }) {
    const found = await verifyBundle(bytes(data), {
      trust: await parseTrustStore(bytes(trust)),
      now,
      asset: asset === null ? null : { sha256: await sha256(bytes(asset)), size: bytes(asset).length },
      policy: policy === null ? null : await parsePolicy(policy),
    });
    const { record, ...report } = reportOf(words, found, { state: "verified", asset: asset !== null });
    return { ...report, claims: record.claims === null ? null : JSON.parse(shownClaims(record.claims)) };
  },
  async json({ data }) {
    return encodeJson(parseJson(bytes(data), 1 << 20));
  },
  async trust({ data }) {
    const trust = await parseTrustStore(bytes(data));
    return { version: trust.version, keyids: trust.keys.map((each) => each.keyid) };
  },
  async published({ data }) {
    return { version: (await parsePublished(bytes(data))).version };
  },
  async signature({ scheme, spki, sig, message }) {
    return (await PublicKey.load(scheme, bytes(spki))).isSignature(bytes(sig), bytes(message));
  },
  async pae({ type, body }) {
    return Buffer.from(encodePae(type, bytes(body))).toString("base64");
  },
  async note({ data, vkeys, kinds }) {
    const keys = await Promise.all(vkeys.map((each) => parseVkey(each, kinds)));
    const { verified, unable } = await verifyNote(parseNote(bytes(data)), keys);
    return { names: verified.map((each) => each.key.name), times: verified.map((each) => String(each.time)), unable };
  },
  async included({ hashes, index, size, leaf, root }) {
    const tree = { hashes: hashes.map(bytes), index: BigInt(index), size: BigInt(size) };
    return isIncluded({ ...tree, leaf: bytes(leaf), root: bytes(root) });
  },
  async digest({ data }) {
    return hex(await sha256(bytes(data)));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { verb, ...request } = JSON.parse(line);
  let result;
  try {
    result = { result: await verbs[verb](request) };
  } catch (error) {
    const code = error instanceof Unable ? "UNABLE" : (error.code ?? error.constructor.name);
    result = { error: String(code), message: error.message };
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
