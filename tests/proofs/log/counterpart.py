"""Other people's log and witness, aics-tlog and aics-witness from PyPI: their outputs, recorded or live.

They need Python 3.12 or newer, so they run in an environment of their own:

python -m tests.proofs.log.counterpart FOLDER             make it there, run both, compare with the recording
python -m tests.proofs.log.counterpart FOLDER --record    record again
"""

import argparse
import asyncio
import base64
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from credstore.proofs.log.add_checkpoint import encode_request, monitoring_path
from credstore.proofs.log.checkpoint import Checkpoint, open_checkpoint, sign_text
from credstore.proofs.log.http import LogHttp
from credstore.proofs.log.merkle import consistency_ranges, hash_leaf, root
from credstore.proofs.log.note import LocalNoteSigner

RECORDING = Path(__file__).with_name("counterpart.json")
PACKAGES = ("aics-tlog>=0.2.1", "aics-witness>=0.1")
ORIGIN = "log.example/credstore"
SIGNER = LocalNoteSigner(ORIGIN, bytes(range(32)))
STRANGER = LocalNoteSigner("stranger.example", bytes(range(1, 33)))
NAME = "witness.example/w1"
TIME = 1679315147
SIZES = (1, 2, 7, 8, 255, 256, 257, 700)
TREES = """
import hashlib, json, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from aics_tlog import IncrementalTileWriter, MemoryTileStore, MerkleTree, cosignature_vkey, sign_checkpoint
from aics_tlog import sign_cosignature, format_vkey, vkey_from_ed25519, Checkpoint
origin, name, time, sizes = json.loads(sys.argv[1])
entries = [b"%d" % number for number in range(max(sizes))]
tree = MerkleTree(entries)
log, witness = (Ed25519PrivateKey.from_private_bytes(bytes(range(at, at + 32))) for at in (0, 32))
store = MemoryTileStore()
writer = IncrementalTileWriter(store, prune_partials=False)
written, found = {}, {}
write = store.write
def noted(path, data):
    written[path] = hashlib.sha256(data).hexdigest()
    return write(path, data)
store.write = noted
for size in sizes:
    written.clear()
    writer.append(entries[writer.size:size])
    assert writer.root() == tree.root(size)
    state = Checkpoint(origin, size, tree.root(size))
    indices = sorted({0, size // 2, size - 1})
    found[size] = {
        "root": tree.root(size).hex(),
        "tiles": dict(written),
        "inclusion": {index: [each.hex() for each in tree.inclusion_proof(index, size)] for index in indices},
        "consistency": {old: [each.hex() for each in tree.consistency_proof(old, size)] for old in sizes if old <= size},
        "checkpoint": sign_checkpoint(state, log, origin).serialise(),
        "cosignature": sign_cosignature(witness, name, time, origin, size, tree.root(size))[0].hex(),
    }
keys = [vkey_from_ed25519(origin, log.public_key()), cosignature_vkey(name, witness.public_key())]
print(json.dumps({"sizes": found, "vkeys": [format_vkey(each) for each in keys]}))
"""
"""Run by their Python, with their package."""


def interpreter():
    """A Python of 3.12 or newer, as a command and its environment; None where this machine has none."""
    pyenv = shutil.which("pyenv")
    known = (
        subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=False).stdout
        if pyenv
        else ""
    )
    for minor in (14, 13, 12):
        command = shutil.which(f"python3.{minor}")
        versions = [line for line in known.split() if line.startswith(f"3.{minor}.")]
        for environment in ({}, *({"PYENV_VERSION": each} for each in versions)):
            with_it = {**os.environ, **environment}
            if (
                command
                and subprocess.run(
                    [command, "-c", ""], env=with_it, capture_output=True, check=False
                ).returncode
                == 0
            ):
                return command, with_it
    return None


