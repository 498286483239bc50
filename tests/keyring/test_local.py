"""Wrapping keys of this machine: files nobody else reads, variables, passphrases."""

import asyncio
import base64
import os
import pickle
import stat
import traceback

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageDecryptionError
from credstore.keyring import local
from credstore.keyring.local import LocalKey, PassphraseKey

KEY = bytes(range(32))
PLAIN = bytes(range(50, 82))


def wrapped(key, plain=PLAIN):
    return asyncio.run(key.wrap(plain, "store"))


def unwrapped(key, data):
    return asyncio.run(key.unwrap(data, "store"))


def test_it_wraps_as_rfc_3394():
    assert wrapped(LocalKey(KEY)) == aes_key_wrap(KEY, PLAIN)
    assert unwrapped(LocalKey(KEY), aes_key_wrap(KEY, PLAIN)) == PLAIN


def test_a_published_vector():
    """RFC 3394 section 4.6."""
    plain = bytes.fromhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
    expected = "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"
    assert wrapped(LocalKey(KEY), plain).hex().upper() == expected


@pytest.mark.parametrize("data", [b"", bytes(8), bytes(40), bytes(41), bytes(48), bytes(6144)])
def test_what_it_did_not_wrap_is_the_one_error(data):
    with pytest.raises(StorageDecryptionError, match="cannot be decrypted") as caught:
        unwrapped(LocalKey(KEY), data)
    assert caught.value.__cause__ is None


def test_no_changed_bit_unwraps():
    data = wrapped(LocalKey(KEY))
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StorageDecryptionError):
            unwrapped(LocalKey(KEY), bytes(changed))


def test_its_id_follows_from_the_key_and_does_not_tell_it():
    assert LocalKey(KEY).key_id == LocalKey(KEY).key_id != LocalKey(PLAIN).key_id
    assert LocalKey(KEY).key_id.startswith("local-")
    assert KEY.hex()[:16] not in LocalKey(KEY).key_id
    assert LocalKey(KEY, key_id="mine").key_id == "mine"


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(size):
    with pytest.raises(StorageConfigurationError, match="32 bytes"):
        LocalKey(bytes(size))


@pytest.mark.parametrize("name", ["", "a b", "é", "k" * 256])
def test_an_id_that_cannot_name_a_key_is_refused(name):
    with pytest.raises(StorageConfigurationError, match="printable"):
        LocalKey(KEY, key_id=name)


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(base64.b64encode(KEY).decode() + "\n")
    path.chmod(0o600)
    return path


def test_a_key_from_a_file(key_file):
    assert wrapped(LocalKey.from_file(key_file)) == aes_key_wrap(KEY, PLAIN)
    key_file.write_text(KEY.hex())
    assert LocalKey.from_file(str(key_file), key_id="mine").key_id == "mine"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666])
def test_a_file_that_others_may_use_is_refused_with_what_to_do(key_file, mode):
    key_file.chmod(mode)
    with pytest.raises(StorageConfigurationError, match="chmod 600") as caught:
        LocalKey.from_file(key_file)
    assert base64.b64encode(KEY).decode() not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "short", "é" * 44, KEY.hex()[:-1] + "g", base64.b64encode(KEY[:-1]).decode()]
)
def test_a_file_without_a_key_is_refused_and_not_repeated(key_file, text):
    key_file.write_text(text)
    with pytest.raises(StorageConfigurationError, match="holds no key") as caught:
        LocalKey.from_file(key_file)
    assert not text or text not in str(caught.value)


IN_BASE64 = base64.b64encode(KEY).decode()


@pytest.mark.parametrize("take", [LocalKey.from_file, LocalKey.generate_file], ids=lambda take: take.__name__)
@pytest.mark.parametrize("text", [IN_BASE64, f" {IN_BASE64}\n", KEY.hex(), KEY.hex().upper()])
def test_the_key_itself_is_no_path_of_it(take, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageConfigurationError, match="not the key itself") as caught:
        take(text)
    assert not list(tmp_path.iterdir())
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    ours = [frame for frame in frames if frame.f_code.co_filename.endswith("keyring/local.py")]
    assert text.strip() not in str(caught.value)
    assert ours
    assert text not in [value for frame in ours for value in frame.f_locals.values()]


