"""Backends: each speaks to one kind of store; drivers are strangers to each other."""
