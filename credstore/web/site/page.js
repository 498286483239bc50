// The page at work: verifies its own proof, and whatever a reader gives it, in this browser.
import { Refusal, equal, sha256, textOf, toHex, utf8 } from "./bytes.js";
import { parseJson } from "./json.js";
import { Anchors, parseFragment, publishedBy, readNearby } from "./anchors.js";
import { makeCard, showHistory } from "./cards.js";
import { parsePolicy } from "./log.js";
import { fill, plainReport, reportOf, reportOfError, shownTime } from "./report.js";
import { PAYLOAD_TYPE } from "./statements.js";
import { parsePublished, parseTrustStore } from "./trust.js";
import { BUNDLE_TYPE, parseBundle } from "./verify.js";

const words = JSON.parse(document.getElementById("words").textContent);
const cards = document.getElementById("cards");
const served = cards.querySelector(".card");
const link = document.getElementById("bundle");
const { issuer, manifests } = document.body.dataset;
const WELL_KNOWN = "/.well-known/credstore-trust.json";
const LARGEST_DOCUMENT = 4 * 1024 * 1024;
const LARGEST_FILE = 1024 * 1024 * 1024;
const MOST_GIVEN = 2;
const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];

/** What is on the page: its own proof, then what the reader gave, newest last. */
const shown = [];
let anchors;

function say(text) {
  document.getElementById("said").textContent = text;
}

/** The bytes of a file beside these scripts; null where there is none. */
const fetched = (name) => fetchedFrom(new URL(name, import.meta.url));

/** The bytes that an element of this page leads to. */
async function followed(address) {
  if (address.startsWith("data:")) {
    return Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (each) => each.charCodeAt(0));
  }
  return fetchedFrom(new URL(address, document.baseURI));
}

async function fetchedFrom(url) {
  const response = await fetch(url, { credentials: "same-origin", redirect: "error" });
  return response.ok ? new Uint8Array(await response.arrayBuffer()) : null;
}

async function measure(bytes) {
  return { sha256: await sha256(bytes), size: bytes.length };
}

/** The card of one thing, as the keys that count now have it. */
async function cardOf(thing) {
  const now = Date.now();
  let report;
  try {
    const { proof, state } = await anchors.judge(thing.bundle, thing.asset, now);
    report = reportOf(words, proof, { state, asset: thing.asset !== null });
  } catch (error) {
    report = thing.bundle === null ? thing.report : reportOfError(words, error);
    if (error.code === "PROOF_ASSET_MISMATCH") {
      report.summary = words.summaries.otherFile;
    }
  }
  if (thing.name !== null) {
    report.facts = [[words.facts.file, thing.name], ...report.facts];
  }
  const by = fill(words.by[anchors.source], { at: shownTime(now), issuer: new URL(issuer || "about:blank").host });
  const card = makeCard(words, report, { by, picture: thing.picture, heading: thing.name === null ? "This browser" : null });
  card.dataset.given = thing.name === null ? "no" : "yes";
  return card;
}

let showing = Promise.resolve();

/** Shows everything anew; one time after the other. */
function show() {
  showing = showing.then(async () => {
    const made = [];
    for (const thing of shown) {
      made.push(await cardOf(thing));
    }
    cards.querySelectorAll("[data-given]").forEach((each) => each.remove());
    cards.append(...made);
    markDisputed(made);
    shown.forEach((thing, place) => showManifests(thing, made[place]));
    return made;
  });
  return showing;
}

/** Where this browser refuses the page's own proof, the page's own verdict does not stay green. */
function markDisputed(made) {
  const own = shown.findIndex((thing) => thing.name === null);
  if (served !== null && own >= 0 && made[own].dataset.state === "failed" && served.dataset.state !== "failed") {
    served.dataset.state = "unknown";
    served.querySelector('[data-part="title"]').textContent = words.states.disputed;
    served.querySelector('[data-part="summary"]').textContent = words.summaries.disputed;
  }
}

