"""The `credstore` command line; public names only."""
