"""Replicas, of which the fastest one is read."""
