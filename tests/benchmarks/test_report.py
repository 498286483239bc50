"""What the benchmarks make of figures: ratios, exponents, the plot, the counts of strace."""

import asyncio
import subprocess
import xml.etree.ElementTree as ET
from argparse import ArgumentTypeError
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import growth, many, small, start
from benchmarks.__main__ import SECTIONS, chosen, render
from benchmarks.local import read_calls
from benchmarks.null_s3 import running_null_s3
from benchmarks.peers import MAIN
from benchmarks.plot import Line, drawn
from benchmarks.report import comparison, paired, ratio
from benchmarks.worker import Scale, run

WHOLE_PROCESSES = {"start"}
"""Sections that measure programs from their start, and need no worker."""
SVG = "{http://www.w3.org/2000/svg}"


def test_ratios_are_of_rounds_not_of_medians():
    # The machine was twice as slow in the second round, for both.
    assert paired([10, 20, 10], [20, 40, 20]) == [0.5, 0.5, 0.5]
    assert ratio([10, 20, 10], [20, 40, 20]) == "0.50x"
    assert paired([10, 20], [20]) == []
    assert ratio([10, 20], [20]) == "0.75x"


def test_a_peer_without_figures_leaves_its_cells_empty():
    table = comparison({"credstore": {"put": [2.0]}, "other": {}}, "credstore", {"put": "store"})
    assert table[-1] == "| other |  |  |"
    assert (
        comparison({"other": {"put": [2.0]}}, "credstore", {"put": "store"})[-1]
        == "| other | 2 (2 to 2) |  |"
    )


@given(st.floats(0.5, 500), st.floats(-0.5, 1.5))
def test_an_exponent_is_found_again(cost, exponent):
    points = [(number, cost * number**exponent) for number in (1000, 10_000, 100_000)]
    assert growth.slope(points) == pytest.approx(exponent, abs=1e-6)


def test_what_is_steeper_than_its_work_is_named():
    flat = Line("memory", "list", [(1000, 5.0), (10_000, 5.5), (100_000, 6.0)])
    steep = Line("local", "list", [(1000, 25.0), (10_000, 60.0), (100_000, 480.0)])
    assert growth.verdict([flat]).startswith("None is steeper")
    assert "list (local, 0.90)" in growth.verdict([flat, steep])
    assert "memory" not in growth.verdict([flat, steep])


def test_the_plot_has_each_point_where_it_belongs():
    lines = [Line("memory", "list", [(1000, 10.0), (100_000, 10.0)]), Line("local", "list", [(1000, 100.0)])]
    svg = ET.fromstring(drawn(lines, "costs", "objects"))
    first, last, other = [(float(each.get("cx")), float(each.get("cy"))) for each in svg.iter(f"{SVG}circle")]
    assert first[1] == last[1]
    assert first[0] == other[0]
    assert last[0] > first[0]
    assert other[1] < first[1]  # Dearer is higher.
    shown = [each.text for each in svg.iter(f"{SVG}text")]
    assert {"costs", "objects", "list, memory", "list, local", "1,000", "100,000"} <= set(shown)


def test_calls_are_counted_between_the_marks_whatever_thread_makes_them():
    log = """11 openat(AT_FDCWD, "before") = 3
11 newfstatat(AT_FDCWD, "/mark-begin", 0x1, 0) = -1 ENOENT
11 openat(AT_FDCWD, "in") = 3
12 fsync(3 <unfinished ...>
11 openat(AT_FDCWD, "in") = -1 ENOENT
12 <... fsync resumed>) = 0
11 newfstatat(AT_FDCWD, "/mark-end", 0x1, 0) = -1 ENOENT
11 openat(AT_FDCWD, "after") = 3
"""
    assert read_calls(log) == {"openat": 2, "fsync": 1}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_can_be_selected(name):
    assert chosen(name) == [name]
    module = import_module(f"benchmarks.{name}")
    assert module.TITLE
    assert callable(module.measure)
    assert callable(module.render)
    if name in WHOLE_PROCESSES:
        assert not {"run", "finish", "work"} & vars(module).keys()
    else:  # What a worker runs.
        assert asyncio.iscoroutinefunction(module.work)


def test_the_cpu_of_a_whole_process_is_counted():
    with start.surroundings() as (folder, environ):
        ours = start.commands(folder)[start.OURS]
        assert start.spent(ours, environ) > 0
        with pytest.raises(subprocess.CalledProcessError):  # A command that fails has no figure.
            start.spent([*ours, "--no-such-option"], environ)


def test_sections_keep_their_order_and_unknown_ones_are_refused():
    assert chosen("cold,small") == ["small", "cold"]
    with pytest.raises(ArgumentTypeError, match="larg is not among"):
        chosen("small,larg")


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("peer", ["credstore", "bare protocol (the floor)"])
def test_a_peer_is_measured_in_a_process_of_its_own(peer, tls):
    with running_null_s3(tls=tls) as server:
        found = run(
            "benchmarks.small", peer=peer, arguments=[server.url, 100, 8, [1, 4]], ca_file=server.ca_file
        )
    assert set(found) == {"put 1", "get 1", "put 4", "get 4"}
    assert min(found.values()) > 0


def test_a_measurement_that_fails_has_no_figures(capsys):
    assert (
        run("benchmarks.small", peer="unheard of", arguments=["http://127.0.0.1:1", 1, 1, [1]], ca_file=None)
        == {}
    )
    assert "no figures (exit 1)" in capsys.readouterr().err


def test_bare_expat_and_credstore_see_the_same_listing():
    with running_null_s3() as server:
        for peer in ("credstore", many.DRIVER, many.EXPAT):
            assert run("benchmarks.many", peer=peer, verb="list", url=server.url)["list"] > 0


def test_the_report_says_what_is_checked_and_which_targets_are_compared():
    case = {peer: {"put": [10.0, 11.0], "get": [8.0, 9.0]} for peer in MAIN}
    names = [
        small._case(4096, number, tls, loop)
        for number in (1, 32, 256)
        for tls in (False, True)
        for loop in ("asyncio", "uvloop")
    ]
    text = render({"small": dict.fromkeys(names, case), "about": {"small": "today"}})
    assert "What is checked, and by whom" in text
    assert text.count("1.00 (1.00 to 1.00)") == 2 * 4 * 6
    assert Scale(quick=True).pick(1, 2) == 1
