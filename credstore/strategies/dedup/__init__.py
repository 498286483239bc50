"""The dedup strategy: equal bodies are stored once, under their digest, and objects refer to them."""
