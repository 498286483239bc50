"""The contract of a driver as checks, for drivers here and in other packages."""
