"""What S3's answers mean: the table of codes, row by row, and documents as they come."""

from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from urllib.parse import quote

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given, settings
from hypothesis import strategies as st

from credstore import errors
from credstore.drivers.s3.requests import delete_objects
from credstore.drivers.s3.responses import WrongRegionError, classify, parse_content_range, parse_info
from credstore.drivers.s3.uploads import complete_upload
from credstore.drivers.s3.xml import (
    DeleteReply,
    ListReply,
    PartsReply,
    UploadsReply,
    parse_completed,
    parse_copied,
    parse_deleted,
    parse_deleted_versions,
    parse_list,
    parse_parts,
    parse_size,
    parse_tags,
    parse_upload_id,
    parse_uploads,
    parse_versioning,
)
from credstore.times import parse_time
from tests.drivers.s3.support import xml_error

NEVER, LATER = False, True


def answer(status: int, body: bytes = b"", headers=None, region: str = "us-east-1"):
    return classify(status, headers or {}, body, region=region)


@pytest.mark.parametrize(
    ("code", "status", "kind", "word", "retryable"),
    [
        ("NoSuchKey", 404, errors.StorageObjectNotFoundError, "NOT_FOUND", NEVER),
        ("NoSuchBucket", 404, errors.StorageBucketNotFoundError, "BUCKET_NOT_FOUND", NEVER),
        ("NoSuchUpload", 404, errors.StorageNotFoundError, "UPLOAD_NOT_FOUND", NEVER),
        ("NoSuchVersion", 404, errors.StorageNotFoundError, "VERSION_NOT_FOUND", NEVER),
        ("AccessDenied", 403, errors.StorageAccessDeniedError, "ACCESS_DENIED", NEVER),
        ("AllAccessDisabled", 403, errors.StorageAccessDeniedError, "ACCESS_DENIED", NEVER),
        ("AccountProblem", 403, errors.StorageAccessDeniedError, "ACCESS_DENIED", NEVER),
        ("NotEntitled", 403, errors.StorageAccessDeniedError, "ACCESS_DENIED", NEVER),
        ("AccessControlListNotSupported", 400, errors.StorageUnsupportedError, "UNSUPPORTED", NEVER),
        ("InvalidAccessKeyId", 403, errors.StorageAuthenticationError, "AUTHENTICATION_FAILED", NEVER),
        ("SignatureDoesNotMatch", 403, errors.StorageAuthenticationError, "AUTHENTICATION_FAILED", NEVER),
        ("Unauthorized", 401, errors.StorageAuthenticationError, "AUTHENTICATION_FAILED", NEVER),
        ("InvalidToken", 400, errors.StorageAuthenticationError, "AUTHENTICATION_FAILED", NEVER),
        ("ExpiredToken", 400, errors.StorageAuthenticationError, "CREDENTIALS_EXPIRED", NEVER),
        ("ExpiredTokenException", 403, errors.StorageAuthenticationError, "CREDENTIALS_EXPIRED", NEVER),
        ("InvalidTokenId", 403, errors.StorageAuthenticationError, "CREDENTIALS_EXPIRED", NEVER),
        ("SlowDownWrite", 503, errors.StorageRateLimitedError, "RATE_LIMITED", LATER),
        ("KMS.DisabledException", 400, errors.StorageInvalidRequestError, "INVALID_REQUEST", NEVER),
        ("TokenRefreshRequired", 400, errors.StorageAuthenticationError, "CREDENTIALS_EXPIRED", NEVER),
        ("ExpiredRequest", 400, errors.StorageAuthenticationError, "CREDENTIALS_EXPIRED", NEVER),
        ("RequestTimeTooSkewed", 403, errors.StorageAuthenticationError, "CLOCK_SKEW", NEVER),
        ("RequestExpired", 400, errors.StorageAuthenticationError, "CLOCK_SKEW", NEVER),
        ("SlowDown", 503, errors.StorageRateLimitedError, "RATE_LIMITED", LATER),
        ("TooManyRequests", 429, errors.StorageRateLimitedError, "RATE_LIMITED", LATER),
        ("BandwidthLimitExceeded", 509, errors.StorageRateLimitedError, "RATE_LIMITED", LATER),
        ("RequestRateLimitExceeded", 400, errors.StorageRateLimitedError, "RATE_LIMITED", LATER),
        ("ServiceUnavailable", 503, errors.StorageUnavailableError, "UNAVAILABLE", LATER),
        ("TemporarilyUnavailable", 503, errors.StorageUnavailableError, "UNAVAILABLE", LATER),
        ("InternalError", 500, errors.StorageUnavailableError, "UNAVAILABLE", LATER),
        ("InternalError", 200, errors.StorageUnavailableError, "UNAVAILABLE", LATER),
        ("WhoKnows", 200, errors.StorageUnavailableError, "UNAVAILABLE", LATER),
        ("RequestTimeout", 400, errors.StorageTimeoutError, "TIMEOUT", LATER),
        ("ClientDisconnect", 400, errors.StorageTimeoutError, "TIMEOUT", LATER),
        ("IncompleteBody", 400, errors.StorageTimeoutError, "TIMEOUT", LATER),
        ("PreconditionFailed", 412, errors.StoragePreconditionFailedError, "PRECONDITION_FAILED", NEVER),
        ("ConditionalRequestConflict", 409, errors.StorageConflictError, "CONCURRENT_WRITE", LATER),
        ("OperationAborted", 409, errors.StorageConflictError, "CONCURRENT_WRITE", LATER),
        ("BucketAlreadyExists", 409, errors.StorageAlreadyExistsError, "ALREADY_EXISTS", NEVER),
        ("BucketNotEmpty", 409, errors.StorageConflictError, "BUCKET_NOT_EMPTY", NEVER),
        ("InvalidObjectState", 403, errors.StorageUnavailableError, "ARCHIVED", NEVER),
        ("ObjectNotInActiveTierError", 403, errors.StorageUnavailableError, "ARCHIVED", NEVER),
        ("ObjectLockedByBucketPolicy", 403, errors.StorageRetainedError, "LOCKED", NEVER),
        ("EntityTooLarge", 400, errors.StorageInvalidRequestError, "TOO_LARGE", NEVER),
        ("EntityTooSmall", 400, errors.StorageInvalidRequestError, "TOO_SMALL", NEVER),
        ("MetadataTooLarge", 400, errors.StorageInvalidRequestError, "METADATA_TOO_LARGE", NEVER),
        ("KeyTooLongError", 400, errors.StorageInvalidKeyError, "INVALID_KEY", NEVER),
        ("InvalidObjectName", 400, errors.StorageInvalidKeyError, "INVALID_KEY", NEVER),
        ("InvalidBucketName", 400, errors.StorageConfigurationError, "CONFIGURATION", NEVER),
        ("InvalidRange", 416, errors.StorageInvalidRequestError, "INVALID_RANGE", NEVER),
        ("BadDigest", 400, errors.StorageIntegrityError, "CHECKSUM_MISMATCH", NEVER),
        ("XAmzContentSHA256Mismatch", 400, errors.StorageIntegrityError, "CHECKSUM_MISMATCH", NEVER),
        ("InvalidPart", 400, errors.StorageInvalidRequestError, "INVALID_PART", NEVER),
        ("QuotaExceeded", 507, errors.StorageQuotaExceededError, "QUOTA_EXCEEDED", NEVER),
        ("XMinioStorageFull", 507, errors.StorageQuotaExceededError, "QUOTA_EXCEEDED", NEVER),
        ("storage_cap_exceeded", 403, errors.StorageQuotaExceededError, "QUOTA_EXCEEDED", NEVER),
        ("PermanentRedirect", 301, WrongRegionError, "WRONG_REGION", NEVER),
        ("AuthorizationHeaderMalformed", 400, WrongRegionError, "WRONG_REGION", NEVER),
        ("MethodNotAllowed", 405, errors.StorageUnsupportedError, "UNSUPPORTED", NEVER),
        ("NotImplemented", 501, errors.StorageUnsupportedError, "UNSUPPORTED", NEVER),
        ("MissingContentMD5", 400, errors.StorageInvalidRequestError, "CHECKSUM_REQUIRED", NEVER),
        ("MalformedXML", 400, errors.StorageInvalidRequestError, "INVALID_REQUEST", NEVER),
        ("WhoKnows", 400, errors.StorageInvalidRequestError, "INVALID_REQUEST", NEVER),
        ("WhoKnows", 418, errors.StorageInvalidRequestError, "INVALID_REQUEST", NEVER),
        ("WhoKnows", 599, errors.StorageUnavailableError, "UNAVAILABLE", LATER),
    ],
)
def test_each_code_of_the_provider_notes(code, status, kind, word, retryable):
    error = answer(status, xml_error(code, Message="text of the answer", RequestId="ID1"))
    assert type(error) is kind
    assert (error.code, error.provider_code, error.status_code) == (word, code, status)
    assert (error.retryable, error.request_id) == (retryable, "ID1")
    assert "text of the answer" not in str(error)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, errors.StorageInvalidRequestError, NEVER),
        (401, errors.StorageAuthenticationError, NEVER),
        (403, errors.StorageAccessDeniedError, NEVER),
        (404, errors.StorageObjectNotFoundError, NEVER),
        (408, errors.StorageTimeoutError, LATER),
        (402, errors.StorageQuotaExceededError, NEVER),
        (412, errors.StoragePreconditionFailedError, NEVER),
        (414, errors.StorageInvalidKeyError, NEVER),
        (416, errors.StorageInvalidRequestError, NEVER),
        (421, errors.StorageConfigurationError, NEVER),
        (423, errors.StorageRetainedError, NEVER),
        (425, errors.StorageUnavailableError, LATER),
        (451, errors.StorageAccessDeniedError, NEVER),
        (511, errors.StorageConfigurationError, NEVER),
        (429, errors.StorageRateLimitedError, LATER),
        (500, errors.StorageUnavailableError, LATER),
        (502, errors.StorageUnavailableError, LATER),
        (503, errors.StorageUnavailableError, LATER),
        (504, errors.StorageUnavailableError, LATER),
        (507, errors.StorageQuotaExceededError, NEVER),
        (304, errors.StorageError, NEVER),
    ],
)
def test_answers_without_a_body_are_read_by_their_status(status, kind, retryable):
    error = answer(status, headers={"x-amz-request-id": "ID1"})
    assert (type(error), error.retryable, error.provider_code) == (kind, retryable, None)


