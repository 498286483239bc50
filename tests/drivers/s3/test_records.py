"""Documents are read as another library reads them, and hostile ones are refused before they cost anything."""

import tracemalloc
from xml.sax.saxutils import escape

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore.driver.values import ObjectInfo
from credstore.drivers.s3 import records
from credstore.drivers.s3.records import MAX_DEPTH, MAX_RECORDS, MAX_XML, Shape, read, repeated
from credstore.drivers.s3.requests import delete_objects, escaped
from credstore.drivers.s3.xml import parse_completed, parse_deleted, parse_list, parse_tags
from credstore.errors import StorageIntegrityError

SHAPE = Shape(
    fields=frozenset({"A", "B"}),
    records=frozenset({"R", "S"}),
    parts=frozenset({"A", "B", "C"}),
)
TEXTS = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=8
)
LEAVES = st.tuples(st.sampled_from("ABCD"), TEXTS)
CHILDREN = st.lists(LEAVES | st.tuples(st.sampled_from("RST"), st.lists(LEAVES, max_size=5)), max_size=8)


def written(children, prefix="", comments="") -> str:
    return "".join(
        f"<{prefix}{name}>{comments}"
        f"{escape(inner) if isinstance(inner, str) else written(inner, prefix, comments)}</{prefix}{name}>"
        for name, inner in children
    )


def as_the_oracle_reads(body: bytes) -> tuple[dict, list]:
    """The same fields and records, from the tree that defusedxml makes."""

    def local(element):
        return element.tag.rpartition("}")[2]

    root = fromstring(body)
    fields, found = {}, []
    for child in root:
        if local(child) in SHAPE.fields:
            fields.setdefault(local(child), child.text or "")
        if local(child) in SHAPE.records:
            row = {}
            found.append((local(child), row))
            for part in child:
                if local(part) not in SHAPE.parts:
                    continue
                if local(part) in row:
                    found.append((repeated(local(child)), {local(part): part.text or ""}))
                row.setdefault(local(part), part.text or "")
    return fields, found


@settings(max_examples=200, deadline=None)
@given(
    CHILDREN,
    st.sampled_from(["", "s3:"]),
    st.sampled_from(["", "<!-- x -->", "<?x y?>"]),
    st.sampled_from(["utf-8", "utf-16"]),
)
def test_what_is_kept_is_what_another_library_finds(children, prefix, comments, encoding):
    space = f'xmlns{":" + prefix[:-1] if prefix else ""}="urn:x"'
    inner = written(children, prefix, comments)
    body = f"<?xml version='1.0' encoding='{encoding}'?><{prefix}Any {space}>{inner}</{prefix}Any>".encode(
        encoding
    )
    document = read(body, SHAPE)
    assert (document.fields, document.records) == as_the_oracle_reads(body)
    assert document.name == "any"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), min_size=1, max_size=6))
def test_escaped_texts_are_read_back(texts):
    inner = "".join(f"<Deleted><Key>k{text}</Key></Deleted>" for text in escaped(texts))
    found = parse_deleted(f"<DeleteResult>{inner}</DeleteResult>".encode())
    assert list(found.deleted) == list(dict.fromkeys(f"k{text}" for text in texts))


