"""A process that transfers, tells each step on its pipe, and is killed."""

import asyncio
import sys
from pathlib import Path

from credstore import LocalConfig, LocalStorageProvider
from credstore.transfer import migrate


async def main(source: str, destination: str, journal: str, kind: str, drop: str) -> None:
    def on_event(event):
        print(event.kind, flush=True)

    store = LocalStorageProvider(LocalConfig(path=destination, fsync=False))
    async with store:
        place = Path(destination) if kind == "folder" else store
        report = await migrate(
            Path(source), place, journal=journal, delete_source=drop == "drop", on_event=on_event
        )
    print("complete" if report.complete else f"not complete: {report.events}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
