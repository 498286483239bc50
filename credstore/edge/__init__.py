"""A small edge that answers the temporary links of local and memory stores: `serve_links`."""
