"""Users code, read by type checkers and never run."""
