from collections.abc import Callable
from enum import IntEnum
from types import TracebackType
from typing import IO, Any, Self

class C2paError(Exception):
    ManifestNotFound: type[C2paError]
    NotSupported: type[C2paError]

class C2paSigningAlg(IntEnum):
    ES256 = 0
    ES384 = 1
    PS256 = 3
    ED25519 = 6

class C2paBuilderIntent(IntEnum):
    EDIT = 1

class _Resource:
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...

class Context(_Resource):
    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Context: ...

class Signer(_Resource):
    @classmethod
    def from_callback(
        cls,
        callback: Callable[[bytes], bytes],
        alg: C2paSigningAlg,
        certs: str,
        tsa_url: str | None = None,
    ) -> Signer: ...

class Builder(_Resource):
    def __init__(self, manifest_json: str, context: Context) -> None: ...
    def set_no_embed(self) -> None: ...
    def set_remote_url(self, remote_url: str) -> None: ...
    def set_intent(self, intent: C2paBuilderIntent) -> None: ...
    def add_resource(self, uri: str, stream: IO[bytes]) -> None: ...
    def add_ingredient(self, ingredient_json: str, format: str, source: IO[bytes]) -> None: ...
    def sign(self, signer: Signer, format: str, source: IO[bytes], dest: IO[bytes]) -> bytes: ...

class Reader(_Resource):
    def __init__(
        self, format: str | None, stream: IO[bytes], manifest_data: bytes | None, context: Context
    ) -> None: ...
    def json(self) -> str: ...
    def crjson(self) -> str: ...
    def is_embedded(self) -> bool: ...
    def get_remote_url(self) -> str | None: ...
