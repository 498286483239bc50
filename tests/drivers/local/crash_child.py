"""One operation of a local store in a process of its own, to be killed; see test_crash.py.

argv: root, operation, sabotage. Writes "done" once the operation is acknowledged.
"""

import asyncio
import os
import sys
import time

from credstore.config.stores import LocalConfig
from credstore.driver import CREATE, OVERWRITE, BytesBody, CopyRequest, PutRequest
from credstore.drivers.local import atomic, attributes, objects
from credstore.drivers.local.driver import LocalDriver
from credstore.errors import StorageAlreadyExistsError

NEW = b"new" * 50


def sabotage(name):
    """Break one rule of the driver, so that the harness can be seen to turn red."""
    if name == "no-data-fsync":
        settle = atomic.Temporary.settle

        def settle_unsynced(self, step=0):
            self._syncer.enabled = False
            try:
                return settle(self, step)
            finally:
                self._syncer.enabled = True

        atomic.Temporary.settle = settle_unsynced
    elif name == "no-directory-fsync":
        atomic.Directories.sync = lambda self, syncer: None
    elif name == "attributes-late":
        write, rename = attributes.Shelf.write, atomic.Temporary.rename
        late = []
        attributes.Shelf.write = lambda *args: late.append(args)

        def rename_first(self, directory, target):
            rename(self, directory, target)
            while late:
                write(*late.pop())

        atomic.Temporary.rename = rename_first
    elif name == "no-rename":

        def write_in_place(self, directory, target):
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=directory)
            data = atomic.read_all(self.fd, 0, os.fstat(self.fd).st_size)
            for at in range(0, len(data), 50):
                os.write(fd, data[at : at + 50])
            status = os.fstat(self.fd)
            os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
            os.close(fd)

        atomic.Temporary.rename = write_in_place
    elif name.startswith("clock="):  # No fault: a clock that stands still.
        moment = int(name.partition("=")[2])
        time.time_ns = lambda: moment
    else:
        assert name == "none", name
    assert objects


async def main(root, operation):
    config = LocalConfig(path=root)
    driver = LocalDriver(config, threads=1)
    if operation in {"put", "create"}:
        mode = CREATE if operation == "create" else OVERWRITE
        request = PutRequest(
            key="d/k",
            body=BytesBody(NEW),
            write_id="1" * 32,
            metadata={"belongs-to": repr(NEW[:40])},
            precondition=mode,
        )
        await driver.put(request)
    elif operation == "copy":
        source = await driver.head("s")
        await driver.copy(CopyRequest(source=source, destination="d/k", write_id="3" * 32))
    elif operation == "move":
        source = await driver.head("d/k")
        await driver.copy(CopyRequest(source=source, destination="e/k", write_id="2" * 32))
        await driver.delete("d/k", if_match=source.etag)
    else:
        await driver.delete("d/k")


if __name__ == "__main__":
    sabotage(sys.argv[3])
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2]))
    except StorageAlreadyExistsError:
        os.write(1, b"exists")
    else:
        os.write(1, b"done")
