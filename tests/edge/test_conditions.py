"""Conditional and range requests, in tables and over the wire."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credstore.edge import conditions
from credstore.edge.conditions import Span, chosen_span, entity_tag, failed_condition, is_settled
from credstore.edge.headers import private_for
from tests.edge.support import CONTENT, Edge, exchange, get, target_of

TAG = '"abc"'
MODIFIED = datetime(2026, 1, 2, 3, 4, 5, 678, UTC)
SAME = "Fri, 02 Jan 2026 03:04:05 GMT"
BEFORE = "Fri, 02 Jan 2026 03:04:04 GMT"
LATER = "Fri, 02 Jan 2026 03:04:06 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"If-None-Match": TAG}, 304),
        ({"If-None-Match": f"W/{TAG}"}, 304),
        ({"If-None-Match": f'"x", W/"y" ,{TAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, None),
        ({"If-None-Match": "abc"}, None),
        ({"If-None-Match": f"{TAG}{TAG}"}, None),
        ({"If-None-Match": '"a,b", ' + TAG}, 304),
        ({"If-None-Match": ""}, None),
        ({"If-None-Match": f'"x",,{TAG}'}, 304),
        ({"If-None-Match": f' , W/"a,b", "{{}}", {TAG} ,'}, 304),
        ({"If-None-Match": f'"x", W/{TAG}'}, 304),
        ({"If-None-Match": '"x", *'}, 304),
        ({"If-None-Match": '*,"x"'}, 304),
        ({"If-None-Match": '"x" *'}, None),
        ({"If-None-Match": "**"}, None),
        ({"If-None-Match": f'"a,{TAG[1:-1]}", "b"'}, None),
        ({"If-Match": f'"x",,{TAG}'}, None),
        ({"If-Match": f'"x", W/{TAG}'}, 412),
        ({"If-Match": '"x", *'}, None),
        ({"If-Match": ","}, 412),
        ({"If-Modified-Since": f"{LATER},{LATER}"}, None),
        ({"If-Unmodified-Since": f"{BEFORE},{BEFORE}"}, None),
        ({"If-Modified-Since": SAME}, 304),
        ({"If-Modified-Since": LATER}, 304),
        ({"If-Modified-Since": BEFORE}, None),
        ({"If-Modified-Since": "yesterday"}, None),
        ({"If-Modified-Since": SAME, "If-None-Match": '"x"'}, None),
        ({"If-Match": TAG}, None),
        ({"If-Match": "*"}, None),
        ({"If-Match": f"W/{TAG}"}, 412),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": TAG, "If-None-Match": TAG}, 304),
        ({"If-Match": TAG, "If-Unmodified-Since": BEFORE}, None),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Unmodified-Since": SAME}, None),
        ({"If-Unmodified-Since": "never"}, None),
    ],
)
def test_the_conditions(headers, status) -> None:
    assert failed_condition(headers, TAG, MODIFIED) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Modified-Since": SAME}, None),
        ({"If-Modified-Since": LATER}, None),
        ({"If-Unmodified-Since": SAME}, 412),
        ({"If-Unmodified-Since": LATER}, 412),
        ({"If-Unmodified-Since": "never"}, None),
        ({"If-None-Match": TAG, "If-Modified-Since": SAME}, 304),
        ({"If-Match": TAG, "If-Unmodified-Since": SAME}, None),
    ],
)
def test_a_date_that_another_version_can_have_proves_nothing(headers, status) -> None:
    """RFC 9110 §8.8.2.2: a date is weak while its second is not over."""
    assert failed_condition(headers, TAG, MODIFIED, settled=False) == status


def test_a_version_is_told_by_its_date_when_no_later_one_can_have_it() -> None:
    begin = MODIFIED.replace(microsecond=0).timestamp()
    assert [is_settled(MODIFIED, begin + after) for after in (-10, 0, 1.999, 2, 100)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert is_settled(None, 0)


def test_conditions_of_what_has_neither_tag_nor_date() -> None:
    for headers in ({"If-None-Match": TAG}, {"If-Modified-Since": LATER}, {"If-Unmodified-Since": BEFORE}):
        assert failed_condition(headers, None, None) is None
    assert failed_condition({"If-Match": TAG}, None, None) == 412


REFUSED = Span(0, 0)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("bytes=0-9", Span(0, 10)),
        ("Bytes=0-9", Span(0, 10)),
        ("bytes=5-", Span(5, 100)),
        ("bytes=99-99", Span(99, 100)),
        ("bytes=0-999", Span(0, 100)),
        ("bytes=-10", Span(90, 100)),
        ("bytes=-999", Span(0, 100)),
        ("bytes=-0", REFUSED),
        ("bytes=100-", REFUSED),
        ("bytes=100-200", REFUSED),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-1, 3-4", None),
        ("bytes=0-1,bytes=3-4", None),
        ("lines=0-1", None),
        ("bytes=a-b", None),
        ("bytes=0x1-2", None),
        ("bytes=٣-٤", None),
        ("bytes 0-1", None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("", None),
    ],
)
def test_the_ranges(text, span) -> None:
    assert chosen_span({"Range": text}, TAG, 100) == span


def test_ranges_of_nothing() -> None:
    for text in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        assert chosen_span({"Range": text}, TAG, 0) == REFUSED
    assert chosen_span({}, TAG, 0) is None


@pytest.mark.parametrize(
    ("condition", "holds"), [(TAG, True), (f"W/{TAG}", False), ('"x"', False), (SAME, False), ("*", False)]
)
def test_a_range_only_of_the_version_meant(condition, holds) -> None:
    headers = {"Range": "bytes=0-9", "If-Range": condition}
    assert chosen_span(headers, TAG, 100) == (Span(0, 10) if holds else None)
    assert chosen_span(headers, None, 100) is None


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30), st.integers(0, 50))
def test_any_text_is_an_answer(one: str, other: str, date: str, size: int) -> None:
    headers = {
        "If-None-Match": one,
        "If-Match": other,
        "If-Modified-Since": date,
        "Range": f"bytes={one}-{other}",
    }
    assert failed_condition(headers, TAG, MODIFIED) in {None, 304, 412}
    assert failed_condition({"If-Modified-Since": date}, TAG, MODIFIED) in {None, 304}
    span = chosen_span(headers, TAG, size)
    assert span is None or 0 <= span.start <= span.end <= size


def test_tags_differ_by_version_and_coding() -> None:
    tags = {entity_tag(version, coding) for version in ("1", "2") for coding in ("gzip", "identity")}
    assert len(tags) == 4
    assert all(tag[0] == tag[-1] == '"' for tag in tags)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, "private, max-age=60"),
        ("public, max-age=31536000, immutable", "private, max-age=60"),
        ("max-age=5", "private, max-age=5"),
        ('public, max-age="5", s-maxage=9', "private, max-age=5"),
        ("no-cache", "private, max-age=60, no-cache"),
        ("no-transform, MUST-REVALIDATE", "private, max-age=60, must-revalidate, no-transform"),
        ("public, no-store", "no-store"),
        ("stale-while-revalidate=100", "private, max-age=60"),
    ],
)
def test_nothing_is_kept_longer_than_the_link_lives(asked, told) -> None:
    assert private_for(asked, 60) == told


def test_a_link_about_to_end() -> None:
    assert private_for(None, -1) == "private, max-age=0"


@pytest.mark.parametrize("compress", [False, "gzip", "zstd"])
def test_ranges_over_the_wire(edge: Edge, compress) -> None:
    async def scene(store, base) -> None:
        await store.store("k", CONTENT, compress=compress)
        link = await store.get_signed_url("k")
        whole = (await get(link)).headers
        size = len(CONTENT)
        for text, start, end in (
            ("bytes=0-9", 0, 10),
            ("bytes=100-", 100, size),
            ("bytes=-7", size - 7, size),
        ):
            answer = await get(link, Range=text)
            assert (answer.status, answer.body) == (206, CONTENT[start:end])
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
            assert answer.headers["content-length"] == str(end - start)
            assert answer.headers["etag"] == whole["etag"]
        answer = await get(link, Range=f"bytes={size}-")
        assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{size}")
        for text in ("bytes=0-1,5-6", "bytes=9-1", "items=0-1"):
            answer = await get(link, Range=text)
            assert (answer.status, answer.body, "content-range" in answer.headers) == (200, CONTENT, False)
        assert (await get(link, Range="bytes=0-9", If_Range=whole["etag"])).status == 206
        assert (await get(link, Range="bytes=0-9", If_Range='"other"')).status == 200
        coded = await get(link, Range="bytes=0-9", Accept_Encoding="gzip, zstd")
        assert coded.status == (206 if compress is False else 200)
        assert coded.headers.get("content-encoding") == (compress or None)
        head = await get(await store.get_signed_url("k", method="HEAD"), "HEAD", Range="bytes=0-9")
        assert (head.status, head.headers["content-length"]) == (200, str(size))

    edge.play(scene)


def test_a_range_of_many_chunks(edge: Edge) -> None:
    import os

    content = os.urandom(3_000_000)

    async def scene(store, base) -> None:
        for compress in (False, "zstd"):
            await store.store("k", content, compress=compress)
            answer = await get(await store.get_signed_url("k"), Range="bytes=700000-2500000")
            assert (answer.status, answer.body) == (206, content[700_000:2_500_001])

    edge.play(scene)


def test_conditions_over_the_wire(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "SETTLING", -3600)  # As if the object had been there for long.

    async def scene(store, base) -> None:
        await store.store("k", CONTENT)
        link = await store.get_signed_url("k")
        first = (await get(link)).headers
        answer = await get(link, If_None_Match=first["etag"])
        assert (answer.status, answer.body) == (304, b"")
        for name in ("etag", "cache-control", "vary", "last-modified"):
            assert name in answer.headers
        assert "content-type" not in answer.headers
        assert "content-length" not in answer.headers
        assert answer.headers["content-security-policy"]
        assert (await get(link, If_Modified_Since=first["last-modified"])).status == 304
        assert (await get(link, If_Match='"other"')).status == 412
        head = await store.get_signed_url("k", method="HEAD")
        assert (await get(head, "HEAD", If_None_Match=first["etag"])).status == 304
        # A condition is no way around the check of the link.
        assert (await get(str(link) + "x", If_None_Match="*")).status == 403

    edge.play(scene)


def test_lines_of_one_header_are_one_list(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 §5.3; and two lines of what is no list are as invalid as two values in one."""
    monkeypatch.setattr(conditions, "SETTLING", -3600)  # As if the object had been there for long.

    async def scene(store, base) -> None:
        await store.store("k", CONTENT, compress="gzip")
        link = await store.get_signed_url("k")
        first = (await get(link)).headers
        tag, date = first["etag"], first["last-modified"]

        async def told(*lines: str, method: str = "GET") -> int:
            target = target_of(str(await store.get_signed_url("k", method=method)))
            head = "".join(f"{line}\r\n" for line in lines)
            sent = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n"
            return int((await asyncio.to_thread(exchange, base, sent.encode()))[9:12])

        for method in ("GET", "HEAD"):
            for lines, status in (
                (('If-None-Match: "x"', f"If-None-Match: {tag}"), 304),
                (('If-None-Match: W/"x,y"', f"if-none-match: W/{tag}"), 304),
                (('If-None-Match: "x"', "If-None-Match:", f'If-None-Match: "z", {tag}'), 304),
                (('If-None-Match: "x"', "If-None-Match: *"), 304),
                (('If-None-Match: "x"', 'If-None-Match: "y"'), 200),
                (('If-Match: "x"', f"If-Match: {tag}"), 200),
                (('If-Match: "x"', f"If-Match: W/{tag}"), 412),
                (('If-Match: "x"', "If-Match: *"), 200),
                (('If-Match: "x"', 'If-Match: "y"'), 412),
                ((f"If-Modified-Since: {date}", f"If-Modified-Since: {date}"), 200),
                (
                    (
                        "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT",
                        f"If-Unmodified-Since: {date}",
                    ),
                    200,
                ),
                (("Accept-Encoding: br", "Accept-Encoding: identity;q=0"), 406),
            ):
                assert await told(*lines, method=method) == status, (method, lines)
        assert await told("Range: bytes=0-0", f"If-Range: {tag}") == 206
        assert await told("Range: bytes=0-0", "Range: bytes=1-1") == 200
        assert await told("Range: bytes=0-0", f"If-Range: {tag}", f"If-Range: {tag}") == 200

    edge.play(scene)


