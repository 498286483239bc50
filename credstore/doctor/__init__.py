"""What is wrong with a store, step by step, and what to do about it; `credstore doctor` shows it."""

from __future__ import annotations

from credstore.doctor.examination import Examination
from credstore.doctor.findings import Finding, State
from credstore.doctor.settings import Source, encryption_of, settings_of

__all__ = ["Examination", "Finding", "Source", "State", "encryption_of", "settings_of"]
