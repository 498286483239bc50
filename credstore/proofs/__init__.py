"""Proofs: signed records about assets, verified on every read.

`record`, `envelope`, `keys`, `verify`, `status`, `bundle` and `timestamp` are pure: no store, no network, and
clock and randomness are arguments. Formats: in-toto Statement v1 in DSSE 1.0.2, canonical by RFC 8785.
`store` keeps proofs on a provider, by `index` (keys, pure), `objects` (single objects), `reading`, `issuing`,
`erasing`, `sweeping`, `leftovers` and `checking`; `legacy` reads what the original service wrote.
"""