async function showManifests(thing, card) {
  if (thing.file === null) {
    return;
  }
  if (manifests !== "yes") {
    showHistory(card, [{ title: "", rows: [["Not read", "this site is set up without the reader of Content Credentials"]] }]);
    return;
  }
  try {
    const { readManifests } = await import("./manifests.js");
    const blocks = await readManifests(thing.file, thing.type);
    if (blocks !== null) {
      showHistory(card, blocks);
    }
  } catch (error) {
    showHistory(card, [{ title: "", rows: [["Not read", String(error.message ?? error).slice(0, 300)]] }]);
  }
}

/** The page's own proof, with its picture where the page has one. */
async function takeOwn() {
  if (link === null) {
    return;
  }
  const bundle = await followed(link.getAttribute("href"));
  const image = served?.querySelector("figure:not([hidden]) img") ?? null;
  const bytes = image === null ? null : await followed(image.getAttribute("src"));
  const asset = bytes === null ? null : await measure(bytes);
  const type = image === null ? "" : typeOf(image.getAttribute("src"));
  const file = bytes === null ? null : new Blob([bytes], { type });
  shown.push({ name: null, bundle: bundle ?? new Uint8Array(), asset, picture: null, file, type, report: null });
}

function typeOf(name) {
  const end = name.slice(name.lastIndexOf(".") + 1);
  return PICTURES.find((each) => each.endsWith(`/${end === "jpg" ? "jpeg" : end}`)) ?? "";
}

/** Whatever a reader gives: keys, a log policy, a proof, or a file that may have one. */
async function take(file) {
  if (file.size > LARGEST_FILE) {
    say(`${file.name} is too large to be read here; credstore proof verify reads it.`);
    return;
  }
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes.length <= LARGEST_DOCUMENT && (await takeDocument(file, bytes))) {
    return;
  }
  await takeAsset(file, bytes);
}

/** Takes keys, policies and proofs; false for any other file. */
async function takeDocument(file, bytes) {
  const text = textOf(bytes);
  if (text === null) {
    return false;
  }
  if (/^(#|log |witness |quorum )/m.test(text) && /^quorum /m.test(text) && !text.startsWith("{")) {
    anchors.policy = await parsePolicy(text);
    say(`${file.name}: the logs of this policy count now.`);
    await show();
    return true;
  }
  let members;
  try {
    members = parseJson(bytes, LARGEST_DOCUMENT);
  } catch {
    return false;
  }
  if (members?.mediaType === BUNDLE_TYPE) {
    await add({ name: file.name, bundle: bytes, asset: null, picture: null, file: null, type: "", report: null });
  } else if (members?.payloadType === PAYLOAD_TYPE) {
    anchors.file = await parsePublished(bytes);
    say(`${file.name}: the keys of this trust store count now. Who signed it was not checked.`);
    await show();
  } else if (Array.isArray(members?.keys)) {
    anchors.file = await parseTrustStore(bytes);
    say(`${file.name}: the keys of this trust store count now.`);
    await show();
  } else {
    return false;
  }
  return true;
}

async function takeAsset(file, bytes) {
  const asset = await measure(bytes);
  const picture = PICTURES.includes(file.type) ? URL.createObjectURL(file) : null;
  const thing = { name: file.name, bundle: null, asset, picture, file, type: file.type, report: null };
  thing.bundle = await bundleAbout(asset);
  if (thing.bundle === null) {
    const facts = [[words.facts.size, fill(words.values.size, asset)], [words.facts.digest, toHex(asset.sha256)]];
    const other = link === null ? null : words.summaries.otherFile;
    const checks = other === null ? [] : [["failed", other]];
    thing.report = plainReport(words, other === null ? "nothing" : "failed", other ?? words.summaries.noProof, checks, facts);
  }
  await add(thing);
}

/** The proof of a file: one on this page, one that was given, or one that this site has. */
async function bundleAbout(asset) {
  for (const thing of shown) {
    if (thing.bundle !== null && (await isAbout(thing.bundle, asset))) {
      return thing.bundle;
    }
  }
  const index = await fetched(`find/${toHex(asset.sha256)}.json`).catch(() => null);
  if (index === null) {
    return null;
  }
  const { proofs } = parseJson(index, LARGEST_DOCUMENT);
  const id = Array.isArray(proofs) ? proofs[0] : null;
  return typeof id === "string" && /^[0-9a-f-]{36}$/.test(id) ? fetched(`${id}.credproof.json`) : null;
}

async function isAbout(bundle, asset) {
  try {
    const { envelope } = await parseBundle(bundle);
    const statement = parseJson(envelope.payload, LARGEST_DOCUMENT);
    return equal(utf8(statement.subject[0].digest.sha256), utf8(toHex(asset.sha256)));
  } catch {
    return false;
  }
}

async function add(thing) {
  const given = shown.filter((each) => each.name !== null);
  if (given.length >= MOST_GIVEN) {
    const [oldest] = given;
    shown.splice(shown.indexOf(oldest), 1);
    if (oldest.picture !== null) {
      URL.revokeObjectURL(oldest.picture);
    }
  }
  shown.push(thing);
  const made = await show();
  say(`${thing.name}: ${made[shown.indexOf(thing)].querySelector('[data-part="title"]').textContent}`);
}

async function takeAll(files) {
  for (const file of files) {
    try {
      await take(file);
    } catch (error) {
      say(`${file.name}: ${error instanceof Refusal ? error.message : "it cannot be read"}`);
    }
  }
}

function prepareDrop() {
  const zone = document.getElementById("drop");
  const input = document.getElementById("files");
  input.addEventListener("change", () => takeAll([...input.files]).then(() => (input.value = "")));
  // On the whole page, since a browser leaves it for a file that is dropped beside the zone.
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", () => zone.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    takeAll([...event.dataTransfer.files]);
  });
}

