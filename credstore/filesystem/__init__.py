"""`CredstoreFileSystem`: any store as an fsspec file system, for pandas, Dask, pyarrow, zarr and others.

A path is a key: `credstore://folder/file.parquet` is the object `folder/file.parquet` of the store that the
option `store` names, `storage_options={"store": "s3://bucket/prefix"}`, or else the environment. Nothing of
the store is part of the path, so that code moves from one store to another by its options alone. As with
fsspec's memory, the names in listings begin with a slash (`/folder/file.parquet`), which may be left out
elsewhere; without it, fsspec copies a file of the root onto a folder instead of into it.

Folders are what keys have in common up to a slash: making one does nothing, and an empty one does not exist.
No listing is cached. The provider belongs to one event loop: fsspec's own, or in asynchronous use
the caller's. It is made at the first call there.

Source: fsspec's `AsyncFileSystem` and `AbstractBufferedFile`, whose methods these are.
"""

from credstore.filesystem.system import CredstoreFileSystem as CredstoreFileSystem
