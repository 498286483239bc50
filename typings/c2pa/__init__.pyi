from collections.abc import Callable
from enum import IntEnum
from types import TracebackType
from typing import Any, BinaryIO, Self

class C2paError(Exception): ...

class C2paSigningAlg(IntEnum):
    ES256 = 0
    ED25519 = 6

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
    def sign(self, signer: Signer, format: str, source: BinaryIO, dest: BinaryIO) -> bytes: ...

class Reader(_Resource):
    def __init__(self, format: str, stream: BinaryIO, manifest_data: bytes, context: Context) -> None: ...
    def json(self) -> str: ...
