"""Links: public URLs (`public`) and one signer per CDN (`signer` says what a signer is)."""
