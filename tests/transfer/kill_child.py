"""A process that transfers, reports each step on standard output, and is killed."""

import asyncio
import sys
from pathlib import Path

from credstore import LocalConfig, LocalStorageProvider
from credstore.transfer import folder, migrate
from credstore.transfer.moving import Mover


async def delete_first(mover: Mover, entry):
    """The bug of deleting the source before the copy is there."""
    async with mover.source.read(entry, mover.flow) as content:
        await mover.source.delete(entry)
        return await mover.destination.write(
            entry.name, content, if_absent=False, verify=True, flow=mover.flow
        )


async def main(arguments: list[str]) -> None:
    source, destination, journal, kind, drop, plant = arguments

    def on_event(event):
        print(event.kind, flush=True)

    if plant == "delete-first":
        Mover.copy = delete_first
    elif plant == "nothing-swept":
        folder.remove_leftover = lambda path: False
    async with LocalStorageProvider(LocalConfig(path=destination, fsync=False)) as store:
        place = Path(destination) if kind == "folder" else store
        report = await migrate(
            Path(source), place, journal=journal, delete_source=drop == "drop", on_event=on_event
        )
    print("complete" if report.complete else f"not complete: {report.events}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
