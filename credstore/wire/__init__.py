"""One wire request to any cloud: HTTP, signing, retries."""
