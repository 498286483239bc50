"""README.md beside this file names a test for every row, and each of those tests is there."""

import re
from pathlib import Path

HERE = Path(__file__).parent
ROWS = re.compile(r"^\| ([ANLCK]\d\d) \|.*\| (.*) \|$", re.MULTILINE)
TESTS = re.compile(r"\(?([./\w]+\.py) `(\w+)`\)?")
EXPECTED = [
    "A02",
    "A03",
    "A04",
    "A05",
    "A09",
    "N01",
    "N02",
    "N04",
    "N05",
    "N08",
    "N09",
    "N10",
    "N11",
    "N12",
    "N14",
    "N15",
    "N17",
    "N18",
    "N19",
    "N20",
    "N21",
    "N23",
    "N24",
    "N25",
    "N27",
    "L01",
    "L02",
    "L03",
    "L04",
    "L05",
    "L07",
    "L09",
    "L11",
    "L14",
    "L15",
    "L18",
    "C01",
    "C02",
    "C03",
    "C04",
    "C05",
    "C11",
    "K01",
    "K02",
    "K03",
    "K04",
    "K06",
    "K07",
    "K08",
    "K09",
    "K11",
    "K12",
    "K13",
]


def test_every_row_has_its_tests():
    found = dict(ROWS.findall((HERE / "README.md").read_text()))
    assert list(found) == EXPECTED
    for row, named in found.items():
        tests = TESTS.findall(named)
        assert tests, row
        for place, word in tests:
            text = (HERE / place).read_text()
            pattern = rf'(def test_\w*{word}|^{word} =|rows\("{word}"|every_write\("{word}")'
            assert re.search(pattern, text, re.MULTILINE), f"{row}: {place} has no {word}"
