"""docs/verify_log.py, which knows nothing of credstore, accepts what credstore makes, and refuses the rest."""

import ast
import asyncio
import base64
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.proofs.log.checkpoint import Checkpoint, sign_text
from credstore.proofs.log.merkle import consistency_ranges, hash_leaf, inclusion_ranges, root
from credstore.proofs.log.note import LocalNoteSigner
from credstore.proofs.log.proof_file import encode_log_proof
from tests.proofs.log.test_note import LOG, ORIGIN, PQ, TIME, WITNESS

PROGRAM = Path(__file__).parents[3] / "docs" / "verify_log.py"
LEAVES = [hash_leaf(b"%d" % number) for number in range(64)]
KEYS = [each.key.encode() for each in (LOG, WITNESS, PQ)]


def load():
    spec = importlib.util.spec_from_file_location("verify_log", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OTHER = load()


def note(size, *signers, leaves=LEAVES):
    text = Checkpoint(ORIGIN, size, root(leaves[:size])).text
    return asyncio.run(sign_text(text, signers or (LOG, WITNESS, PQ), TIME)).encode()


def run(folder, verb, *contents, keys=KEYS):
    names = []
    for number, content in enumerate(contents):
        names.append(str(folder / str(number)))
        Path(names[-1]).write_bytes(content)
    return OTHER.run(verb, *names, *keys)


def hashes(old, new):
    return b"".join(base64.b64encode(root(LEAVES[a:b])) + b"\n" for a, b in consistency_ranges(old, new))


def test_it_is_small_and_knows_nothing_of_credstore():
    source = PROGRAM.read_text()
    assert len(source.splitlines()) < 250
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for name in node.names
    } | {
        node.module.split(".")[0] for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
    }
    assert imported - {"cryptography"} <= sys.stdlib_module_names


def test_it_accepts_what_credstore_makes(tmp_path):
    found = run(tmp_path, "checkpoint", note(7))
    assert (found["origin"], found["size"], found["root"]) == (ORIGIN, 7, root(LEAVES[:7]).hex())
    assert found["cosigned"] == dict.fromkeys((WITNESS.key.name, PQ.key.name), "2023-03-20T12:25:47+00:00")
    assert run(tmp_path, "checkpoint", note(0))["size"] == 0


@given(st.data())
def test_it_agrees_about_every_proof(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("proofs")
    size = data.draw(st.integers(1, 64))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(0, size))
    path = [root(LEAVES[a:b]) for a, b in inclusion_ranges(index, size)]
    proof = encode_log_proof(index, path, note(size, LOG))
    log = KEYS[:1]
    assert run(folder, "inclusion", proof, b"%d" % index, keys=log)["size"] == size
    with pytest.raises(OTHER.Refused):
        run(folder, "inclusion", proof, b"other", keys=log)
    with pytest.raises(OTHER.Refused):
        run(
            folder,
            "inclusion",
            encode_log_proof(index, [*path, bytes(32)], note(size, LOG)),
            b"%d" % index,
            keys=log,
        )
    with pytest.raises(OTHER.Refused):
        run(folder, "inclusion", encode_log_proof(size, path, note(size, LOG)), b"%d" % index, keys=log)
    assert (
        run(folder, "consistency", note(old, LOG), note(size, LOG), hashes(old, size), keys=log)["size"]
        == size
    )
    with pytest.raises(OTHER.Refused):
        run(
            folder,
            "consistency",
            note(old, LOG),
            note(size, LOG),
            hashes(old, size) + base64.b64encode(bytes(32)) + b"\n",
            keys=log,
        )
    if old:
        forked = note(size, LOG, leaves=LEAVES[::-1])
        with pytest.raises(OTHER.Refused):
            run(folder, "consistency", note(old, LOG), forked, hashes(old, size), keys=log)


STRANGER = LocalNoteSigner("other.example", bytes(32))


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (note(7, LOG), KEYS),  # Not cosigned.
        (note(7, WITNESS), KEYS[1:2]),  # Not signed by the log.
        (note(7, STRANGER), [STRANGER.key.encode()]),
        (note(7).replace(b"\n7\n", b"\n8\n"), KEYS),
        (note(7).replace(b"\n7\n", b"\n07\n"), KEYS),
        (note(7).replace(b"\n", b"\r\n"), KEYS),
        (note(7).replace("—".encode(), b"-"), KEYS),
        (note(7)[:-1], KEYS),
        (note(7), ["rubbish"]),
        (note(7), [KEYS[0], KEYS[0]]),
        (note(7), [KEYS[0].replace("757ef934", "757ef935")]),
        (b"\xff", KEYS),
        (b"x" * 300_000, KEYS),
    ],
)
def test_it_refuses_what_is_not_signed_as_it_should_be(tmp_path, data, keys):
    with pytest.raises(OTHER.Refused):
        run(tmp_path, "checkpoint", data, keys=keys)


def test_as_a_program(tmp_path):
    (tmp_path / "note").write_bytes(note(7))
    program = [sys.executable, str(PROGRAM)]
    accepted = subprocess.run(
        [*program, "checkpoint", str(tmp_path / "note"), *KEYS], capture_output=True, check=False, timeout=60
    )
    assert (accepted.returncode, accepted.stderr) == (0, b"")
    for words in (
        [],
        ["checkpoint", str(tmp_path / "nowhere"), KEYS[0]],
        ["checkpoint", str(PROGRAM), KEYS[0]],
    ):
        refused = subprocess.run([*program, *words], capture_output=True, check=False, timeout=60)
        assert refused.returncode == 1
        assert b"Traceback" not in refused.stderr
