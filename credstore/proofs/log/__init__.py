"""A transparency log on a bucket alone: C2SP tlog-tiles, checkpoints, witnesses.

`merkle` and `note` import nothing of credstore; `tiles`, `checkpoint`, `policy` and `entry` are pure, too.
"""
