"""Proofs kept on a storage provider."""
