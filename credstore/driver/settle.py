"""Pure: what a HEAD says about a write whose response was lost, negative or unclear (P0, P6).

A write carries a random write-id in the object's metadata. After an unclear attempt one HEAD shows
which write the key holds now; this table turns that into an outcome.
"""

from __future__ import annotations

from typing import Literal

from credstore.errors import Applied

Mode = Literal["overwrite", "create", "replace"]
"""How a put treats what is there: replace anything, only nothing, only one named version."""


def settle(mode: Mode, write_id: str, seen: str | None, *, exists: bool) -> Applied:
    """Decide whether the write `write_id` happened, from one look at the key afterwards.

    Args:
        mode: How the write treats an existing object.
        write_id: The id the write carries.
        seen: The write-id found on the object now; None if there is no object or it has no id.
        exists: Whether an object was there.

    Returns:
        "yes": the object is ours. "no": the key was to be created and holds another's object; a key
        that is only ever created, never deleted or replaced, cannot have been ours before. "maybe":
        ours may have been replaced since, or may land later.
    """
    if exists and seen == write_id:
        return "yes"
    if mode == "create" and exists:
        return "no"
    return "maybe"
