"""A transparency log on a bucket alone: C2SP tlog-tiles, checkpoints, witnesses.

`LogSequencer` writes, `LogClient` reads and believes nothing that is not verified, `LogWitness` cosigns,
`monitor_log` and `check_log` watch. `merkle` and `note` import nothing of credstore; `tiles`, `checkpoint`,
`policy`, `entry`, `lock`, `staging`, `proof_file` and `add_checkpoint` are formats, and pure, too, as is
`log_check`, which verifies offline.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credstore.proofs.log.bundled import BundledLog, Statement
    from credstore.proofs.log.checkpoint import Checkpoint, NamedSigner, read_key, seed_signer
    from credstore.proofs.log.client import LogClient
    from credstore.proofs.log.entry import LogEntry, StatementAdmission, WholeAdmission, parse_entry
    from credstore.proofs.log.export import export_log, read_copy
    from credstore.proofs.log.fsck import LogReport, check_log
    from credstore.proofs.log.history import History, LoggedStatement, read_history
    from credstore.proofs.log.http import LogHttp
    from credstore.proofs.log.index_check import IndexReport, check_index
    from credstore.proofs.log.indexing import LogIndex
    from credstore.proofs.log.log_check import LogCheck
    from credstore.proofs.log.memory import LogMemory
    from credstore.proofs.log.monitor import MonitorReport, monitor_log
    from credstore.proofs.log.note_keys import generate_note_key, pem_signer
    from credstore.proofs.log.objects import LogObjects
    from credstore.proofs.log.policy import LogPolicy, WitnessedCheckpoint, parse_log_policy, sole_policy
    from credstore.proofs.log.proof_file import verify_log_proof
    from credstore.proofs.log.proof_log import ProofLog
    from credstore.proofs.log.sequencer import LogSequencer
    from credstore.proofs.log.serving import LogFiles
    from credstore.proofs.log.witness import LogWitness, WitnessAnswer
    from credstore.proofs.log.witnesses import WitnessClient, WitnessGroup

_HOMES = {
    "bundled": ("BundledLog", "Statement"),
    "checkpoint": ("Checkpoint", "NamedSigner", "read_key", "seed_signer"),
    "client": ("LogClient",),
    "entry": ("LogEntry", "StatementAdmission", "WholeAdmission", "parse_entry"),
    "export": ("export_log", "read_copy"),
    "fsck": ("LogReport", "check_log"),
    "history": ("History", "LoggedStatement", "read_history"),
    "http": ("LogHttp",),
    "index_check": ("IndexReport", "check_index"),
    "indexing": ("LogIndex",),
    "log_check": ("LogCheck",),
    "memory": ("LogMemory",),
    "monitor": ("MonitorReport", "monitor_log"),
    "note_keys": ("generate_note_key", "pem_signer"),
    "objects": ("LogObjects",),
    "policy": ("LogPolicy", "WitnessedCheckpoint", "parse_log_policy", "sole_policy"),
    "proof_file": ("verify_log_proof",),
    "proof_log": ("ProofLog",),
    "sequencer": ("LogSequencer",),
    "serving": ("LogFiles",),
    "witness": ("LogWitness", "WitnessAnswer"),
    "witnesses": ("WitnessClient", "WitnessGroup"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BundledLog",
    "Checkpoint",
    "History",
    "IndexReport",
    "LogCheck",
    "LogClient",
    "LogEntry",
    "LogFiles",
    "LogHttp",
    "LogIndex",
    "LogMemory",
    "LogObjects",
    "LogPolicy",
    "LogReport",
    "LogSequencer",
    "LogWitness",
    "LoggedStatement",
    "MonitorReport",
    "NamedSigner",
    "ProofLog",
    "Statement",
    "StatementAdmission",
    "WholeAdmission",
    "WitnessAnswer",
    "WitnessClient",
    "WitnessGroup",
    "WitnessedCheckpoint",
    "check_index",
    "check_log",
    "export_log",
    "generate_note_key",
    "monitor_log",
    "parse_entry",
    "parse_log_policy",
    "pem_signer",
    "read_copy",
    "read_history",
    "read_key",
    "seed_signer",
    "sole_policy",
    "verify_log_proof",
]


if not TYPE_CHECKING:  # So that a wrong name is an error for type checkers too.

    def __getattr__(name: str) -> object:
        home = _HOME_OF.get(name)
        if home is None:
            raise AttributeError(f"module 'credstore.proofs.log' has no attribute {name!r}")
        value: object = getattr(import_module(f"credstore.proofs.log.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
