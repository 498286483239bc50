"""`get_storage`: tables of pandas, polars and pyarrow in the store that the environment names.

Parquet is read by ranges: of a file, only its footer and the wanted columns and row groups are fetched. Files
are published whole or not at all, as by `CredstoreFile`.

Source: Apache Parquet's file format (row groups, footer); Hive's `name=value` folders for partitions.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from credstore.config.environ import names_a_store
from credstore.errors import ErrorCode, StorageConfigurationError, StorageInvalidRequestError
from credstore.extras import missing_extra
from credstore.factory import StorageFactory
from credstore.filesystem import CredstoreFileSystem
from credstore.provider.provider import StorageProvider

try:
    import pyarrow as pa
    import pyarrow.dataset
    import pyarrow.fs
    import pyarrow.parquet
except ModuleNotFoundError:
    raise missing_extra("frames", "tables need") from None

Library: TypeAlias = Literal["pandas", "polars", "pyarrow"]
"""Whose table to make."""


def get_storage(
    environ: Mapping[str, str] | None = None, *, local: str | os.PathLike[str] = "data"
) -> TableStorage:
    """Tables in the store that the environment names, as `StorageFactory.from_env` finds it.

    With the settings of several clouds in the environment, `CREDSTORE_PROVIDER` alone switches between them,
    and back. Only where no variable names a store or a part of one is it a local folder: a cloud that is
    named and not configured is an error, so that nothing is written to the wrong place.

    Args:
        environ: Variables by name, instead of `os.environ`.
        local: The folder where nothing is set; made when something is written.

    Raises:
        StorageConfigurationError: A setting is missing, unknown or contradictory; the message names the
            variable.
    """
    variables = os.environ if environ is None else environ
    factory = StorageFactory(environ=variables)
    named = names_a_store(variables)
    config = factory.configure(None if named else Path(local).absolute().as_uri())

    def opened() -> StorageProvider:
        return factory.create(config)

    return TableStorage(opened)


class TableStorage:
    """Tables and files of one store, for code that does not use asyncio.

    Close it with `close()`, or use it in a `with`. Paths are keys.

    Attributes:
        file_system: The store as an fsspec file system, for other libraries.
    """

    def __init__(self, store: str | Callable[[], StorageProvider] | None = None) -> None:
        """Read the settings; nothing is opened yet.

        Args:
            store: As for `CredstoreFileSystem`.

        Raises:
            StorageConfigurationError: A setting is missing, unknown or contradictory.
        """
        self.file_system = CredstoreFileSystem(store, default_cache_type="none", skip_instance_cache=True)
        self._arrow = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(self.file_system))

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self.file_system.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read_parquet(
        self,
        path: str,
        *,
        columns: Sequence[str] | None = None,
        filters: Any = None,
        row_groups: Sequence[int] | None = None,
        into: Library = "pandas",
    ) -> Any:
        """A table from a Parquet file or a folder of them, whose partitions `name=value` become columns.

        Args:
            path: Of the file or the folder.
            columns: The only ones to fetch; all unless given.
            filters: Rows to keep, as pyarrow takes them: `[("year", "=", 2026)]`, or an expression.
                Partitions and row groups whose statistics rule them out are not fetched.
            row_groups: Numbers of the row groups of a file to fetch, instead of `filters`.
            into: Whose table to make.

        Raises:
            FileNotFoundError: There is no such file or folder.
            StorageInvalidRequestError: Both `filters` and `row_groups`, or an unknown library.
            StorageConfigurationError: The library is not installed.
            StorageError: The store failed.

        Cost: for each file, 2 requests or so for its footer, and for each row group one for each range of
            neighbouring columns; a range costs what `StorageProvider.open` says.
        """
        make, path = _maker(into), _rooted(path)
        wanted = None if columns is None else list(columns)
        if row_groups is None:
            return make(
                pyarrow.parquet.read_table(path, filesystem=self._arrow, columns=wanted, filters=filters)
            )
        if filters is not None:
            raise StorageInvalidRequestError(
                "row groups are chosen by `filters` or by `row_groups`, not by both"
            )
        with self.file_system.open(path, "rb") as file:
            parquet = pyarrow.parquet.ParquetFile(file, pre_buffer=True)
            return make(parquet.read_row_groups(list(row_groups), columns=wanted))

    def write_parquet(
        self,
        frame: Any,
        path: str,
        *,
        partition_by: Sequence[str] = (),
        append: bool = False,
        **options: Any,
    ) -> None:
        """Store a table as a Parquet file, or as a folder of them with a folder for each partition.

        A file is replaced at once. A folder gets its new files first, and then loses those it had, so a
        reader meanwhile may see rows twice, and never misses any. If writing fails, the folder is as it was,
        unless the store cannot be reached to remove the new files again.

        Args:
            frame: A table of pandas, polars or pyarrow.
            path: Of the file or the folder.
            partition_by: Columns whose values become folders.
            append: Keep the files that the folder has; only with `partition_by`.
            options: Of pyarrow's `write_table`; in a folder, of its `ParquetFileFormat.make_write_options`.

        Raises:
            StorageInvalidRequestError: Something else than a table, or `append` to a file.
            StorageError: The store failed; see `StorageProvider.store`.
        """
        table, path = _table(frame), _rooted(path)
        if partition_by:
            self._write_partitions(table, path, list(partition_by), append, options)
            return
        if append:
            raise StorageInvalidRequestError(
                "a file is replaced as a whole; append to a folder of partitions"
            )
        with self.file_system.open(path, "wb") as file:
            pyarrow.parquet.write_table(table, file, **options)

    def _write_partitions(
        self,
        table: Any,
        path: str,
        partition_by: list[str],
        append: bool,  # noqa: FBT001 - the caller's own
        options: Mapping[str, Any],
    ) -> None:
        fs, token = self.file_system, secrets.token_hex(8)
        before = [] if append else fs.find(path)
        form = pyarrow.dataset.ParquetFileFormat()
        try:
            pyarrow.dataset.write_dataset(
                table,
                path,
                filesystem=self._arrow,
                format=form,
                file_options=form.make_write_options(**options),
                partitioning=partition_by,
                partitioning_flavor="hive",
                basename_template=f"part-{token}-{{i}}.parquet",
                existing_data_behavior="overwrite_or_ignore",
            )
        except BaseException:
            new = [each for each in fs.find(path) if token in each]
            if new:
                fs.rm(new)
            raise
        if before:
            fs.rm(before)

    def read_csv(self, path: str, *, into: Library = "pandas", **options: Any) -> Any:
        """A table from a CSV file.

        Args:
            path: Of the file.
            into: Whose table to make, and whose reader to use.
            options: Of that library's own `read_csv`.

        Raises:
            FileNotFoundError: There is no such file.
            StorageInvalidRequestError: An unknown library.
            StorageConfigurationError: The library is not installed.
            StorageError: The store failed.

        Cost: 2 requests for each 5 MiB and one more.
        """
        _maker(into)
        reader = import_module("pyarrow.csv" if into == "pyarrow" else into)
        with self.file_system.open(path, "rb", cache_type="readahead") as file:
            return reader.read_csv(file, **options)

    def write_csv(self, frame: Any, path: str, **options: Any) -> None:
        """Store a table as a CSV file, which is replaced at once.

        Args:
            frame: A table of pandas, polars or pyarrow.
            path: Of the file.
            options: Of that library's own writer; without a word, pandas' index is not written.

        Raises:
            StorageInvalidRequestError: Something else than a table.
            StorageError: The store failed; see `StorageProvider.store`.
        """
        library = _library(frame)
        with self.file_system.open(path, "wb") as file:
            if library == "pandas":
                frame.to_csv(file, **{"index": False, **options})
            elif library == "polars":
                frame.write_csv(file, **options)
            else:
                import_module("pyarrow.csv").write_csv(frame, file, **options)

    def list_files(self, path: str = "", *, pattern: str | None = None) -> list[str]:
        """Paths of all files in a folder and below it, sorted; an absent folder has none.

        Args:
            path: Of the folder; "" for the whole store.
            pattern: A glob within the folder, such as `*.parquet` or `**/*.csv`.

        Raises:
            StorageError: The store failed.

        Cost: 1 request per 1,000 files; with a `pattern`, 1 for each folder that it goes through.
        """
        fs = self.file_system
        if pattern is None:
            found = fs.find(path)
        else:
            found = fs.glob(f"{path}/{pattern}" if path else pattern, withdirs=False)
        return [name.removeprefix("/") for name in found]

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder; an unreachable store raises.

        Raises:
            StorageError: The store failed.

        Cost: 1 request, or 2 where it is not a file.
        """
        return self.file_system.exists(path)


