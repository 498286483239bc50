# What credstore uses of a package without types.

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from botocore.config import Config
from botocore.configprovider import ConfigValueStore

class Session:
    def __init__(self, *, profile: str | None = None) -> None: ...
    session_var_map: Mapping[
        str, tuple[str | None, str | Sequence[str] | None, object, Callable[[str], object] | None]
    ]
    def get_config_variable(self, logical_name: str) -> str | None: ...
    def get_component(self, name: Literal["config_store"]) -> ConfigValueStore: ...
    def create_client(
        self,
        service_name: str,
        *,
        region_name: str | None = None,
        endpoint_url: str | None = None,
        verify: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        config: Config | None = None,
    ) -> Any: ...
