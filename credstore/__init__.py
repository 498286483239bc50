"""credstore: signed content-provenance proofs on any object store, and temporary links to them."""
