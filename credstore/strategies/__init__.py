"""Drivers over drivers: whether, where and when, never which bytes."""
