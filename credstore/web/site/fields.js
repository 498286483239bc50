// The kinds of value that records, trust stores and bundles are made of: one reader for each.
import { Refusal, fromBase64, fromHex, isAscii, lengthOf } from "./bytes.js";

const TIME = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const URI = /^[A-Za-z][A-Za-z0-9+.\-]*:(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+$/;
const MEDIA_TYPE = /^[A-Za-z0-9!#$&^_.+-]+\/[A-Za-z0-9!#$&^_.+-]+(?:;[ -~]*)?$/;
const CONTROL = /[\x00-\x1f\x7f]/;
export const LONGEST_ISSUER = 255;

export function refuse(field, rule) {
  throw new Refusal("PROOF_FORMAT", `${field} ${rule}`);
}

/** An object with the members `needs`; where `may` is given, with no others than these two allow. */
export function readObject(value, field, needs = [], may = null) {
  if (value === null || typeof value !== "object" || Object.getPrototypeOf(value) !== null) {
    refuse(field, "is not an object");
  }
  for (const name of needs) {
    if (!(name in value)) {
      refuse(field, `has no '${name}'`);
    }
  }
  if (may !== null && !Object.keys(value).every((name) => needs.includes(name) || may.includes(name))) {
    refuse(field, "has an unknown member");
  }
  return value;
}

export function readList(value, field, most, least = 0) {
  if (!Array.isArray(value) || value.length < least || value.length > most) {
    refuse(field, `is not an array of ${least} to ${most} values`);
  }
  return value;
}

export function readText(value, field, longest) {
  if (typeof value !== "string" || value === "" || lengthOf(value) > longest || CONTROL.test(value)) {
    refuse(field, `is not a string of 1 to ${longest} characters without control characters`);
  }
  return value;
}

export function readUri(value, field, longest = 2048) {
  if (!URI.test(readText(value, field, longest))) {
    refuse(field, "is not an absolute URI");
  }
  return value;
}

export function readMediaType(value, field) {
  if (!MEDIA_TYPE.test(readText(value, field, 255))) {
    refuse(field, "is not a media type");
  }
  return value;
}

export function readSize(value, field, least = 0) {
  if (typeof value !== "number" || value < least) {
    refuse(field, `is not a whole number of at least ${least}`);
  }
  return value;
}

export function readId(value, field) {
  if (typeof value !== "string" || !UUID.test(value)) {
    refuse(field, "is not a UUID in lower case");
  }
  return value;
}

export function readHex(value, field, size) {
  if (typeof value !== "string" || value.length !== 2 * size || !/^[0-9a-f]*$/.test(value)) {
    refuse(field, `is not ${2 * size} hex digits in lower case`);
  }
  return fromHex(value);
}

/** Milliseconds since 1970 of an instant, exactly `YYYY-MM-DDTHH:MM:SS.mmmZ`. */
export function readTime(value, field) {
  if (typeof value !== "string" || !TIME.test(value)) {
    refuse(field, "is not a time of the form 2026-01-02T03:04:05.678Z");
  }
  const time = Date.parse(value);
  // A day that its month does not have becomes one of the next.
  if (Number.isNaN(time) || value.startsWith("0000") || formatTime(time) !== value) {
    refuse(field, "is not a valid date and time");
  }
  return time;
}

export const formatTime = (time) => new Date(time).toISOString();

/** At most `most` bytes in padded base64, in the standard alphabet or, with `urlSafe`, in the other. */
export function readBase64(value, field, most, urlSafe = false) {
  if (typeof value !== "string" || !isAscii(value) || value.length > 4 * Math.floor((most + 2) / 3)) {
    refuse(field, `is not base64 of at most ${most} bytes`);
  }
  let text = value;
  if (urlSafe && /[-_]/.test(value)) {
    text = /[+/]/.test(value) ? "?" : value.replaceAll("-", "+").replaceAll("_", "/");
  }
  return fromBase64(text) ?? refuse(field, "is not base64 in its one form");
}
