"""What `credstore log` can do."""
