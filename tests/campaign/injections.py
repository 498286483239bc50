"""SIGKILL, EIO and ENOSPC at every system call of the local driver's operations, by strace."""

from tests.campaign.trial import Campaign, Trial
from tests.drivers.local.injecting import ALL, CHANGES, STATES, TAKES_SPACE, Target

AT_ONCE = ("together", "grouped", "whole")
ALONE = [operation for operation in STATES if operation not in AT_ONCE]
KILL, EIO, ENOSPC = "signal=KILL", "error=EIO", "error=ENOSPC"
THREADS = 4
"""Of the driver when several operations run at once; strace counts in each thread by itself."""
FAULTS = ((KILL, ALL), (EIO, ALL), (ENOSPC, TAKES_SPACE))
PLAN = [
    *((operation, fault, calls, 1) for fault, calls in FAULTS for operation in ALONE),
    *((operation, fault, calls, THREADS) for operation in AT_ONCE for fault, calls in FAULTS),
]
FOUND_IN = {
    "no-rename": ("overwrite", KILL, CHANGES, 1),
    "attributes-late": ("overwrite", KILL, CHANGES, 1),
    "swallowed-errors": ("overwrite", EIO, "fsync", 1),
}
"""Where each planted bug shows."""


def run(trial: Trial) -> None:
    """Inject at each call in turn, up to the size; what there is to inject may be less."""
    plan = PLAN if trial.plant is None else [FOUND_IN[trial.plant]]
    unit = 0
    for operation, fault, calls, threads in plan:
        target = Target(trial.folder, operation, fault, calls, trial.plant or "none", threads)
        for name, number in target.places():
            if trial.done >= trial.size:
                return
            if unit >= trial.start:
                trial.counts[fault.partition("=")[2]] += 1
                trial.counts["in four threads" if threads > 1 else f"in {operation}"] += 1
                problem = target.hit(name, number)
                trial.ended(unit, problem and f"{operation}, {fault} at {name} {number}: {problem}")
            unit += 1
    trial.size = trial.done


CAMPAIGN = Campaign(
    name="injections",
    unit="injections",
    about=(
        "strace attaches to a process that is about to put, create, overwrite, copy, move or delete on a local store, "
        "and lets one system call kill it (SIGKILL) or fail (EIO, ENOSPC): each call of the operation in turn, those "
        "that only read too, and the same for four operations at once in the threads of the driver's pool. What an "
        "error says is so: with “not applied” the old object is there; what is acknowledged is there, and never after "
        "a flush that failed; no other exception than credstore's own comes out."
    ),
    sizes={"quick": 40, "ci": 450, "campaign": 5_000, "release": 5_000},
    run=run,
    plants={"no-rename": 60, "attributes-late": 60, "swallowed-errors": 60},
    programs=("strace",),
)
