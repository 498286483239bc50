from typing import NamedTuple

class PureError(LookupError): ...

class PureMagicWithConfidence(NamedTuple):
    byte_match: bytes
    offset: int
    extension: str
    mime_type: str
    name: str
    confidence: float

def magic_string(string: bytes, filename: str | None = None) -> list[PureMagicWithConfidence]: ...

class PureMagic(NamedTuple):
    byte_match: bytes
    offset: int
    extension: str
    mime_type: str
    name: str

magic_header_array: list[PureMagic]