def test_a_replaced_object_of_the_same_size_and_time_is_sent_anew(edge: Edge, monkeypatch) -> None:
    """On a clock that stands still, nothing but the write tells the versions apart."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    monkeypatch.setattr(conditions, "SETTLING", 3600)  # However slow this machine is.

    async def scene(store, base) -> None:
        for _ in range(10):
            await store.store("k", b"100", compress=False)
            link = await store.get_signed_url("k")
            tag = (await get(link)).headers["etag"]
            assert (await get(link, If_None_Match=tag)).status == 304
            for data in (b"200", b"300"):
                await store.store("k", data, compress=False)
                answer = await get(link, If_None_Match=tag)
                assert (answer.status, answer.body) == (200, data)
                assert (await get(link, If_Match=tag)).status == 412
                part = await get(link, Range="bytes=0-1", If_Range=tag)
                assert (part.status, part.body) == (200, data)

    edge.play(scene)


def test_an_object_tells_no_date_that_its_successor_can_have(memory_edge: Edge, monkeypatch) -> None:
    monkeypatch.setattr(conditions, "SETTLING", 3600)

    async def scene(store, base) -> None:
        await store.store("k", b"100", compress=False)
        link = await store.get_signed_url("k")
        first = await get(link)
        assert "last-modified" not in first.headers
        await store.store("k", b"200", compress=False)
        assert (await get(link, If_Modified_Since=first.headers["date"])).body == b"200"
        assert (await get(link, If_Unmodified_Since=first.headers["date"])).status == 412

    memory_edge.play(scene)


def test_a_file_of_another_tool_has_a_tag_only_when_its_times_tell_versions_apart(
    local_edge: Edge, monkeypatch
) -> None:
    async def scene(store, base) -> None:
        assert local_edge.root is not None
        (local_edge.root / "k").write_bytes(b"theirs")
        link = await store.get_signed_url("k")
        monkeypatch.setattr(conditions, "SETTLING", 3600)
        young = await get(link)
        assert (young.status, "etag" in young.headers, "last-modified" in young.headers) == (
            200,
            False,
            False,
        )
        part = await get(link, Range="bytes=0-1", If_Range='"x"')
        assert (part.status, part.body) == (200, b"theirs")
        monkeypatch.setattr(conditions, "SETTLING", -3600)
        old = await get(link)
        assert (await get(link, If_None_Match=old.headers["etag"])).status == 304

    local_edge.play(scene)
