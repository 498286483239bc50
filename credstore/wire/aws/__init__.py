"""AWS signatures and credentials."""
