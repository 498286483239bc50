"""Public URLs, and later the CDN signers."""