@pytest.mark.parametrize("status", [402, 410, 417, 418, 421, 423, 425, 428, 451])
def test_only_a_request_that_is_malformed_is_called_so(status):
    assert "malformed" not in str(answer(status, headers={"x-amz-request-id": "ID1"}))


def test_a_key_service_that_refuses_is_named():
    assert "KMS key" in str(answer(400, xml_error("KMS.NotFoundException")))


@pytest.mark.parametrize(
    ("message", "kind", "word"),
    [
        ("storage cap exceeded", errors.StorageQuotaExceededError, "QUOTA_EXCEEDED"),
        ("Request has expired", errors.StorageAuthenticationError, "CREDENTIALS_EXPIRED"),
        ("Access Denied because object protected by object lock.", errors.StorageRetainedError, "LOCKED"),
        ("Access Denied", errors.StorageAccessDeniedError, "ACCESS_DENIED"),
    ],
)
def test_one_code_that_stands_for_several_things(message, kind, word):
    error = answer(403, xml_error("AccessDenied", Message=message))
    assert (type(error), error.code) == (kind, word)


def test_success_is_none_even_where_a_key_looks_like_an_error():
    assert answer(200) is None
    assert answer(204) is None
    for body in (
        b"<ListBucketResult><Contents><Key>&lt;Error&gt;</Key></Contents></ListBucketResult>",
        b"<DeleteResult><Error><Key>k</Key><Code>InternalError</Code></Error></DeleteResult>",
        b"<CopyObjectResult/>",
    ):
        assert answer(200, body) is None


