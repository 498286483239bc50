"""Versions of datasets, models and checkpoints, backups, archives of logs; needs the extra `artifacts`."""

from credstore.artifacts.archiving import ArchiveReport
from credstore.artifacts.changes import Changes
from credstore.artifacts.checkpoints import TrainingCheckpoint
from credstore.artifacts.classes import ClassOptions, Explanation, FileClass
from credstore.artifacts.layout import Kind
from credstore.artifacts.manager import StorageManager
from credstore.artifacts.models import Model, Trained
from credstore.artifacts.pruning import PruneReport
from credstore.artifacts.retention import Keep
from credstore.artifacts.signing import ModelKey, ModelSigner, SignedModel, sign_model, verify_model
from credstore.artifacts.sources import Source
from credstore.artifacts.statements import ArtifactVersion, StageChange
from credstore.artifacts.syncing import SyncReport

__all__ = [
    "ArchiveReport",
    "ArtifactVersion",
    "Changes",
    "ClassOptions",
    "Explanation",
    "FileClass",
    "Keep",
    "Kind",
    "Model",
    "ModelKey",
    "ModelSigner",
    "PruneReport",
    "SignedModel",
    "Source",
    "StageChange",
    "StorageManager",
    "SyncReport",
    "Trained",
    "TrainingCheckpoint",
    "sign_model",
    "verify_model",
]
