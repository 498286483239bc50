"""docs/reliability.md is what the last run of the campaigns found, and nothing else."""

import json
from pathlib import Path

import pytest

from tests.campaign.campaigns import CAMPAIGNS
from tests.campaign.report import render
from tests.campaign.runner import failed

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "tests/campaign/results.json").read_text())


def test_the_page_is_made_of_the_results():
    assert (ROOT / "docs/reliability.md").read_text() == render(RESULTS)


@pytest.mark.parametrize("campaign", CAMPAIGNS, ids=lambda campaign: campaign.name)
def test_the_last_run_was_whole_and_without_violation(campaign):
    found = RESULTS[campaign.name]
    assert found["violations"] == []
    assert found["controls"].keys() == campaign.plants.keys()
    assert not failed(found)


def test_figures_and_page_agree_or_differ_together():
    other = json.loads(json.dumps(RESULTS))
    other["kills"]["done"] += 1
    assert render(other) != render(RESULTS)