def test_no_key_becomes_two_or_another_one():
    body = delete_objects(["a\0b", "<c>"]).body
    assert b"<Key>a\0b</Key>" in body  # Which every server refuses, with all of the request.
    assert b"<Key>&lt;c&gt;</Key>" in body
    assert body.count(b"<Object>") == 2


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "laughs": f'<!DOCTYPE A [<!ENTITY l0 "lol">{LAUGHS}]><A><B>&l9;</B></A>',
    "quadratic": f'<!DOCTYPE A [<!ENTITY l "{"x" * 50_000}">]><A><B>{"&l;" * 50_000}</B></A>',
    "file": '<!DOCTYPE A [<!ENTITY x SYSTEM "file:///etc/passwd">]><A><B>&x;</B></A>',
    "parameter": '<!DOCTYPE A [<!ENTITY % x SYSTEM "http://127.0.0.1:1/x"> %x;]><A/>',
    "external": '<!DOCTYPE A SYSTEM "http://127.0.0.1:1/x.dtd"><A/>',
    "default": '<!DOCTYPE A [<!ATTLIST A b CDATA "c">]><A/>',
    "plain": "<!DOCTYPE html><A/>",
    "undeclared": "<A><B>&x;</B></A>",
    "deep": "<A>" * 100_000,
    "deep-enough": "<A>" * (MAX_DEPTH + 1) + "</A>" * (MAX_DEPTH + 1),
    "many": f"<A>{'<R/>' * (MAX_RECORDS + 1)}</A>",
    "many-again": f"<A><R>{'<A/>' * (MAX_RECORDS + 2)}</R></A>",
    "none": "",
    "two": "<A/><A/>",
    "open": "<A><B>",
    "encoding": "<?xml version='1.0' encoding='nonesuch'?><A/>",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_and_costs_little(name, encoding):
    body = HOSTILE[name].encode(encoding)
    tracemalloc.start()
    try:
        with pytest.raises(StorageIntegrityError) as caught:
            read(body, SHAPE)
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert caught.value.code == "NOT_S3"
    assert caught.value.__cause__ is None


def test_a_dtd_is_refused_before_anything_in_it_is_read(monkeypatch):
    """Break the guard, and only the bound of the parser itself is left."""
    with pytest.raises(StorageIntegrityError):
        read(HOSTILE["default"].encode(), SHAPE)
    monkeypatch.setattr(records, "_refuse", lambda *_: None)
    assert read(HOSTILE["default"].encode(), SHAPE).name == "a"


def test_l18_a_document_is_bounded():
    with pytest.raises(StorageIntegrityError, match="larger"):
        read(b" " * (MAX_XML + 1), SHAPE)
    assert read(b"<A>" * MAX_DEPTH + b"</A>" * MAX_DEPTH, SHAPE).name == "a"
    assert len(read(b"<A>" + b"<R/>" * MAX_RECORDS + b"</A>", SHAPE).records) == MAX_RECORDS
    assert parse_completed(b"\n  <CompleteMultipartUploadResult/>") == (None, None)


def test_a_long_text_in_pieces_is_one_text():
    long = "k" * 300_000 + "&amp;" + "é" * 100_000
    found = read(f"<X><A>{long}</A></X>".encode(), SHAPE)
    assert found.fields["A"] == long.replace("&amp;", "&")


def test_tags_are_a_level_further_down():
    body = (
        b"<Tagging><Tag><Key>not</Key></Tag><TagSet><Tag><Key>a</Key><Value>b</Value></Tag>"
        b"<Tag><Key>c</Key><Value/></Tag></TagSet></Tagging>"
    )
    assert parse_tags(body) == {"a": "b", "c": ""}


def test_an_object_of_a_listing_is_what_the_constructor_makes():
    page = parse_list(
        b"<X><IsTruncated>false</IsTruncated><Contents><Key>k</Key><Size>5</Size><ETag>&quot;e&quot;</ETag>"
        b"<LastModified>2026-01-02T03:04:05.678Z</LastModified><Owner><ID>x</ID></Owner></Contents></X>",
        label="s3",
    )
    (found,) = page.entries
    made = ObjectInfo(
        key="k", size=5, etag="e", last_modified=found.last_modified, storage_class=None, served_by="s3"
    )
    assert (found, repr(found), hash(found.key)) == (made, repr(made), hash(made.key))
    assert found.last_modified is not None
    assert found.last_modified.isoformat() == "2026-01-02T03:04:05.678000+00:00"


@pytest.mark.parametrize(
    "body",
    [
        b"<T><A>\x01" + b"x\x01" * 200_000 + b"</A></T>",
        b"<T><A><![CDATA[&#x1;]]>\x01</A></T>",
        b"<T><A>&#x1;</B></T>",
        b"<T\x01><A>1</A></T\x01>",
        b"<T><A>&#x110000;</A></T>",
        b"<T>" + "".join(map(chr, range(0xE000, 0xF900))).encode() + b"\x01</T>",
    ],
    ids=["many", "literal", "broken", "name", "beyond", "no mark"],
)
def test_a_second_pass_is_bounded_and_mends_nothing_else(body):
    with pytest.raises(StorageIntegrityError):
        read(body, SHAPE)
