"""The priced strategy: each object at the member where it costs least."""
