# What credstore uses of a package without types.

from botocore.credentials import ReadOnlyCredentials

class AioCredentials:
    async def get_frozen_credentials(self) -> ReadOnlyCredentials: ...
