"""What large objects need of memory, each in a process of its own."""
