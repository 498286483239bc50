"""What `credstore demo` shows."""
