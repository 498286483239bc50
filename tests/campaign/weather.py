"""Any sequence of calls and weather over three members of a redundant store, chosen by Hypothesis."""

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.campaign.plants import planted
from tests.campaign.trial import Campaign, Trial
from tests.strategies.test_redundant_model import RedundantMachine

BATCH = 20
"""Examples between two looks at the clock."""
STEPS = {"campaign": 500, "release": 500}
"""Steps of each example; 50 at the smaller scales."""


def run(trial: Trial) -> None:
    """Run so many examples; a violation is shrunk to its shortest, but a planted bug is not."""
    (trial.folder / "running").touch()
    phases = [Phase.generate] if trial.plant else [Phase.generate, Phase.shrink]
    with planted(trial.plant):
        while trial.done < trial.size:
            batch = min(BATCH, trial.size - trial.done)
            unit = trial.start + trial.done // BATCH
            steps = STEPS.get(trial.scale, 50)
            chosen = settings(
                max_examples=batch,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                phases=phases,
                verbosity=Verbosity.quiet,
                suppress_health_check=list(HealthCheck),
            )
            machine = seed(f"{trial.seed} {unit}")(type("Machine", (RedundantMachine,), {}))
            problem = None
            try:
                run_state_machine_as_test(machine, settings=chosen)
            except Exception as error:
                problem = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
            trial.counts["steps at most"] += batch * steps
            trial.ended(unit, problem, batch)


CAMPAIGN = Campaign(
    name="weather",
    unit="examples",
    about=(
        "Hypothesis chooses 500 steps (50 at the smaller scales): writes, deletes, two of them at once, listings, "
        "scrubs, other processes, damaged replicas, and what becomes of each of the three members of a redundant "
        "store: down, slow, losing responses, applying changes late, corrupt, well again. After each step every key "
        "reads as what was acknowledged last, or what is unclear since; in the end all is healed and scrubbed, and "
        "all three are equal."
    ),
    sizes={"quick": 20, "ci": 200, "campaign": 2_000, "release": 10_000},
    run=run,
    plants={"one-is-enough": 200, "no-tombstones": 200},
)
