"""The public names of the proof layer: each is there, and nothing is imported before it is used."""

import subprocess
import sys

import pytest

from credstore import proofs


@pytest.mark.parametrize("name", proofs.__all__)
def test_every_name_is_there_and_documented(name):
    assert getattr(proofs, name).__doc__


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        proofs.no_such_name  # noqa: B018
    assert set(proofs.__all__) <= set(dir(proofs))


def test_verifying_imports_no_store():
    code = (
        "import sys; from credstore.proofs import verify_bundle, parse_trust_store; "
        "found = [name for name in sys.modules if name.startswith(('credstore.provider', 'credstore.wire', "
        "'credstore.drivers', 'aiohttp', 'asyncio'))]; sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
