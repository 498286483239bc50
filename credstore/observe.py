"""Events, and the one home of redaction. Silent by default, as a library should be."""
