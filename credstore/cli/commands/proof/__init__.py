"""What `credstore proof` can do."""
