"""A memory driver that fails as it is told to."""

from credstore.config.stores import MemoryConfig
from credstore.driver import READ_ALL, DeleteOutcome, ObjectInfo, Page, PutRequest, PutResult, ReadOptions
from credstore.drivers.memory import MemoryDriver, MemoryObjects
from credstore.errors import StorageConnectionError, StorageError, StorageUnavailableError


class Faulty(MemoryDriver):
    """Well until `mode` is set.

    Attributes:
        mode: "well", "down" (nothing is applied), "lost" (writes are applied, their answers lost).
        calls: Names of the operations so far.
    """

    def __init__(self, label: str, objects: MemoryObjects | None = None) -> None:
        super().__init__(MemoryConfig(), objects=objects)
        self.label = label
        self.mode = "well"
        self.calls: list[str] = []
        self.error: StorageError | None = None

    @property
    def name(self) -> str:
        return self.label

    def _fail(self, operation: str) -> None:
        self.calls.append(operation)
        if self.mode == "down":
            raise self.error or StorageUnavailableError(f"{self.label} is down", applied="no")

    def _lose(self) -> None:
        if self.mode == "lost":
            raise StorageConnectionError(f"{self.label} lost the answer", applied="maybe")

    async def put(self, request: PutRequest) -> PutResult:
        self._fail("put")
        result = await super().put(request)
        self._lose()
        return result

    async def copy(self, request):
        self._fail("copy")
        result = await super().copy(request)
        self._lose()
        return result

    async def get(self, key: str, options: ReadOptions = READ_ALL):
        self._fail("get")
        return await super().get(key, options)

    async def head(self, key: str, options: ReadOptions = READ_ALL) -> ObjectInfo:
        self._fail("head")
        return await super().head(key, options)

    async def delete(self, key, *, if_match=None, version_id=None, deadline=None) -> DeleteOutcome:
        self._fail("delete")
        outcome = await super().delete(key, if_match=if_match, deadline=deadline)
        self._lose()
        return outcome

    async def delete_many(self, keys, *, deadline=None):
        self._fail("delete_many")
        outcomes = await super().delete_many(keys, deadline=deadline)
        self._lose()
        return outcomes

    async def list(self, prefix="", cursor=None, **options) -> Page:
        self._fail("list")
        return await super().list(prefix, cursor, **options)

    async def ping(self, *, deadline=None) -> None:
        self._fail("ping")
        await super().ping(deadline=deadline)
