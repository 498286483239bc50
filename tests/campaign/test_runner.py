"""The campaigns at their smallest, their planted bugs, and a runner that reports, stops and cleans up."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign import __main__ as command
from tests.campaign.campaigns import BY_NAME, CAMPAIGNS
from tests.campaign.runner import Settings, failed, missing, perform
from tests.campaign.trial import SCALES, Campaign, Trial

ROOT = Path(__file__).parents[2]
SMALLEST = {
    "kills": 8,
    "moves": 2,
    "million": 1,
    "cuts": 40,
    "injections": 20,
    "objects": 300,
    "cancels": 500,
    "fuzz": 1_000,
    "proofs": 240,
    "logs": 2,
    "log-kills": 8,
    "weather": 20,
    "replicas": 1,
    "outages": 1,
}
"""Few inputs of `fuzz`: the watch for secrets keeps every error of a test, with what its frames hold."""


def needing(campaign: Campaign) -> list[pytest.MarkDecorator]:
    return [pytest.mark.system] if campaign.programs else []


def results_of(campaign: Campaign, **settings):
    ((_, found),) = perform([campaign], Settings(**{"scale": "quick", "seed": 5, "quiet": True, **settings}))
    return found


@pytest.mark.parametrize(
    "campaign", [pytest.param(each, id=each.name, marks=needing(each)) for each in CAMPAIGNS]
)
def test_nothing_is_violated(campaign):
    found = results_of(campaign, size=SMALLEST[campaign.name], controls=False)
    assert found["violations"] == []
    assert found["done"] >= min(SMALLEST[campaign.name], found["size"]) > 0
    assert not failed(found)


@pytest.mark.parametrize(
    ("campaign", "plant"),
    [
        pytest.param(each, plant, id=f"{each.name}-{plant}", marks=needing(each))
        for each in CAMPAIGNS
        for plant in each.plants
        # Those of cancels are in test_cancellation_storm.py; that of outages takes minutes of real servers, and each
        # run of the campaign begins with it.
        if each.name not in {"cancels", "outages"}
    ],
)
def test_planted_bugs_are_found(campaign, plant):
    only = Campaign(**{**vars(campaign), "plants": {plant: campaign.plants[plant]}})
    found = results_of(only, size=0)
    assert found["controls"][plant] is not None


def test_every_campaign_has_planted_bugs_and_sizes_that_grow():
    for campaign in CAMPAIGNS:
        assert campaign.plants
        assert list(campaign.sizes) == list(SCALES)
        assert sorted(campaign.sizes.values()) == list(campaign.sizes.values())


def run_badly(trial: Trial) -> None:
    """Every unit whose dice show six is a violation; the planted bug is one of them."""
    for unit in trial.units():
        trial.ended(
            unit, "six" if trial.chance(unit).randint(1, 6) == 6 and trial.plant != "missed" else None
        )


def campaign_of(run, **plants) -> Campaign:
    return Campaign("dice", "rolls", "Rolls dice.", dict.fromkeys(SCALES, 100), run, plants)


def test_a_violation_fails_the_run_and_comes_again_from_its_seed_and_number(capsys):
    campaign = campaign_of(run_badly, found=100)
    found = results_of(campaign)
    assert failed(found)
    first = found["violations"][0]
    number = int(first.split()[1].strip(":"))
    assert f"dice, seed 5: {first}" in capsys.readouterr().err
    assert results_of(campaign, start=number, size=1, controls=False)["violations"] == [first]
    assert results_of(campaign, seed=6)["violations"] != found["violations"]


def test_a_planted_bug_that_is_not_found_fails_the_run():
    def run(trial: Trial) -> None:
        if trial.plant is not None:
            run_badly(trial)
        trial.size = 0

    assert results_of(campaign_of(run, found=100))["controls"]["found"] > 0
    assert not failed(results_of(campaign_of(run, found=100)))
    found = results_of(campaign_of(run, missed=100))
    assert found["controls"] == {"missed": None}
    assert failed(found)


def test_what_the_time_did_not_suffice_for_fails_the_run():
    campaign = campaign_of(lambda trial: [trial.ended(unit) for unit in trial.units()])
    found = results_of(campaign, seconds=0)
    assert (found["done"], found["size"], found["complete"]) == (1, 100, False)
    assert failed(found)
    assert not failed(results_of(campaign))


def test_progress_is_one_line_with_rate_and_end(capsys):
    campaign = campaign_of(lambda trial: [trial.ended(unit) for unit in trial.units()])
    results_of(campaign, quiet=False)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dice: 100 of 100, ")
    assert "/s, ends " in line


def test_a_missing_program_is_named(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert missing(CAMPAIGNS) == ["strace"]
    assert command.main(["injections"]) == 3
    assert "strace" in capsys.readouterr().err


def test_the_command_writes_the_page_and_keeps_the_results_of_others(tmp_path, monkeypatch, capsys):
    kept = tmp_path / "results.json"
    monkeypatch.setattr(command, "KEPT", kept)
    page, results = tmp_path / "page.md", tmp_path / "mine.json"
    for name, size in (("objects", 200), ("cuts", 10)):
        given = [name, "--scale", "quick", "--seed", "3", "--size", str(size)]
        assert command.main([*given, "--write", str(page), "--json", str(results)]) == 0
    assert list(json.loads(kept.read_text())) == ["cuts", "objects"]
    assert list(json.loads(results.read_text())) == ["cuts"]
    assert "| objects | 200 mutated objects | 0 |" in page.read_text()
    assert "scale quick, seed 3" in capsys.readouterr().err


def gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", [pytest.param(each.name, marks=needing(each)) for each in CAMPAIGNS])
def test_a_stop_ends_everything_and_leaves_nothing(tmp_path, name, how):
    command_line = [sys.executable, "-m", "tests.campaign", name, "--seed", "1", "--start", "1"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command_line, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stderr is not None
        while not any(tmp_path.glob("credstore-campaign-*/*")):
            assert running.poll() is None
        os.killpg(running.pid, how) if how is signal.SIGINT else running.terminate()
        said = running.stderr.read()
    assert running.returncode == 130, said
    assert "stopped; done before: nothing" in said
    assert list(tmp_path.iterdir()) == []
    while not gone(running.pid):  # The server of forks ends by itself once nobody can ask it any more.
        pass


def test_unknown_words_are_refused():
    for arguments in (["nonsense"], ["--scale", "huge"]):
        with pytest.raises(SystemExit):
            command.main(arguments)
    assert set(SMALLEST) == BY_NAME.keys()
