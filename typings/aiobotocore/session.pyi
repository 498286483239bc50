# What credstore uses of a package without types.

from contextlib import AbstractAsyncContextManager
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials

class AioSession:
    def __init__(self, *, profile: str | None = None) -> None: ...
    def register_component(self, name: str, component: object) -> None: ...
    async def get_credentials(self) -> AioCredentials | None: ...
    def create_client(
        self,
        service_name: str,
        *,
        region_name: str,
        endpoint_url: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        config: AioConfig | None = None,
    ) -> AbstractAsyncContextManager[Any]: ...