def test_a_page_of_a_gateway_is_no_s3():
    page = b"<html><h1>502</h1></html>"
    assert answer(502, page).code == "UNAVAILABLE"
    assert answer(429, page).code == "RATE_LIMITED"
    assert answer(404, page).code == "NOT_S3"
    assert answer(200, b"Welcome", {"content-type": "text/html; charset=utf-8"}).code == "NOT_S3"
    assert answer(301, page).code == "NOT_S3"


def test_an_error_of_s3_is_read_though_it_is_declared_a_web_page():
    body = b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>"
    assert answer(404, body, {"content-type": "text/html"}).provider_code == "NoSuchKey"


def test_a_hint_about_access_is_given_only_where_access_was_denied():
    assert "ask them" in str(classify(403, {}, b"", region="us-east-1", hint="ask them"))
    assert "ask them" not in str(classify(404, {}, b"", region="us-east-1", hint="ask them"))


def test_a_region_is_taken_from_where_s3_puts_it():
    hinted = {"x-amz-bucket-region": "eu-west-1"}
    assert answer(301, headers=hinted).region == "eu-west-1"
    assert answer(400, headers=hinted).code == "WRONG_REGION"
    assert answer(400, headers=hinted, region="eu-west-1").code == "INVALID_REQUEST"
    assert answer(403, headers=hinted).code == "ACCESS_DENIED"
    assert answer(400, xml_error("AuthorizationHeaderMalformed", Region="eu-west-1")).region == "eu-west-1"
    assert answer(301, headers={"x-amz-bucket-region": "evil.example/"}).region is None
    assert answer(301).region is None


