"""A million objects through a transfer: what it holds in memory does not grow with their number."""

from tests.campaign.trial import Campaign, Stop, Trial
from tests.transfer.endless import moved

MOST = 16 * 1024
"""KiB that the larger run may need more; a million names alone would be 60,000."""


def run(trial: Trial) -> None:
    """Move few and many objects, each in a process of its own, and compare what they needed."""
    few, many = (10_000, 1_000_000) if trial.scale in {"campaign", "release"} else (500, 5_000)
    for unit in trial.units():
        plant = [trial.plant] if trial.plant else []
        peaks: list[int] = []
        problem = None
        for count in (few, many):
            peak, counts = moved(
                count, trial.folder / f"journal-{unit}-{count}", *plant, stopped=lambda: Stop.asked
            )
            peaks.append(peak)
            trial.counts["objects moved"] += count
            if counts != [str(count)] * 3:
                problem = f"of {count} objects {counts} were put, copied and found equal"
        if problem is None and peaks[1] - peaks[0] > MOST:
            problem = f"{many:,} objects took {peaks[1] - peaks[0]:,} KiB more than {few:,}"
        trial.ended(unit, problem)


CAMPAIGN = Campaign(
    name="million",
    unit="comparisons",
    about=(
        "A process copies 1,000,000 objects (5,000 at the smaller sizes) between two stores that hold none of "
        "them, with a journal on disk, and finds all of them equal by it in a second run. Its memory at most is "
        "that of a process with 10,000 (500) objects, but for 16 MiB."
    ),
    sizes={"quick": 1, "ci": 1, "campaign": 1, "release": 3},
    run=run,
    plants={"remembers": 1},
)
