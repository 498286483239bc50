"""Which permission each thing needs at each cloud, as data.

Sources: AWS "Actions, resources, and condition keys for Amazon S3"; Azure "Blob service operations" of "Azure
built-in roles for Storage"; Google "IAM permissions for Cloud Storage"; Cloudflare R2 "API tokens"; Backblaze
"Application key capabilities".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from credstore.config.settings import CommonConfig

Needs = Mapping[str, str]

_S3: Needs = MappingProxyType(
    {
        "list": "s3:ListBucket on the bucket",
        "store": "s3:PutObject and s3:AbortMultipartUpload on the objects",
        "get_metadata": "s3:GetObject on the objects, and s3:ListBucket, so that absent and denied differ",
        "retrieve": "s3:GetObject on the objects",
        "copy": "s3:GetObject and s3:PutObject on the objects, and their tagging actions for tags",
        "delete": "s3:DeleteObject on the objects, and where the bucket keeps versions also "
        "s3:ListBucketVersions and s3:DeleteObjectVersion",
        "link": "s3:GetObject on the objects, without a condition on the sender's address",
    }
)
_AZURE: Needs = MappingProxyType(
    {
        "list": "the role Storage Blob Data Reader, or `l` in the SAS token's sp",
        "store": "the role Storage Blob Data Contributor, or `cw` in the SAS token's sp",
        "get_metadata": "the role Storage Blob Data Reader, or `r` in the SAS token's sp",
        "retrieve": "the role Storage Blob Data Reader, or `r` in the SAS token's sp",
        "copy": "the role Storage Blob Data Contributor, or `rcw` in the SAS token's sp",
        "delete": "the role Storage Blob Data Contributor, or `d` (`x` for versions) in the SAS token's sp",
        "link": "the account key, or the role Storage Blob Delegator; and rules that admit the reader",
    }
)
_GOOGLE: Needs = MappingProxyType(
    {
        "list": "storage.objects.list",
        "store": "storage.objects.create, and storage.objects.delete to replace",
        "get_metadata": "storage.objects.get",
        "retrieve": "storage.objects.get",
        "copy": "storage.objects.get and storage.objects.create",
        "delete": "storage.objects.delete",
        "link": "a service account's key, or iam.serviceAccounts.signBlob on the service account",
    }
)
_B2: Needs = MappingProxyType(
    {
        "list": "listFiles (and listBuckets) of the application key",
        "store": "writeFiles of the application key",
        "get_metadata": "readFiles of the application key",
        "retrieve": "readFiles of the application key",
        "copy": "readFiles and writeFiles of the application key",
        "delete": "deleteFiles of the application key",
        "link": "readFiles of the application key",
    }
)
_LOCAL = "the permission of the system's user to read and write in the folder"
_R2 = "an API token with Object Read & Write for this bucket"
_NEEDS: Mapping[str, Needs] = MappingProxyType({"azure": _AZURE, "gcs": _GOOGLE, "b2": _B2})
_ONE: Mapping[str, str] = MappingProxyType({"local": _LOCAL, "r2": _R2})


def cure_of(verb: str, config: CommonConfig) -> str:
    """What to permit so that a verb works.

    Args:
        verb: Of `StorageProvider`, or "link".
        config: Of the store.
    """
    needed = _ONE.get(config.cloud) or _NEEDS.get(config.cloud, _S3)[verb]
    return f"it needs {needed}"