def test_what_an_answer_says_of_itself_cannot_hide_anything():
    body = xml_error("Ac\ncess<b/>", RequestId="a b")
    error = answer(403, body, {"x-amz-request-id": "x" * 1000})
    assert (error.provider_code, error.request_id) == (None, None)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200) | st.text(max_size=200).map(str.encode),
    st.sampled_from([200, 301, 400, 404, 500]),
)
def test_no_body_breaks_classification(body, status):
    error = answer(status, body)
    assert error is None or isinstance(error, errors.StorageError)


def test_a_page_of_a_listing():
    keys = ["a b+c%20", "ü/🦀", "<&>"]
    rows = "".join(
        f"<Contents><Key>{quote(key)}</Key><LastModified>2026-11-20T12:00:00.000Z</LastModified>"
        "<ETag>&quot;abc&quot;</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
    )
    page = parse_list(
        f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
        f"<NextContinuationToken>t+1=</NextContinuationToken>{rows}</ListBucketResult>".encode()
    )
    assert [entry.key for entry in page.entries] == keys
    assert page.cursor == "t+1="
    assert page.entries[0].last_modified == datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert (page.entries[0].etag, page.entries[0].size, page.entries[0].storage_class) == (
        "abc",
        5,
        "STANDARD",
    )


WHOLE = "<IsTruncated>false</IsTruncated>"


def test_keys_are_decoded_only_where_the_reply_says_so_and_plus_is_a_blank():
    row = "<Contents><Key>{}</Key><Size>1</Size></Contents>"
    plain = parse_list(f"<ListBucketResult>{WHOLE}{row.format('a%20b+c')}</ListBucketResult>".encode())
    assert plain.entries[0].key == "a%20b+c"
    coded = parse_list(
        f"<ListBucketResult>{WHOLE}<EncodingType>url</EncodingType>{row.format('a+b%2Bc')}</ListBucketResult>".encode()
    )
    assert coded.entries[0].key == "a b+c"
    assert coded.entries[0].etag is None
    rows = row.format("%FF") + row.format("ok") + row.format("")
    odd = parse_list(
        f"<ListBucketResult>{WHOLE}<EncodingType>url</EncodingType>{rows}</ListBucketResult>".encode()
    )
    assert ([each.key for each in odd.entries], odd.unreadable) == (["ok"], ["\\xff", ""])


def test_uploads_and_their_markers():
    page = parse_uploads(
        b"<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
        b"<NextUploadIdMarker>U</NextUploadIdMarker><Upload><Key>k</Key><UploadId>U</UploadId>"
        b"<Initiated>2026-11-20T12:00:00.000Z</Initiated></Upload></ListMultipartUploadsResult>"
    )
    assert page.markers == ("k", "U")
    assert (page.uploads[0].key, page.uploads[0].upload_id) == ("k", "U")


@pytest.mark.parametrize("body", [b"", b"<x/>", b"<InitiateMultipartUploadResult/>", b"<a>", b"\xff"])
def test_a_reply_without_what_it_must_have_is_a_typed_error(body):
    for parse in (parse_upload_id, parse_list, parse_copied, parse_uploads, parse_parts, parse_tags):
        with pytest.raises(errors.StorageIntegrityError) as caught:
            parse(body)
        assert caught.value.code == "NOT_S3"


@pytest.mark.parametrize(
    ("parse", "inner", "found"),
    [
        (parse_upload_id, "<UploadId>U</UploadId>", "U"),
        (parse_list, "<IsTruncated>false</IsTruncated>", ListReply([], [], None)),
        (parse_copied, "<ETag>&quot;e&quot;</ETag>", ("e", None)),
        (parse_completed, "<ETag>e</ETag>", ("e", None)),
        (parse_uploads, "<IsTruncated>false</IsTruncated>", UploadsReply([], None)),
        (parse_parts, "<UploadId>U</UploadId>", PartsReply([], None)),
        (parse_tags, "<TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet>", {"a": "b"}),
        (parse_deleted, "<Deleted><Key>k</Key></Deleted>", DeleteReply({"k": None}, {})),
    ],
)
@pytest.mark.parametrize("root", ["Anything", "InitiateMultipartUpload", "ListPartsResponse"])
def test_the_name_of_a_root_says_nothing_and_its_fields_everything(parse, inner, found, root):
    assert parse(f'<{root} xmlns="urn:x">{inner}</{root}>'.encode()) == found
    for wrong in ("Error", "html", "HTML", "ErrorResponse"):
        with pytest.raises(errors.StorageIntegrityError):
            parse(f"<{wrong}>{inner}</{wrong}>".encode())


