"""Conformance checks and helpers for drivers, for third parties too."""
