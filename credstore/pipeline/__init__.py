"""Bytes to stored bytes and back: pure, incremental, bounded."""
