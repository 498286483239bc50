"""The cached strategy: what was read is kept on a local disk, and served from there while it is current."""
