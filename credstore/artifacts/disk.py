"""What the disk of this machine says, as errors of credstore."""

from __future__ import annotations

from credstore.errors import ErrorCode, StorageError


class DiskErrors:
    """A context that raises an `OSError` as a `StorageError` (code "IO_ERROR")."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            raise StorageError(
                f"{error.filename or 'a file'}: {error.strerror or error}", code=ErrorCode.IO_ERROR
            ) from error
