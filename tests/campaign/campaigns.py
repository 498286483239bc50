"""All campaigns, in the order in which they run."""

from tests.campaign import cancels, cuts, fuzz, injections, kills, logs, moves, objects

CAMPAIGNS = [each.CAMPAIGN for each in (kills, moves, cuts, injections, objects, cancels, fuzz, logs)]
BY_NAME = {campaign.name: campaign for campaign in CAMPAIGNS}
