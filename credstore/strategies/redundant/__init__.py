"""N replicas with quorums: an acknowledged write outlives members, and a delete stays one."""
