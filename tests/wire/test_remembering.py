"""What responses have in common is remembered, what a server makes up is not."""

import gc
import tracemalloc

from credstore.drivers.s3.responses import parse_info
from credstore.times import parse_time
from credstore.wire.connection import _read

KIB = 1024


def kept_of(work):
    """Bytes that are still held after some work."""
    work(0)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, 41):
            work(number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def many_names(number):
    names = [b"x-amz-meta-%d-%d" % (number, each) for each in range(2500)]
    parse_info("k", _read(names, [b"v"] * len(names)), size=1, served_by="s3")


def long_names(number):
    names = [b"x-%d-%d-" % (number, each) + b"n" * KIB for each in range(60)]
    parse_info("k", _read(names, [b"v"] * len(names)), size=1, served_by="s3")


def test_names_that_no_server_needs_are_not_remembered():
    assert kept_of(many_names) < 100 * KIB
    assert kept_of(long_names) < 64 * 3 * 64 * KIB


def test_what_stands_in_place_of_a_date_is_not_remembered():
    assert kept_of(lambda number: parse_time(f"{number}{'x' * KIB * KIB}T")) < 100 * KIB


def test_many_headers_are_read_like_few():
    names = [b"x-amz-meta-%d" % each for each in range(200)]
    values = [b"%d" % each for each in range(200)]
    info = parse_info("k", _read([*names, b"ETag"], [*values, b'"e"']), size=1, served_by="s3")
    assert info.metadata == {str(each): str(each) for each in range(200)}
    assert info.etag == "e"
