"""Versions of datasets, backups of folders, archives of logs; needs the extra `artifacts`."""

from credstore.artifacts.archiving import ArchiveReport
from credstore.artifacts.changes import Changes
from credstore.artifacts.layout import Kind
from credstore.artifacts.manager import StorageManager
from credstore.artifacts.pruning import PruneReport
from credstore.artifacts.retention import Keep
from credstore.artifacts.sources import Source
from credstore.artifacts.statements import ArtifactVersion

__all__ = [
    "ArchiveReport",
    "ArtifactVersion",
    "Changes",
    "Keep",
    "Kind",
    "PruneReport",
    "Source",
    "StorageManager",
]
