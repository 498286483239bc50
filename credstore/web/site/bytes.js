// Bytes, and the ways they are written. Nothing here knows of proofs.

/** A part that is not what it has to be. `code` is that of the Python package's errors. */
export class Refusal extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** This browser cannot tell; never to be taken for a yes. */
export class Unable extends Error {}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const utf8 = (text) => encoder.encode(text);

/** The text of bytes; null where they are not UTF-8. A byte order mark stays. */
export function textOf(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** The bytes of a text; null where half of a surrogate pair has none. */
export const exactBytes = (text) => (hasLoneSurrogate(text) ? null : utf8(text));

export const hasLoneSurrogate = (text) => /[\ud800-\udfff]/u.test(text);

export const lengthOf = (text) => [...text].length;

export const isAscii = (text) => /^[\x00-\x7f]*$/.test(text);

export const toHex = (bytes) => Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");

export const fromHex = (text) => Uint8Array.from(text.match(/../g) ?? [], (each) => parseInt(each, 16));

export function equal(a, b) {
  return a.length === b.length && a.every((each, place) => each === b[place]);
}

export function join(...parts) {
  const whole = new Uint8Array(parts.reduce((size, each) => size + each.length, 0));
  let at = 0;
  for (const each of parts) {
    whole.set(each, at);
    at += each.length;
  }
  return whole;
}

export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** One character for each byte. */
export function binary(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return text;
}

export const toBase64 = (bytes) => btoa(binary(bytes));

/** The bytes of base64 in its one form: padded, no other characters, no stray bits; null for anything else. */
export function fromBase64(text) {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    return null;
  }
  let decoded;
  try {
    decoded = atob(text);
  } catch {
    return null;
  }
  return btoa(decoded) === text ? Uint8Array.from(decoded, (each) => each.charCodeAt(0)) : null;
}
