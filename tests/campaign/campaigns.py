"""All campaigns, in the order in which they run."""

from tests.campaign import (
    cancels,
    cuts,
    fuzz,
    injections,
    kills,
    log_kills,
    logs,
    million,
    moves,
    objects,
    outages,
    proofs,
    replicas,
    weather,
)

CAMPAIGNS = [
    each.CAMPAIGN
    for each in (
        kills,
        moves,
        million,
        cuts,
        injections,
        objects,
        cancels,
        fuzz,
        proofs,
        logs,
        log_kills,
        weather,
        replicas,
        outages,
    )
]
BY_NAME = {campaign.name: campaign for campaign in CAMPAIGNS}
