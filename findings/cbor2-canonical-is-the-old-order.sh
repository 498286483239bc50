#!/bin/sh
# One would guess that the canonical mode of a CBOR library that follows RFC 8949 writes the same bytes as another
# library's RFC 8949 mode. cbor2's canonical=True still sorts map keys by length first (RFC 7049, section 3.9; RFC
# 8949 keeps it only as the alternative of section 4.2.3), not by bytes (section 4.2.1). Maps of small or similar
# labels come out alike, so tests pass; a COSE-like map with -1 and 256 does not. This matters wherever two programs
# hash or sign a map that each encodes by itself: signatures fail for only some records, on the first large label.
# Seen 2026-11-28 with cbor2 6.3.0 (Python) and cborg 6.1.5 (Node).
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check cbor2==6.3.0
(cd "$work" && echo '{"private": true}' >package.json && npm install --silent --no-audit --no-fund cborg@6.1.5)

cat >"$work/encode.py" <<'PY'
import cbor2

for content in ({-1: 1, 3: 2}, {-1: 1, 256: 2}, {"": 1, 100: 2}):
    print(cbor2.dumps(content, canonical=True).hex())
PY
cat >"$work/encode.mjs" <<'JS'
import { encode, rfc8949EncodeOptions } from 'cborg';

const maps = [[[-1, 1], [3, 2]], [[-1, 1], [256, 2]], [['', 1], [100, 2]]];
for (const entries of maps) {
  console.log(Buffer.from(encode(new Map(entries), rfc8949EncodeOptions)).toString('hex'));
}
JS

by_cbor2=$("$work/venv/bin/python" "$work/encode.py")
by_cborg=$(node "$work/encode.mjs")
echo "cbor2 6.3.0 canonical=True beside cborg 6.1.5 rfc8949EncodeOptions"
echo "guess: each of the three maps has one encoding"
echo "{-1, 3}, {-1, 256} and {\"\", 100} by cbor2:"
echo "$by_cbor2"
echo "the same by cborg:"
echo "$by_cborg"
[ "$by_cbor2" = "a203022001
a2200119010002
a26001186402" ] || { echo "CHANGED: cbor2"; exit 1; }
[ "$by_cborg" = "a203022001
a2190100022001
a21864026001" ] || { echo "CHANGED: cborg"; exit 1; }
