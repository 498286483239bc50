"""No frame of a failed configuration shows a secret, as error reporters with locals would."""

import traceback
from datetime import UTC, datetime

import pytest

from credstore.config.environ import from_env
from credstore.config.mapping import from_mapping
from credstore.config.stores import R2Config, S3CompatibleConfig, S3Config
from credstore.config.url import from_url
from credstore.encryption import Secret
from credstore.errors import StorageConfigurationError, StorageError
from credstore.factory import StorageFactory
from credstore.keyring.local import LocalKey, PassphraseKey
from credstore.proofs import LocalSigner

CANARY = "canary-secret-value"
KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": CANARY, "AWS_SESSION_TOKEN": CANARY + "-token"}
WORDS = {"access_key_id": "AKID", "secret_access_key": CANARY}


def frames_of(error):
    """Everything of credstore's that a reporter which shows locals has of an error, chained ones included."""
    told, seen = [], error
    while seen is not None:
        shown = traceback.TracebackException.from_exception(seen, capture_locals=True)
        told += ["".join(shown.format())] if seen is not error else []
        for frame in shown.stack:
            if "/tests/" not in frame.filename:
                told.append(f"{frame.name}: {frame.locals}")
        told.append(str(seen))
        seen = seen.__cause__ or seen.__context__
    return "\n".join(told)


FAILING = {
    "mapping, wrong value": lambda: from_mapping(
        {"provider": "s3", "bucket": "box", "timeout": "soon", **WORDS}, {}
    ),
    "mapping, unknown word": lambda: from_mapping({"provider": "s3", "bukket": "box", **WORDS}, {}),
    "mapping, no provider": lambda: from_mapping({"bucket": "box", **WORDS}, {}),
    "mapping, refused by the config": lambda: from_mapping({"provider": "s3", "bucket": "-", **WORDS}, {}),
    "mapping, two spellings": lambda: from_mapping(
        {"provider": "s3", "bucket": "a", "bucket_name": "b", **WORDS}, {}
    ),
    "mapping, secret with blanks": lambda: from_mapping(
        {"provider": "s3", "bucket": "box", **WORDS, "secret_access_key": f" {CANARY}"}, {}
    ),
    "mapping, secret of another": lambda: from_mapping(
        {"provider": "local", "path": "x", "secret_access_key": CANARY}, {}
    ),
    "mapping, beside the environment": lambda: from_mapping({"provider": "s3", "bucket": "-"}, KEYS),
    "URL, key in a parameter": lambda: from_url(f"s3://box?secret_access_key={CANARY}", {}),
    "URL, password": lambda: from_url(f"s3://AKID:{CANARY}@box", {}),
    "URL, password of a proxy": lambda: from_url(f"s3://box?proxy=http://u:{CANARY}@proxy:1", {}),
    "URL, beside the environment": lambda: from_url("s3://box?part_size=large", KEYS),
    "environment, wrong value": lambda: from_env(
        {**KEYS, "CREDSTORE_PROVIDER": "s3", "CREDSTORE_BUCKET": "box", "CREDSTORE_PART_SIZE": "large"}
    ),
    "environment, half a pair": lambda: from_env(
        {"CREDSTORE_PROVIDER": "s3", "CREDSTORE_BUCKET": "box", "AWS_SECRET_ACCESS_KEY": CANARY}
    ),
    "environment, no provider": lambda: from_env(KEYS),
    "environment, unknown variable": lambda: from_env({**KEYS, "CREDSTORE_BUCKETT": "x"}),
    "environment, secret with blanks": lambda: from_env(
        {**KEYS, "CREDSTORE_URL": "s3://box", "AWS_SECRET_ACCESS_KEY": f"{CANARY} "}
    ),
    "environment, secret in the wrong place": lambda: from_env(
        {**KEYS, "CREDSTORE_URL": "s3://box", "CREDSTORE_TIMEOUT": CANARY}
    ),
    "environment, key in the URL": lambda: from_env({"CREDSTORE_URL": f"s3://box?session_token={CANARY}"}),
    "factory, URL": lambda: StorageFactory(environ={}).create(f"s3://box?secret_access_key={CANARY}"),
    "factory, mapping": lambda: StorageFactory(environ={}).create({"provider": "s3", "bucket": "-", **WORDS}),
    "factory, environment": lambda: StorageFactory(environ=KEYS).from_env(),
    "factory, given environment": lambda: StorageFactory().from_env(KEYS),
    "factory, configure": lambda: StorageFactory(environ=KEYS).configure("s3://-"),
    "factory, fallback": lambda: StorageFactory(environ={}).create_with_fallback(
        {"provider": "s3", "bucket": "-", **WORDS}, "memory:"
    ),
    "class, plain text": lambda: S3Config(bucket="box", access_key_id="AKID", secret_access_key=CANARY),
    "class, plain token": lambda: R2Config(
        bucket="box",
        account_id="0" * 32,
        access_key_id="a",
        secret_access_key=Secret("x"),
        session_token=CANARY,
    ),
    "class, wrong value beside": lambda: S3Config(
        bucket="-", access_key_id="AKID", secret_access_key=Secret(CANARY)
    ),
    "class, secret with blanks": lambda: S3Config(
        bucket="box", access_key_id="AKID", secret_access_key=Secret(f"{CANARY}\n")
    ),
    "passphrase, wrong salt": lambda: PassphraseKey(CANARY, salt=b"short"),
    "key of the environment": lambda: LocalKey.from_env("KEY", environ={"KEY": CANARY}),
    "private key": lambda: LocalSigner.from_pem(CANARY.encode(), Secret(CANARY)),
}


