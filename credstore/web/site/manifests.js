// Content Credentials (C2PA) that a file carries, read by @contentauth/c2pa-web, in this browser and offline.
// Whether their signers can be trusted is not decided here: that takes lists of certificates.

const LIBRARY = new URL("./c2pa/c2pa-web.js", import.meta.url);
const BINARY = new URL("./c2pa/c2pa.wasm", import.meta.url);
const WORKER = new URL("./c2pa/c2pa-worker.js", import.meta.url);
const OFFLINE = { verify: { remoteManifestFetch: false, ocspFetch: false, verifyTrust: false } };
const LARGEST = 256 * 1024 * 1024;
const DEEPEST = 4;
let opened = null;

async function library() {
  const { createC2pa, isSupportedReaderFormat } = await import(LIBRARY.href);
  // The library takes workers from https only; a page on this machine is as safe, and has none.
  const workerSrc = { protocol: "https:", toString: () => WORKER.href };
  return { c2pa: await createC2pa({ wasmSrc: BINARY.href, workerSrc, settings: OFFLINE }), isSupportedReaderFormat };
}

/** Blocks of rows about a file's manifest and its history; null where there is nothing to say. */
export async function readManifests(blob, type) {
  opened ??= library();
  const { c2pa, isSupportedReaderFormat } = await opened;
  if (blob.size > LARGEST || !isSupportedReaderFormat(type)) {
    return null;
  }
  const reader = await c2pa.reader.fromBlob(type, blob);
  if (reader === null) {
    return [{ title: "", rows: [["Found", "no Content Credentials in this file"]] }];
  }
  try {
    return blocksOf(await reader.manifestStore());
  } finally {
    await reader.free();
  }
}

function blocksOf(store) {
  const blocks = [{ title: "", rows: [["Integrity", integrity(store)], ["Signer", "not checked against a list of trusted certificates"]] }];
  const seen = new Set();
  const add = (label, depth, relationship) => {
    const manifest = store.manifests?.[label];
    if (manifest === undefined || seen.has(label) || depth > DEEPEST) {
      return;
    }
    seen.add(label);
    blocks.push({ title: relationship, rows: rowsOf(manifest) });
    for (const each of manifest.ingredients ?? []) {
      if (each.active_manifest) {
        add(each.active_manifest, depth + 1, `Made from: ${text(each.title ?? "an untitled file")}`);
      } else {
        blocks.push({ title: `Made from: ${text(each.title ?? "an untitled file")}`, rows: [["History", "none recorded"]] });
      }
    }
  };
  add(store.active_manifest, 0, "This file");
  return blocks;
}

function integrity(store) {
  const codes = (store.validation_status ?? []).map((each) => text(each.code)).filter((code) => code !== "signingCredential.untrusted");
  return codes.length === 0 ? "the file and its Content Credentials fit each other" : `broken: ${codes.join(", ")}`;
}

function rowsOf(manifest) {
  const info = manifest.signature_info ?? {};
  const tools = (manifest.claim_generator_info ?? []).map((each) => [each.name, each.version].filter(Boolean).join(" "));
  const actions = (manifest.assertions ?? [])
    .filter((each) => /^c2pa\.actions/.test(each.label))
    .flatMap((each) => each.data?.actions ?? [])
    .map((each) => text(each.action).replace(/^c2pa\./, ""));
  const rows = [
    ["Title", manifest.title],
    ["Signed by", [info.common_name, info.issuer].filter(Boolean).join(", ")],
    ["Signed at", info.time],
    ["Tool", tools.join(", ") || manifest.claim_generator],
    ["Actions", actions.join(", ")],
  ];
  return rows.filter(([, value]) => value).map(([name, value]) => [name, text(value)]);
}

function text(value) {
  return String(value).slice(0, 300);
}
