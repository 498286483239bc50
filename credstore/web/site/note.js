// Signed notes and their keys: c2sp.org/signed-note, c2sp.org/tlog-cosignature.
import { Refusal, Unable, fromBase64, join, sha256, textOf, toHex, utf8 } from "./bytes.js";
import { PublicKey } from "./keys.js";

export const ED25519 = 1;
export const COSIGNATURE = 4;
export const MLDSA_COSIGNATURE = 6;
const KEY_SIZES = { [ED25519]: 32, [COSIGNATURE]: 32, [MLDSA_COSIGNATURE]: 1312 };
const SIGNATURE_SIZES = { [ED25519]: 64, [COSIGNATURE]: 72 };
const LARGEST_NOTE = 256 * 1024;
const MOST_LINES = 64;
const LATEST = 2n ** 63n - 1n;
const SPACE = /[\x00-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** Why a note, a key or a log's proof is not one; its caller knows the code. */
export class NoteError extends Error {}

export function decodeBase64(text) {
  const bytes = fromBase64(text);
  if (bytes === null) {
    throw new NoteError("not base64 in its one form");
  }
  return bytes;
}

/** A number below 2^63 without sign or leading zeros. */
export function readDecimal(text) {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(text) || BigInt(text) > LATEST) {
    throw new NoteError("not a decimal number below 2^63");
  }
  return BigInt(text);
}

export function checkName(name) {
  const size = utf8(name).length;
  if (size < 1 || size > 255 || name.includes("+") || SPACE.test(name)) {
    throw new NoteError("a name has 1 to 255 bytes without spaces, plus signs and control characters");
  }
  return name;
}

export function bytesOf(number) {
  return Uint8Array.from({ length: 8 }, (_, place) => Number((number >> BigInt(8 * (7 - place))) & 255n));
}

/** The key of NAME+ID+KEY, of one of these kinds. */
export async function parseVkey(text, kinds) {
  const [name, id, ...rest] = text.split("+");
  const raw = decodeBase64(rest.join("+"));
  const kind = raw[0];
  checkName(name);
  if (!kinds.includes(kind) || raw.length !== KEY_SIZES[kind] + 1) {
    throw new NoteError("not a vkey, or of a kind that is not for this");
  }
  const key = { name, kind, public: raw.slice(1), id: await keyId(name, raw), loaded: null };
  if (toHex(key.id) !== id) {
    throw new NoteError("the id of the vkey is not that of its key");
  }
  if (kind !== MLDSA_COSIGNATURE) {
    key.loaded = await PublicKey.ofEd25519(key.public);
  }
  return key;
}

async function keyId(name, raw) {
  return (await sha256(join(utf8(`${name}\n`), raw))).slice(0, 4);
}

/** Text and signatures of a note, about which nothing is verified. */
export function parseNote(bytes) {
  const whole = bytes.length > LARGEST_NOTE ? null : textOf(bytes);
  if (whole === null || /[\x00-\x09\x0b-\x1f]/.test(whole)) {
    throw new NoteError("not a note: too large, not UTF-8, or with control characters");
  }
  const end = whole.lastIndexOf("\n\n");
  const rest = whole.slice(end + 2);
  if (end < 0 || !rest.endsWith("\n")) {
    throw new NoteError("a note without signatures, or that ends within a line");
  }
  const text = whole.slice(0, end + 1);
  const lines = rest.slice(0, -1).split("\n");
  if (text.split("\n").length - 1 > MOST_LINES || lines.length > 64) {
    throw new NoteError("a note of too many lines");
  }
  return { text, signatures: lines.map(readSignature) };
}

function readSignature(line) {
  if (!line.startsWith("— ")) {
    throw new NoteError("a signature starts with an em dash and a space");
  }
  const rest = line.slice(2);
  const space = rest.includes(" ") ? rest.indexOf(" ") : rest.length;
  const raw = decodeBase64(rest.slice(space + 1));
  if (raw.length <= 4) {
    throw new NoteError("no signature after its id");
  }
  return { name: checkName(rest.slice(0, space)), id: toHex(raw.slice(0, 4)), raw: raw.slice(4) };
}

/**
 * The signatures of known keys, at most one for each key: `{key, time}`. A known key's that does not fit
 * refuses the note. WebCrypto has no ML-DSA everywhere: such lines are carried along, and do not count.
 */
export async function verifyNote(note, keys) {
  const known = new Map(keys.map((key) => [`${key.name} ${toHex(key.id)}`, key]));
  const found = new Map();
  let unable = false;
  for (const line of note.signatures) {
    const key = known.get(`${line.name} ${line.id}`);
    if (key !== undefined && key.loaded === null) {
      unable = true;
    } else if (key !== undefined) {
      const time = await verifyLine(line, key, note.text);
      if (!found.has(key)) {
        found.set(key, { key, time });
      }
    }
  }
  if (found.size === 0) {
    if (unable) {
      throw new Unable("this browser cannot check ML-DSA signatures");
    }
    throw new NoteError("no known key has signed the note");
  }
  return { verified: [...found.values()], unable };
}

async function verifyLine(line, key, text) {
  if (line.raw.length !== SIGNATURE_SIZES[key.kind]) {
    throw new NoteError(`the signature of ${key.name} has the wrong length`);
  }
  let message = utf8(text);
  let time = null;
  if (key.kind === COSIGNATURE) {
    time = BigInt(`0x${toHex(line.raw.slice(0, 8))}`);
    if (time > LATEST) {
      throw new NoteError(`the time of the signature of ${key.name} is beyond 2^63`);
    }
    message = utf8(`cosignature/v1\ntime ${time}\n${text}`);
  }
  if (!(await key.loaded.isSignature(line.raw.slice(-64), message))) {
    throw new NoteError(`the signature of ${key.name} does not fit the note`);
  }
  return time;
}

/** Origin, size and root of a checkpoint's text. */
export function parseCheckpoint(text) {
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.length < 3 || lines.includes("")) {
    throw new Refusal("CHECKPOINT", "a checkpoint has three lines or more, none of them empty");
  }
  return asCode("CHECKPOINT", () => {
    const found = { origin: lines[0], size: readDecimal(lines[1]), root: decodeBase64(lines[2]) };
    if (found.root.length !== 32) {
      throw new NoteError("the root of a checkpoint has 32 bytes");
    }
    return found;
  });
}

/** Whatever is not a note, as a refusal with this code. */
export function asCode(code, read) {
  try {
    return read();
  } catch (error) {
    throw error instanceof NoteError ? new Refusal(code, error.message) : error;
  }
}

export async function asCodeLater(code, read) {
  try {
    return await read();
  } catch (error) {
    throw error instanceof NoteError ? new Refusal(code, error.message) : error;
  }
}