@pytest.mark.parametrize("fails", FAILING.values(), ids=FAILING)
def test_no_frame_of_a_failure_has_a_secret(fails):
    with pytest.raises(StorageError) as caught:
        fails()
    assert CANARY not in frames_of(caught.value)


def test_the_walk_would_see_a_secret_in_a_frame(tmp_path):
    """The guard of the guard: a plain local in a frame that is no test's is found."""
    source = tmp_path / "module.py"
    source.write_text("def fails(text):\n    raise ValueError('wrong')\n")
    space = {}
    exec(compile(source.read_text(), str(source), "exec"), space)
    with pytest.raises(ValueError, match="wrong") as caught:
        space["fails"](CANARY)
    assert CANARY in frames_of(caught.value)


@pytest.mark.parametrize("field", ["secret_access_key", "session_token"])
def test_a_secret_in_plain_text_is_answered_with_the_right_spelling(field):
    given = {"access_key_id": "AKID", "secret_access_key": Secret("x"), field: CANARY}
    with pytest.raises(StorageConfigurationError) as caught:
        S3CompatibleConfig(bucket="box", endpoint="https://s3.example.com", **given)
    assert f'{field}=Secret("…")' in str(caught.value)


SESSION = {"access_key_id": "AKID", "secret_access_key": Secret("x"), "session_token": Secret("y")}
ENDS = datetime(2026, 12, 31, 12, tzinfo=UTC)


def test_the_end_of_a_session_is_read_from_everywhere():
    named = {**KEYS, "AWS_CREDENTIAL_EXPIRATION": "2026-12-31T12:00:00Z"}
    assert from_url("s3://box", named).session_expires_at == ENDS
    own = {
        "CREDSTORE_ACCESS_KEY_ID": "AKID",
        "CREDSTORE_SECRET_ACCESS_KEY": CANARY,
        "CREDSTORE_SESSION_TOKEN": CANARY,
        "CREDSTORE_SESSION_EXPIRES_AT": "2026-12-31T13:00:00+01:00",
    }
    assert from_url("wasabi://box", own).session_expires_at == ENDS
    words = {**WORDS, "session_token": "y", "session_expires_at": "2026-12-31T12:00:00Z"}
    assert from_mapping({"provider": "s3", "bucket": "box", **words}, {}).session_expires_at == ENDS
    # That of other keys says nothing about these.
    assert (
        from_mapping(
            {"provider": "s3", "bucket": "box", **WORDS, "session_token": "y"}, named
        ).session_expires_at
        is None
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({**SESSION, "session_expires_at": ENDS.replace(tzinfo=None)}, "time zone"),
        ({**SESSION, "session_token": None, "session_expires_at": ENDS}, "`session_token`"),
        ({**SESSION, "session_expires_at": "2026-12-31T12:00:00Z"}, "a datetime"),
    ],
)
def test_an_end_that_says_nothing_is_refused(settings, told):
    with pytest.raises(StorageConfigurationError, match=told):
        S3Config(bucket="box", **settings)


@pytest.mark.parametrize("text", ["tomorrow", "2026-12-31", "2026-12-31T12:00:00"])
def test_a_text_that_is_no_instant_is_refused(text):
    with pytest.raises(StorageConfigurationError, match="with its zone"):
        from_url("s3://box", {**KEYS, "AWS_CREDENTIAL_EXPIRATION": text})
    with pytest.raises(StorageConfigurationError, match="must not have `session_expires_at`"):
        from_url(f"s3://box?session_expires_at={text}", KEYS)
