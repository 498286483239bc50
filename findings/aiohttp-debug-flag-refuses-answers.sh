#!/bin/sh
# One would guess that PYTHONASYNCIODEBUG only makes asyncio talk more, and that an HTTP client reads the same
# answer the same way with it. In aiohttp it also turns the parser of *answers* strict: a 200 that repeats Server
# (Azure Blob listings have done so, and so does a gateway that adds its own) or ETag is read in a plain run and
# refused as a 400 with that variable or `python -X dev`, while asyncio.run(debug=True) changes nothing. This
# matters to whoever tests a storage client in dev mode: the test fails where production works, or a store is
# blamed for a 400 that it never sent. (Of 3.13.3, 3.13.4, 3.13.5 and 3.14.5 with the compiled parser, only 3.13.4
# refused such answers in every run.)
# Seen 2026-11-28 with aiohttp 3.14.5 and 3.13.4, Python 3.11.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check aiohttp==3.14.5

cat >"$work/ask.py" <<'PY'
import asyncio
import sys

import aiohttp

ANSWER = b"HTTP/1.1 200 OK\r\nServer: gateway\r\nServer: store\r\nContent-Length: 2\r\n\r\nok"


async def answer(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


async def ask():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(f"http://127.0.0.1:{port}/") as response:
                return f"read {response.status}"
        except aiohttp.ClientResponseError as error:
            return f"refused as {error.status}"
        finally:
            server.close()


print(asyncio.run(ask(), debug="debug" in sys.argv))
PY

failed=0
# observe LABEL EXPECTED COMMAND... : runs the command and compares its only line.
observe() {
    label=$1 expected=$2
    shift 2
    seen=$("$@" 2>/dev/null) || true
    printf '%-42s %s\n' "$label" "$seen"
    [ "$seen" = "$expected" ] || { echo "  CHANGED: it was: $expected"; failed=1; }
}
python="$work/venv/bin/python"
unset PYTHONASYNCIODEBUG PYTHONDEVMODE
echo "guess: the same 200 is read in all of these runs"
echo "aiohttp $("$python" -c 'import aiohttp; print(aiohttp.__version__)')"
observe "plain run" "read 200" "$python" "$work/ask.py"
observe "asyncio.run(debug=True)" "read 200" "$python" "$work/ask.py" debug
observe "PYTHONASYNCIODEBUG=1" "refused as 400" env PYTHONASYNCIODEBUG=1 "$python" "$work/ask.py"
observe "python -X dev" "refused as 400" "$python" -X dev "$work/ask.py"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps aiohttp==3.13.4
echo "aiohttp $("$python" -c 'import aiohttp; print(aiohttp.__version__)')"
observe "plain run" "refused as 400" "$python" "$work/ask.py"
exit "$failed"
