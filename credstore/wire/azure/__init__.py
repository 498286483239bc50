"""Azure Storage's ways of authenticating: Shared Key, shared access signatures, tokens of Entra ID."""
