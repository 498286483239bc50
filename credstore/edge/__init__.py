"""A small edge that serves the temporary links of local and memory stores: `serve_links`."""
