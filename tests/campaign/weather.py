"""Any sequence of calls and weather over three members of a redundant store, chosen by Hypothesis."""

from contextlib import ExitStack
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.campaign.plants import planted
from tests.campaign.pool import by_two
from tests.campaign.trial import Campaign, Trial
from tests.strategies.test_redundant_model import RedundantMachine

BATCH = 5
"""Examples of one task."""
STEPS = {"campaign": 500, "release": 500}
"""Steps of each example; 50 at the smaller scales."""


class Task(NamedTuple):
    """Some examples.

    Attributes:
        unit: Its number, from which they come again.
        seed: Of the trial.
        examples: How many.
        steps: Of each, at most.
        plant: The bug to be found, or None.
    """

    unit: int
    seed: int
    examples: int
    steps: int
    plant: str | None


def run(trial: Trial) -> None:
    """Run so many examples, two processes at a time; what is to find a planted bug runs in this one."""
    (trial.folder / "running").touch()
    steps = STEPS.get(trial.scale, 50)
    tasks = [
        Task(trial.start + number, trial.seed, min(BATCH, trial.size - done), steps, trial.plant)
        for number, done in enumerate(range(0, trial.size, BATCH))
    ]
    with ExitStack() as stack:
        results = map(_try, tasks) if trial.plant else stack.enter_context(by_two(trial, _try, tasks))
        for task, problem in results:
            trial.counts["steps at most"] += task.examples * steps
            trial.ended(task.unit, problem, task.examples)


def _try(task: Task) -> tuple[Task, str | None]:
    """What is wrong, shrunk to its shortest, but not where it was planted; or None."""
    chosen = settings(
        max_examples=task.examples,
        stateful_step_count=task.steps,
        deadline=None,
        database=None,
        phases=[Phase.generate] if task.plant else [Phase.generate, Phase.shrink],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    machine = seed(f"{task.seed} {task.unit}")(type("Machine", (RedundantMachine,), {}))
    try:
        with planted(task.plant):
            run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:
        return task, "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
    return task, None


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
