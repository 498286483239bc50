"""`Store`: buckets in memory that do what S3 does, one request at a time, each at one instant."""

from collections.abc import Callable

from tests.faults import listing, objects
from tests.faults.lies import Lie, heard, said
from tests.faults.messages import Answer, Request, S3Error, element, xml
from tests.faults.objects import Stored
from tests.faults.signatures import Account, verify
from tests.faults.uploads import Uploads


class Store:
    """Attributes: `buckets` and `uploads`, for tests to look at and to poke; `lies`, see `lies.py`.

    `insists` are the operations that need a checksum of their body, as under a default retention.
    """

    def __init__(self, *, region: str, clock: Callable[[], float], least_part: int) -> None:
        self.region = region
        self.clock = clock
        self.accounts: dict[str, Account] = {}
        self.buckets: dict[str, dict[str, Stored]] = {}
        self.uploads = Uploads(least_part)
        self.lies: set[Lie] = set()
        self.insists: frozenset[str] = frozenset()

    def apply(self, request: Request) -> Answer:
        """What S3 answers; with accounts, only to requests they signed."""
        try:
            if self.accounts:
                verify(request, self.accounts, self.region, self.clock())
            return said(self.lies, request, self._apply(heard(self.lies, request)))
        except S3Error as failed:
            return failed.answer

    def _apply(self, request: Request) -> Answer:
        operation = request.operation
        if operation == "CreateBucket":
            self.buckets.setdefault(request.bucket, {})
            return Answer(headers={"location": f"/{request.bucket}"})
        if request.bucket not in self.buckets:
            raise S3Error(404, "NoSuchBucket")
        if request.key:
            return self._on_object(operation, request)
        here = self.buckets[request.bucket]
        if operation == "HeadBucket":
            return Answer(headers={"x-amz-bucket-region": self.region})
        if operation == "ListObjectsV2":
            return listing.list_objects(here, request)
        if operation == "DeleteObjects":
            return objects.delete_objects(here, request)
        if operation == "ListMultipartUploads":
            return listing.list_uploads(self.uploads.open, request)
        if operation == "DeleteBucket":
            if here:
                raise S3Error(409, "BucketNotEmpty")
            del self.buckets[request.bucket]
            return Answer(204)
        if operation == "ListObjects" and "location" in request.query:
            return xml("LocationConstraint", element("LocationConstraint", self.region))
        raise S3Error(501, "NotImplemented")

    def _on_object(self, operation: str, request: Request) -> Answer:
        if operation in self.insists:
            objects.check_has_checksum(request)
        here, now = self.buckets[request.bucket], self.clock()
        known: dict[str, Callable[[], Answer]] = {
            "PutObject": lambda: objects.put_object(here, request, now),
            "GetObject": lambda: objects.get_object(here, request),
            "HeadObject": lambda: objects.get_object(here, request),
            "DeleteObject": lambda: objects.delete_object(here, request),
            "CopyObject": lambda: objects.copy_object(self.buckets, request, now),
            "CreateMultipartUpload": lambda: self.uploads.begin(request, now),
            "UploadPart": lambda: self.uploads.part(request),
            "UploadPartCopy": lambda: self.uploads.part_copy(self.buckets, request),
            "CompleteMultipartUpload": lambda: self.uploads.complete(here, request, now),
            "AbortMultipartUpload": lambda: self.uploads.abort(request),
            "ListParts": lambda: self.uploads.list_parts(request),
            "GetObjectTagging": lambda: objects.tagging(here, request),
            "PutObjectTagging": lambda: objects.tagging(here, request),
            "DeleteObjectTagging": lambda: objects.tagging(here, request),
        }
        if operation not in known:
            raise S3Error(405, "MethodNotAllowed")
        return known[operation]()