def environment(folder):
    """The folder of programs of an environment with both packages."""
    programs = folder / "bin"
    if not (programs / "aics-witness").exists():
        found = interpreter()
        if found is None:
            sys.exit("aics-tlog and aics-witness need Python 3.12 or newer, and this machine has none")
        command, with_it = found
        subprocess.run([command, "-m", "venv", str(folder)], env=with_it, check=True)
        subprocess.run([str(programs / "python"), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return programs


def trees(programs):
    """What aics-tlog says of trees of counted entries."""
    wanted = json.dumps([ORIGIN, NAME, TIME, SIZES])
    ended = subprocess.run(
        [str(programs / "python"), "-c", TREES, wanted], capture_output=True, text=True, check=True
    )
    return json.loads(ended.stdout)


@contextmanager
def witnessing(programs, folder):
    """A running aics-witness that knows the log; yields its address and its vkey."""
    config = folder / "witness.json"
    run = [str(programs / "aics-witness")]
    where = ["--config", str(config)]
    made = subprocess.run(
        [*run, "init", *where, "--name", NAME, "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        check=True,
    )
    vkey = re.search(r"witness\.example/w1\+\S+", made.stdout)[0]
    subprocess.run(
        [*run, "add-log", *where, "--origin", ORIGIN, "--vkey", SIGNER.key.encode()],
        capture_output=True,
        check=True,
    )
    process = subprocess.Popen(
        [*run, "serve", *where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        for line in process.stdout:
            if address := re.search(r"127\.0\.0\.1:(\d+)", line):
                yield f"http://127.0.0.1:{address[1]}", vkey
                break
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


LEAVES = [hash_leaf(b"%d" % number) for number in range(40)]
OTHER = [hash_leaf(b"other %d" % number) for number in range(40)]


def proof(old, new, leaves=LEAVES):
    return [root(leaves[start:end]) for start, end in consistency_ranges(old, new)]


async def requests():
    """What is asked of a witness, one after the other: a name, a method, a path and a body."""

    async def note(size, leaves=LEAVES, signer=SIGNER):
        state = Checkpoint(signer.key.name, size, root(leaves[:size]))
        return (await sign_text(state.text, [signer], 0)).encode()

    def post(name, old, hashes, checkpoint):
        return name, "POST", "add-checkpoint", encode_request(old, hashes, checkpoint)

    shown = ("GET", monitoring_path(ORIGIN), b"")
    return [
        ("nothing is shown yet", *shown),
        post("the first checkpoint", 0, [], await note(5)),
        post("the size is learnt", 0, [], await note(20)),
        post("it continues", 5, proof(5, 20), await note(20)),
        post("the same again", 20, [], await note(20)),
        post("the size before", 5, proof(5, 30), await note(30)),
        post("a proof that does not fit", 20, [bytes(32)] * 3, await note(30)),
        post("another history", 20, proof(20, 30, OTHER), await note(30, OTHER)),
        post("another root", 20, [], await note(20, OTHER)),
        post("an old size that is larger", 30, [], await note(20)),
        post("an unknown log", 0, [], await note(5, signer=STRANGER)),
        post("another key", 20, proof(20, 30), await note(30, signer=LocalNoteSigner(ORIGIN, bytes(32)))),
        ("not a request", "POST", "add-checkpoint", b"rubbish\n"),
        ("no empty line", "POST", "add-checkpoint", b"old 20\n"),
        post("it continues once more", 20, proof(20, 40), await note(40)),
        ("what is shown", *shown),
    ]  # fmt: skip


async def answers(address):
    """What a witness responds to all of them."""
    found = []
    async with LogHttp() as http:
        for name, method, path, body in await requests():
            answer = await http.send(method, f"{address}/{path}", body or None, 64 * 1024)
            found.append(
                {
                    "name": name,
                    "request": base64.b64encode(body).decode(),
                    "status": answer.status,
                    "type": answer.headers.get("content-type", ""),
                    "body": answer.body.decode(errors="replace"),
                }
            )
    return found


def live(folder, fresh):
    """Everything, from the programs themselves, with the state of the witness in a fresh folder."""
    programs = environment(folder / "environment")
    with witnessing(programs, fresh) as (address, vkey):
        witness = {"vkey": vkey, "answers": asyncio.run(answers(address))}
    return {"trees": trees(programs), "witness": witness}


def steady(found):
    """What is the same each time: no keys, times and signatures of the witness, and no words of its refusals."""
    kept = json.loads(json.dumps(found))
    del kept["witness"]["vkey"]
    for each in kept["witness"]["answers"]:
        if each["status"] != 409:
            del each["body"]
    return kept


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as fresh:
        found = live(options.folder, Path(fresh))
    open_checkpoint(found["witness"]["answers"][-1]["body"].encode(), [SIGNER.key])
    if options.record:
        RECORDING.write_text(json.dumps(found, indent=1) + "\n")
    return int(steady(found) != steady(json.loads(RECORDING.read_text())))


if __name__ == "__main__":
    sys.exit(main())
