"""Other people's log and witness, run as they are: what they say is what was recorded, and what credstore says."""

import asyncio
import json

from credstore import MemoryStorageProvider
from credstore.proofs.log.http import LogHttp
from credstore.proofs.log.policy import parse_log_policy
from credstore.proofs.log.sequencer import LogSequencer
from credstore.proofs.log.witnesses import WitnessGroup
from tests.campaign.trial import Campaign, Trial
from tests.proofs.log import counterpart
from tests.proofs.log.logs import Plain


async def _published(address: str, vkey: str) -> str | None:
    """Publish a log of ours with the cosignatures of their witness; returns what is wrong."""
    policy = parse_log_policy(
        f"log {counterpart.SIGNER.key.encode()}\nwitness theirs {vkey} {address}\nquorum theirs\n".encode()
    )
    async with LogHttp() as http, MemoryStorageProvider() as store:
        group = WitnessGroup(policy, http)
        async with LogSequencer(
            store, signer=counterpart.SIGNER, admission=Plain(), cosign=group.cosign, max_wait=0.0
        ) as sequencer:
            await sequencer.create()
            for number in range(3):
                await sequencer.append([b"%d %d" % (number, each) for each in range(100)])
        found = policy.verify(await store.retrieve("log/v1/checkpoint"))
    return None if found.signed.checkpoint.size == 300 and found.time else "not published with a cosignature"


def run(trial: Trial) -> None:
    """Compare their trees and signatures, their witness's responses, and let it cosign a log of ours."""
    programs = counterpart.environment(trial.folder / "environment")
    recorded = counterpart.steady(json.loads(counterpart.RECORDING.read_text()))
    for unit in trial.units():
        folder = trial.folder / str(unit)
        folder.mkdir(parents=True)
        found = counterpart.live(trial.folder, folder)
        problem = (
            None if counterpart.steady(found) == recorded else "they say something else than was recorded"
        )
        trial.counts["responses compared"] += len(found["witness"]["answers"])
        other = folder / "other"
        other.mkdir()
        with counterpart.witnessing(programs, other) as (address, vkey):
            problem = problem or asyncio.run(_published(address, vkey))
        trial.ended(unit, problem)


CAMPAIGN = Campaign(
    name="counterparts",
    unit="runs",
    about=(
        "aics-tlog builds trees and signs them, and aics-witness responds over HTTP, both from PyPI on a Python of "
        "their own (3.12 or newer). Roots, tiles, proofs, signatures and statuses are those that were recorded for "
        "the tests, and the witness cosigns a log of credstore's as it grows."
    ),
    sizes={"quick": 1, "ci": 1, "campaign": 2, "release": 5},
    run=run,
    plants={},
)