@pytest.mark.parametrize(
    "text",
    [
        f"0x{KEY.hex()}",
        f"base64:{IN_BASE64}",
        IN_BASE64.rstrip("="),
        base64.urlsafe_b64encode(bytes(range(255, 223, -1))).decode(),
        KEY.hex()[:40],
    ],
)
def test_what_may_be_a_key_is_not_shown(text):
    with pytest.raises(StorageConfigurationError, match="it is not shown") as caught:
        LocalKey.from_file(text)
    assert text not in str(caught.value)


@pytest.mark.parametrize("name", ["proofs.key", "production-proofs-wrapping-key-2026", "Keys/a.key"])
def test_a_path_that_leads_nowhere_is_shown(name):
    with pytest.raises(StorageConfigurationError) as caught:
        LocalKey.from_file(name)
    assert repr(name) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(StorageConfigurationError, match="No such file"):
        LocalKey.from_file(tmp_path / "none")


def test_a_key_from_the_environment():
    environ = {"KEY": base64.b64encode(KEY).decode(), "HEX": KEY.hex() + "\n", "BAD": "hunter2"}
    assert LocalKey.from_env("KEY", environ=environ).key_id == LocalKey(KEY).key_id
    assert LocalKey.from_env("HEX", environ=environ).key_id == LocalKey(KEY).key_id
    with pytest.raises(StorageConfigurationError, match="BAD holds no key") as caught:
        LocalKey.from_env("BAD", environ=environ)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(StorageConfigurationError, match="NONE for the key is not set"):
        LocalKey.from_env("NONE", environ=environ)


def test_a_new_key_file_is_private_and_never_replaces_one(tmp_path):
    before = os.umask(0)
    try:
        made = LocalKey.generate_file(tmp_path / "new", random=lambda size: KEY[:size])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert made.key_id == LocalKey.from_file(tmp_path / "new").key_id == LocalKey(KEY).key_id
    with pytest.raises(StorageConfigurationError, match="File exists"):
        LocalKey.generate_file(tmp_path / "new")
    assert LocalKey.from_file(tmp_path / "new").key_id == made.key_id
    assert LocalKey.generate_file(tmp_path / "other").key_id != made.key_id


def test_a_passphrase_is_scrypt_of_a_fixed_cost_made_once(monkeypatch):
    salt = bytes(range(16))
    key = PassphraseKey("correct horse", salt=salt)
    times = []
    real = local._scrypt
    monkeypatch.setattr(local, "_scrypt", lambda *given: times.append(1) or real(*given))

    async def many():
        return await asyncio.gather(*(key.wrap(PLAIN, "store") for _ in range(4)))

    made = asyncio.run(many())
    derived = Scrypt(salt=salt, length=32, n=131072, r=8, p=1).derive(b"correct horse")
    assert {aes_key_unwrap(derived, data) for data in made} == {PLAIN}
    assert unwrapped(key, made[0]) == PLAIN
    assert len(times) == 1
    assert key.key_id == "scrypt-000102030405060708090a0b0c0d0e0f"
    assert PassphraseKey.salt_of(key.key_id) == salt


@pytest.mark.parametrize(
    "key_id", ["", "scrypt-", "local-00", "scrypt-zz", "scrypt-" + "AB" * 16, "scrypt-" + "ab" * 15]
)
def test_other_ids_have_no_salt(key_id):
    with pytest.raises(StorageConfigurationError, match="not the id of a passphrase"):
        PassphraseKey.salt_of(key_id)


def test_a_passphrase_needs_words_and_a_salt():
    with pytest.raises(StorageConfigurationError, match="empty"):
        PassphraseKey("", salt=bytes(16))
    with pytest.raises(StorageConfigurationError, match="16 bytes"):
        PassphraseKey(Secret("words"), salt=b"short")


def test_nothing_shows_a_key():
    for key in (LocalKey(b"canary key of thirty-two bytes!!"), PassphraseKey("canary", salt=bytes(16))):
        assert "canary" not in f"{key!r}{key}"
        with pytest.raises(TypeError, match="never pickled"):
            pickle.dumps(key)