def test_documents_of_ours_are_read_back_exactly():
    keys = ["<&>\"'", "ü🦀", " blank ", "a\u2028b", "]]>", "&amp;", "a\rb\nc"]
    root = fromstring(delete_objects(keys).body)
    assert [element.text for element in root.iter() if element.tag.endswith("}Key")] == keys
    versions = [(key, key[::-1]) for key in keys]
    root = fromstring(delete_objects(versions).body)
    assert [tuple(part.text for part in each) for each in root if each.tag.endswith("}Object")] == versions
    assert root[-1].text == "false"
    completion = fromstring(complete_upload("k", "U", ["a", "b"], {}).body)
    assert [element.text for element in completion.iter() if element.text] == ["1", '"a"', "2", '"b"']


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes 0-0/1", (0, 1, 1)),
        ("bytes 5-9/10", (5, 10, 10)),
        ("bytes 5-10/10", None),
        ("bytes 6-5/10", None),
        ("bytes 0-1/*", None),
        ("bytes */10", None),
        ("", None),
        (None, None),
    ],
)
def test_content_ranges(text, found):
    assert parse_content_range(text) == found


def test_sizes_and_times_that_are_none():
    assert [parse_size(text) for text in ("5", "0", "-1", "", None, "1e3", "٣", "9" * 40)] == [5, 0] + [
        None
    ] * 6
    assert [parse_time(text) for text in (None, "", "yesterday", "2026-99-99T00:00:00Z")] == [None] * 4
    for text in (
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-01:00",
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "1 Jan 2020 99999999999999:00:00",
    ):
        assert parse_time(text) is None
    assert parse_time("2026-11-20T12:00:00").tzinfo is UTC


def test_versions_and_encryption_of_headers():
    headers = {
        "x-amz-version-id": "null",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "arn",
        "x-amz-storage-class": "GLACIER",
    }
    info = parse_info("k", headers, size=1, served_by="s3")
    assert (info.version_id, info.encryption, info.kms_key_id, info.storage_class) == (
        None,
        "aws:kms",
        "arn",
        "GLACIER",
    )
    customer = {"x-amz-server-side-encryption-customer-algorithm": "AES256", "x-amz-version-id": "v1"}
    again = parse_info("k", customer, size=1, served_by="s3")
    assert (again.version_id, again.encryption, again.storage_class) == ("v1", "SSE-C", "STANDARD")


@given(st.integers(0, 32_000_000_000))
def test_http_dates_are_those_of_the_standard_library(seconds):
    moment = datetime.fromtimestamp(seconds, UTC)
    text = format_datetime(moment, usegmt=True)
    assert parse_time(text) == parsedate_to_datetime(text) == moment
    assert parse_time(text.replace("GMT", "+0000")) == moment


@pytest.mark.parametrize(
    ("status", "keeps"),
    [
        ("Enabled", True),
        ("Suspended", True),
        (" Enabled ", True),
        ("Disabled", False),
        ("", False),
        (" ", False),
    ],
)
def test_only_two_words_say_that_a_bucket_keeps_versions(status, keeps):
    body = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
    assert parse_versioning(body.encode()) is keeps


@pytest.mark.parametrize(
    "inner",
    [
        "<DeleteMarker>True</DeleteMarker>",
        "<DeleteMarker> true </DeleteMarker>",
        "<DeleteMarkerVersionId>m1</DeleteMarkerVersionId>",
    ],
)
def test_a_marker_in_place_of_a_removed_version_is_seen_in_every_spelling(inner):
    body = f"<DeleteResult><Deleted><Key>a</Key>{inner}</Deleted></DeleteResult>"
    assert parse_deleted_versions(body.encode()).deleted[0].is_marked
    body = "<DeleteResult><Deleted><Key>a</Key><VersionId>v</VersionId></Deleted></DeleteResult>"
    assert not parse_deleted_versions(body.encode()).deleted[0].is_marked
