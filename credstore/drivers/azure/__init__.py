"""Azure Blob Storage over credstore's own exchange."""