def _rooted(path: str) -> str:
    """A path as the file system lists it, which pyarrow compares with what is below it."""
    return f"/{path.strip('/')}"


def _library(frame: object) -> Library:
    """Whose table it is, without importing any."""
    kind, name = type(frame), type(frame).__module__.partition(".")[0]
    if kind.__name__ == "DataFrame" and name == "pandas":
        return "pandas"
    if kind.__name__ == "DataFrame" and name == "polars":
        return "polars"
    if isinstance(frame, pa.Table):
        return "pyarrow"
    raise StorageInvalidRequestError(f"a table of pandas, polars or pyarrow is expected, not {kind.__name__}")


def _table(frame: Any) -> Any:
    match _library(frame):
        case "pandas":
            return pa.Table.from_pandas(frame)
        case "polars":
            return frame.to_arrow()
        case "pyarrow":
            return frame


def _maker(into: Library) -> Callable[[Any], Any]:
    """What makes a library's table of pyarrow's."""
    if into not in {"pandas", "polars", "pyarrow"}:
        raise StorageInvalidRequestError(f"tables are of pandas, polars or pyarrow, not of {into!r}")
    try:
        library = import_module(into)
    except ModuleNotFoundError:
        raise StorageConfigurationError(
            f"a table of {into} needs {into}: pip install {into}", code=ErrorCode.EXTRA_MISSING
        ) from None
    if into == "pandas":
        return _to_pandas
    return library.from_arrow if into == "polars" else _as_it_is


def _to_pandas(table: Any) -> Any:
    return table.to_pandas()


def _as_it_is(table: Any) -> Any:
    return table
