"""Random kill -9 of migrations, again and again between the same two places."""

import shutil

from tests.campaign.trial import Campaign, Trial
from tests.transfer.killing import Journey, tree_for

LIFE = 5
"""Kills between one beginning and its end."""


def run(trial: Trial) -> None:
    """Kill so many runs; after each, and after the run that comes to its end, nothing may be wrong."""
    objects = 1_000 if trial.scale in {"campaign", "release"} else 100
    journey: Journey | None = None
    last = trial.units()[-1] if trial.size else -1
    for unit in trial.units():
        chance = trial.chance(unit)
        if journey is None:
            shutil.rmtree(trial.folder / "places", ignore_errors=True)
            kind = "folder" if trial.plant == "nothing-swept" else chance.choice(["folder", "store"])
            drop = trial.plant == "delete-first" or chance.random() < 0.5
            journey = Journey(
                trial.folder / "places", tree_for(chance, objects), kind, drop, trial.plant or ""
            )
        journey.kill(chance.randrange(1, 2 * objects))
        problem = journey.problem_after_a_kill()
        trial.counts["objects moved by killed runs"] += len(journey.there())
        if problem is None and ((unit + 1) % LIFE == 0 or unit == last):
            journey.finish()
            problem = journey.problem_at_the_end()
            trial.counts["migrations that came to their end"] += 1
            journey = None
        trial.ended(unit, problem)
        if problem is not None:
            journey = None


CAMPAIGN = Campaign(
    name="moves",
    unit="kills",
    about=(
        "A process migrates 1,000 objects (100 at the smaller sizes) from a folder to another folder or to a local "
        "store, copying or moving them, and is killed with SIGKILL at a random moment, five times on each pair "
        "of places; then it is run to its end. After each kill every object is whole at one end at least, and "
        "nothing else is anywhere; at the end all are at the destination, and no temporary file is left."
    ),
    sizes={"quick": 5, "ci": 20, "campaign": 50, "release": 500},
    run=run,
    plants={"delete-first": 50, "nothing-swept": 50},
)
