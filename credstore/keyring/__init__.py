"""Wrapping keys and the ring that holds them: where the keys of encrypted objects come from."""
