// What a verdict says to people: state, title, summary, facts and checks, in the words of words.json.
// The same as credstore/web/report.py makes on the server; a test compares the two.
import { Refusal, Unable, toHex } from "./bytes.js";
import { Real } from "./json.js";
import { formatTime } from "./fields.js";

/** A sentence with its gaps filled. */
export function fill(sentence, values) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** A time for people, to the second. */
export const shownTime = (time) => `${formatTime(time).slice(0, 19).replace("T", " ")} UTC`;

/** The report about a proof that verified: `state` is "verified" or "consistent", unless it ended. */
export function reportOf(words, proof, { state, asset }) {
  const { record } = proof;
  const summaries = words.summaries;
  const report = { state, title: words.states[state], facts: factsOf(words, proof), checks: [], record };
  const said = { issuer: record.issuer };
  if (proof.state === "valid") {
    report.summary = fill(state === "verified" && asset ? summaries.verifiedFile : summaries[state], said);
  } else {
    const at = shownTime(proof.state === "revoked" ? proof.notice.at : record.expiresAt);
    report.state = "failed";
    report.title = words.states.failed;
    report.summary = fill(summaries[proof.state], { ...said, at, reason: proof.notice?.reason });
  }
  report.checks = checksOf(words, proof, { checked: state === "verified", asset });
  return report;
}

function factsOf(words, proof) {
  const { record, logged } = proof;
  const { facts, values } = words;
  const rows = [
    [facts.issuer, record.issuer],
    [facts.time, fill(values.time, { time: shownTime(proof.time), clock: values[proof.timeSource] })],
    [facts.expires, record.expiresAt === null ? values.never : shownTime(record.expiresAt)],
  ];
  if (record.mediaType !== null) {
    rows.push([facts.type, record.mediaType]);
  }
  rows.push([facts.size, fill(values.size, { size: record.size })], [facts.digest, toHex(record.sha256)]);
  if (logged !== null) {
    const seen = logged.time === null ? values.log : values.logSeen;
    rows.push([facts.log, fill(seen, { ...logged, at: logged.time === null ? "" : shownTime(logged.time) })]);
  }
  proof.keyids.forEach((keyid) => rows.push([facts.key, keyid]));
  rows.push([facts.id, record.proofId]);
  if (record.supersedes !== null) {
    rows.push([facts.supersedes, record.supersedes]);
  }
  if (record.uri !== null) {
    rows.push([facts.uri, record.uri]);
  }
  return rows;
}

function checksOf(words, proof, { checked, asset }) {
  const { checks } = words;
  const at = shownTime(proof.madeAt);
  const rows = [
    ["done", checks.signature],
    ["done", checks.form],
    checked ? ["done", checks.issuer] : ["open", checks.issuerOpen],
    asset ? ["done", checks.asset] : ["open", checks.assetOpen],
    proof.expired ? ["failed", checks.expiryFailed] : ["done", checks.expiry],
    proof.notice === null ? ["done", fill(checks.status, { at })] : ["failed", checks.statusFailed],
  ];
  if (proof.logged !== null) {
    rows.push(["done", checks.log]);
    const names = [...proof.logged.witnesses.keys()].sort().join(", ");
    if (proof.logged.time !== null) {
      rows.push(["done", fill(checks.witnesses, { names })]);
    }
  }
  if (proof.notice === null) {
    rows.push(["open", fill(checks.statusOpen, { at })]);
  }
  if (proof.logged === null) {
    rows.push(["open", proof.unchecked.includes("log") ? checks.logOpen : checks.noLog]);
  }
  for (const each of ["consistency", "timestamps"]) {
    if (proof.unchecked.includes(each)) {
      rows.push(["open", checks[each]]);
    }
  }
  return rows;
}

/** The report about what did not verify: an error that nobody expected is no verdict. */
export function reportOfError(words, error) {
  const state = error instanceof Refusal ? "failed" : "unknown";
  const expected = error instanceof Refusal || error instanceof Unable;
  const text = expected ? sentence(error.message) : "This browser could not finish the checks.";
  return plainReport(words, state, text, state === "failed" ? [["failed", text]] : [["open", text]]);
}

export function plainReport(words, state, summary, checks = [], facts = []) {
  return { state, title: words.states[state], summary, facts, checks, record: null };
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.:!?]$/.test(text) ? "" : "."}`;
}

/** Claims for people: JSON with indents, of values as the strict reader has them. */
export function shownClaims(claims) {
  return JSON.stringify(claims, (_, value) => (value instanceof Real ? value.value : value), 2);
}
