"""Two stores as one: the second serves what the first cannot."""
