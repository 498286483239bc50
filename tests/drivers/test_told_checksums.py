"""What a cloud says that it stored is compared as text, whatever characters a proxy has put in."""

import pytest

from credstore.drivers.azure.writing import _check_md5
from credstore.drivers.gcs.checksums import Checksum
from credstore.drivers.gcs.resources import MD5
from credstore.drivers.s3.headers import format_sha256
from credstore.drivers.s3.responses import check_checksum
from credstore.errors import StorageIntegrityError
from credstore.wire.exchange import Reply

OWN = format_sha256(bytes(32))


def of_s3(told):
    return check_checksum({"x-amz-checksum-sha256": told}, bytes(32))


def of_azure(told):
    return _check_md5(Reply(201, {"content-md5": told}, b"", None, 1, unclear=False), OWN)


def of_google(told):
    checksum = Checksum(MD5)
    checksum._value = OWN
    return checksum.check({"md5Hash": told})


@pytest.mark.parametrize("check", [of_s3, of_azure, of_google])
@pytest.mark.parametrize("told", ["other", "\udcc6", "é", f"{OWN}\udcff", OWN[:-1]])
def test_any_other_text_is_another_checksum(check, told):
    assert check(OWN)
    with pytest.raises(StorageIntegrityError) as caught:
        check(told)
    assert (caught.value.code, caught.value.applied) == ("CHECKSUM_MISMATCH", "maybe")
