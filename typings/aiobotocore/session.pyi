# What credstore uses of a package without types.

from aiobotocore.credentials import AioCredentials

class AioSession:
    def __init__(self, *, profile: str | None = None) -> None: ...
    async def get_credentials(self) -> AioCredentials | None: ...