/** The site of the issuer, which may publish its keys; null for an issuer without one. */
function siteOfIssuer() {
  return issuer.startsWith("https://") && URL.canParse(issuer) ? new URL(issuer).origin : null;
}

/** The one request to another site, and only on a click. */
function prepareWellKnown() {
  const origin = siteOfIssuer();
  if (origin === null) {
    return;
  }
  const button = document.getElementById("well-known");
  button.textContent = `Fetch the keys that ${origin} publishes`;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      const options = { credentials: "omit", redirect: "error", referrerPolicy: "no-referrer" };
      const response = await fetch(origin + WELL_KNOWN, options);
      if (!response.ok) {
        throw new Refusal("NOT_FOUND", "it publishes none");
      }
      anchors.published = publishedBy(await parsePublished(new Uint8Array(await response.arrayBuffer())), origin);
      say(`The keys that ${origin} publishes count now.`);
      await show();
    } catch (error) {
      const why = error instanceof Refusal ? error.message : "it cannot be reached from this page";
      say(`No keys from ${origin}: ${why}. Give its trust store as a file.`);
    }
  });
}

async function start() {
  document.getElementById("tools").hidden = false;
  const origin = siteOfIssuer();
  const where = origin === null ? words.keys.where : fill(words.keys.whereSite, { origin });
  anchors = new Anchors(await readNearby(fetched), where);
  prepareDrop();
  prepareWellKnown();
  await takeOwn();
  await followFragment();
  document.body.dataset.ready = "yes";
}

async function followFragment() {
  try {
    const { key, log } = parseFragment(location.hash);
    anchors.pin = key;
    if (log !== null) {
      anchors.policy = await parsePolicy(`log ${log}\nquorum none\n`);
    }
  } catch (error) {
    // A link that asks for a check that cannot be made does not fall back to a weaker one.
    anchors.judge = async () => {
      throw error;
    };
  }
  await show();
}

addEventListener("hashchange", () => location.reload());
start().catch((error) => {
  say(`This page cannot check anything here: ${error.message}`);
  document.body.dataset.ready = "failed";
});
