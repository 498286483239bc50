#!/bin/sh
# One would guess that a table's delete(filter) removes the rows that scan(filter) finds, no others, and that what goes
# does not depend on which rows share a data file. In PyIceberg it does. A scan compares as SQL does: a row without a
# value is neither equal nor unequal to "bad". A delete first asks the statistics of each data file whether all of its
# rows match: if so, the file is dropped whole, and there a missing value counts as unequal, and NaN, which is in no
# minimum or maximum, counts as whatever its neighbours are. So delete("state != 'bad'") finds one row of two and
# removes both, and delete("x = 2") removes a NaN; with one row in the same file that the filter does not match, the
# file is rewritten and the same rows stay. Compaction, or another batch size on write, changes what a delete removes.
# This matters to whoever deletes by condition (retention, erasure, overwrite with a filter): count the rows before and
# after, and write `state is not null and state != 'bad'`, which removes one row in both cases.
# Seen 2026-12-01 with pyiceberg 0.12.0 and pyarrow 26.0.1, Python 3.11.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check 'pyiceberg[sql-sqlite]==0.12.0' pyarrow==26.0.1

cat >"$work/look.py" <<'PY'
import math
import sys
from importlib.metadata import version

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog

catalog = SqlCatalog("local", uri=f"sqlite:///{sys.argv[1]}/catalog", warehouse=f"file://{sys.argv[1]}")
catalog.create_namespace("data")
TEXT, NUMBER = pyarrow.string(), pyarrow.float64()
NAN = math.nan
cases = [  # type, the data files with their rows, filter, rows found by a scan, rows removed by a delete
    (TEXT, [["good", None]], "value != 'bad'", 1, 2),
    (TEXT, [["good", None, "bad"]], "value != 'bad'", 1, 1),
    (TEXT, [["good", None], ["bad"]], "value != 'bad'", 1, 2),
    (TEXT, [["good", None]], "not (value = 'bad')", 1, 2),
    (TEXT, [["good", None]], "value is not null and value != 'bad'", 1, 1),
    (NUMBER, [[2.0, NAN]], "value = 2", 1, 2),
    (NUMBER, [[2.0, NAN]], "value > 1", 1, 2),
    (NUMBER, [[2.0, NAN]], "value < 3", 1, 2),
    (NUMBER, [[2.0, NAN, 0.0]], "value = 2", 1, 1),
    (NUMBER, [[2.0, NAN, 0.0]], "value > 1", 1, 1),
]
changed = False
print(f"pyiceberg {version('pyiceberg')}, guess: as many rows are removed as are found")
for number, (kind, files, condition, found, removed) in enumerate(cases):
    batches = [pyarrow.table({"value": pyarrow.array(rows, kind)}) for rows in files]
    table = catalog.create_table(f"data.table{number}", schema=batches[0].schema)
    for batch in batches:
        table.append(batch)
    before = table.scan().to_arrow().num_rows
    seen_found = table.scan(row_filter=condition).to_arrow().num_rows
    table.delete(condition)
    left = table.scan().to_arrow()["value"].to_pylist()
    seen = (seen_found, before - len(left))
    print(f"  {files} {condition}: found {seen[0]}, removed {seen[1]}, left {left}")
    if seen != (found, removed):
        changed = True
        print(f"    CHANGED: it was: {(found, removed)}")
sys.exit(1 if changed else 0)
PY
"$work/venv/bin/python" -W ignore "$work/look.py" "$work"
