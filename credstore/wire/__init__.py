"""One wire request, whatever the cloud: HTTP, signing, retries."""
