// JSON with one meaning: strict reading, and writing according to RFC 8785 (JCS).
// `JSON.parse` takes the last of two members with one name, and any number; another reader may not.
import { Refusal, hasLoneSurrogate, textOf, utf8 } from "./bytes.js";

const DEEPEST = 32;
const LONGEST_NUMBER = 25;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/y;
const PLAIN = /[^"\\\x00-\x1f]*/y;
const SPACE = /[ \t\n\r]*/y;
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const WORDS = [["true", true], ["false", false], ["null", null]];

/** A number with a fraction or an exponent, which is no whole number, whatever its value. */
export class Real {
  constructor(value) {
    this.value = value;
  }
}

function refuse(message) {
  throw new Refusal("PROOF_FORMAT", message);
}

/** The value of bytes; objects have no prototype, so that no name is special. */
export function parseJson(bytes, limit) {
  if (bytes.length > limit) {
    refuse(`${bytes.length} bytes, but at most ${limit} are read`);
  }
  const text = textOf(bytes);
  if (text === null) {
    refuse("not JSON in UTF-8");
  }
  const reader = new Reader(text);
  const value = reader.value(DEEPEST);
  if (reader.at !== text.length) {
    refuse(`not JSON, near character ${reader.at}`);
  }
  return value;
}

/** The value of bytes, if they are the only ones that RFC 8785 has for it. */
export function parseCanonical(bytes, limit) {
  const value = parseJson(bytes, limit);
  if (encodeJson(value) !== textOf(bytes)) {
    refuse("not in its canonical form (RFC 8785)");
  }
  return value;
}

/** The one text for a value. Names sort by UTF-16 code units, and numbers print as ECMAScript does. */
export function encodeJson(value) {
  if (value instanceof Real) {
    return JSON.stringify(value.value);
  }
  if (Array.isArray(value)) {
    return `[${value.map(encodeJson).join(",")}]`;
  }
  if (value !== null && typeof value === "object") {
    const members = Object.keys(value).sort();
    return `{${members.map((name) => `${JSON.stringify(name)}:${encodeJson(value[name])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

export const encodedSize = (value) => utf8(encodeJson(value)).length;

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    this.at += found === null ? 0 : found[0].length;
    return found;
  }

  takes(character) {
    if (this.text[this.at] !== character) {
      return false;
    }
    this.at += 1;
    return true;
  }

  expect(character) {
    if (!this.takes(character)) {
      refuse(`not JSON, near character ${this.at}`);
    }
  }

  value(deepest) {
    this.match(SPACE);
    const value = this.bare(deepest);
    this.match(SPACE);
    return value;
  }

  bare(deepest) {
    const first = this.text[this.at];
    if (first === '"') {
      return this.string();
    }
    if (first === "{" || first === "[") {
      if (deepest === 0) {
        refuse("objects and arrays are nested too deeply");
      }
      return first === "{" ? this.object(deepest - 1) : this.array(deepest - 1);
    }
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  number() {
    const found = this.match(NUMBER);
    if (found === null) {
      refuse(`not JSON, near character ${this.at}`);
    }
    const number = Number(found[0]);
    if (found[0].length > LONGEST_NUMBER || !Number.isFinite(number)) {
      refuse("a number has more digits than a double");
    }
    const whole = found[1] === undefined && found[2] === undefined;
    // From 1e21 on, an integral number is written with an exponent, and is read as it was written.
    if (Number.isInteger(number) && !Number.isSafeInteger(number) && (whole || Math.abs(number) < 1e21)) {
      refuse("an integer is beyond 2^53-1");
    }
    return whole ? number : new Real(number);
  }

  string() {
    this.expect('"');
    let text = "";
    for (;;) {
      text += this.match(PLAIN)[0];
      if (this.takes('"')) {
        break;
      }
      this.expect("\\");
      text += this.escape();
    }
    if (hasLoneSurrogate(text)) {
      refuse("a lone surrogate in a string");
    }
    return text;
  }

  escape() {
    const character = this.text[this.at] ?? "";
    this.at += 1;
    if (Object.hasOwn(ESCAPES, character)) {
      return ESCAPES[character];
    }
    const digits = this.text.slice(this.at, this.at + 4);
    if (character !== "u" || !/^[0-9A-Fa-f]{4}$/.test(digits)) {
      refuse(`not JSON, near character ${this.at}`);
    }
    this.at += 4;
    return String.fromCharCode(parseInt(digits, 16));
  }

  object(deepest) {
    const members = Object.create(null);
    this.expect("{");
    this.match(SPACE);
    if (this.takes("}")) {
      return members;
    }
    do {
      this.match(SPACE);
      const name = this.string();
      this.match(SPACE);
      this.expect(":");
      const value = this.value(deepest);
      if (name in members) {
        refuse("a name appears twice in one object");
      }
      members[name] = value;
    } while (this.takes(","));
    this.expect("}");
    return members;
  }

  array(deepest) {
    const values = [];
    this.expect("[");
    this.match(SPACE);
    if (this.takes("]")) {
      return values;
    }
    do {
      values.push(this.value(deepest));
    } while (this.takes(","));
    this.expect("]");
    return values;
  }
}
