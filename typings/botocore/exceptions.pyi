# What credstore uses of a package without types.

from typing import Any

class BotoCoreError(Exception): ...
class ProfileNotFound(BotoCoreError): ...  # noqa: N818 - botocore's name
class ConnectionError(BotoCoreError): ...  # noqa: A001 - botocore's name
class HTTPClientError(BotoCoreError): ...
class SSLError(ConnectionError): ...

class ClientError(Exception):
    response: dict[str, Any]
