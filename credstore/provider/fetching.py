"""`retrieve_to`: an object as a file of this machine; part of `StorageProvider`.

Rules of this file: the file appears with all bytes, verified, or not at all, and whatever is there before
stays until then; an error or a cancellation leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from credstore.concurrency import in_thread, opened_in_thread
from credstore.driver.reader import ObjectReader
from credstore.encryption import ClientSide, CustomerKey, known_encryption
from credstore.errors import StorageAlreadyExistsError, StorageError, StorageInvalidRequestError
from credstore.files import PendingFile
from credstore.model import Progress, StorageItem
from credstore.provider.homes import Home, check_outside
from credstore.provider.read import Reading, Wanted
from credstore.provider.session import Session
from credstore.provider.streaming import Opening
from credstore.provider.validation import check_flag, check_progress


class FetchingVerbs:
    """Objects of one store as files of this machine."""

    _session: Session

    async def retrieve_to(
        self,
        key: str,
        path: str | os.PathLike[str],
        *,
        replace: bool = True,
        decode: bool = True,
        encryption: CustomerKey | ClientSide | None = None,
        version_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a setting of the call, kept by the driver
        progress: Progress | None = None,
    ) -> StorageItem:
        """Write an object of any size into a file, which appears whole and verified, or not at all.

        Args:
            key: The object's key.
            path: Of the file; the folder it is in has to exist. A symbolic link stays, and the file that it
                leads to is written.
            replace: Whether it may take the place of a file that is there.
            decode: False writes the stored bytes.
            encryption: The customer-provided key the object was stored with (SSE-C), or what decrypts it
                here, instead of the provider's.
            version_id: A kept version.
            timeout: Seconds until the response starts, instead of the configured number.
            progress: Called with (stored bytes received, stored bytes in total), in order.

        Returns:
            What is known about the object.

        Raises:
            StorageNotFoundError: There is no such object, bucket, root or version; no file was made.
            StorageAlreadyExistsError: `replace` is False, and something of that name is there.
            StorageInvalidRequestError: The file cannot be written: no such folder, no permission, no room.
            StorageDecryptionError: The bytes are not what was encrypted under this key.
            StorageIntegrityError: The bytes are not those that were stored.
            StorageError: Anything else.

        Cost: 1 request.
        Cancellation: at once; the file is as it was before.
        """
        encryption, session = known_encryption(encryption), self._session
        with session.call("retrieve_to", key) as call:
            session.check_key(key)
            check_flag("replace", replace)
            check_flag("decode", decode)
            check_progress(progress)
            file = await _pending(path, session.homes, replace=replace)
            try:
                reading = Reading(
                    session, key, decode=decode, encryption=encryption, version_id=version_id, timeout=timeout
                )
                opening = Opening(
                    reading,
                    Wanted(limit=session.config.max_retrieve_size),
                    call=call,
                    progress=progress,
                )
                async with await opening.opened() as reader:
                    call.moved(reader.length or 0)
                    await _pour(reader, file)
                    await in_thread(file.publish)
                    return reader.info
            except OSError as error:
                if isinstance(error, StorageError):
                    raise
                raise _unwritable(file.target, error) from None
            finally:
                file.close()


async def _pending(path: object, homes: Sequence[Home], *, replace: bool) -> PendingFile:
    if not isinstance(path, str | os.PathLike):
        raise StorageInvalidRequestError(f"`path` is the path of a file, not {type(path).__name__}")
    text = cast("str | bytes", os.fspath(cast("str | os.PathLike[str]", path)))
    if not isinstance(text, str) or not text or "\0" in text:
        raise StorageInvalidRequestError("`path` is the path of a file, as text without a NUL character")

    def opened() -> PendingFile:
        check_outside(homes, [text])  # Or it would spoil an object.
        target = Path(os.path.realpath(text))
        if target.is_dir():
            raise StorageInvalidRequestError(f"{text!r} is a folder; name the file in it")
        if target.exists() and not target.is_file():
            raise StorageInvalidRequestError(f"{text!r} is not a regular file")
        if target.exists() and not replace:
            raise _taken(text)
        file = PendingFile(target, replace=replace)
        file.open()
        return file

    try:
        return await opened_in_thread(opened)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise _unwritable(text, error) from None


async def _pour(reader: ObjectReader[StorageItem], file: PendingFile) -> None:
    async for chunk in reader:
        await in_thread(file.write, chunk)


def _taken(path: object) -> StorageAlreadyExistsError:
    return StorageAlreadyExistsError(f"the file {str(path)!r} is there already", applied="no")


def _unwritable(path: object, error: OSError) -> StorageError:
    if isinstance(error, FileExistsError):
        return _taken(path)
    return StorageInvalidRequestError(f"cannot write the file {str(path)!r}: {error.strerror or error}")
