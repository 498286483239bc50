"""Settings: dataclasses per cloud, and how they are read from environment, URL and mapping."""
