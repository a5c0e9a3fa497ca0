"""Settings: the names people use, refused placeholders, and secrets that stay secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import Settings, get_settings

_UNPREFIXED = ("REDIS_URL", "PORT", "FLOWER_PORT", "ALERT_EMAIL", "ALERT_APP_PASSWORD", "ALERT_TO")
#: too long to be a placeholder, and found nowhere else
SECRET = "hunter2hunter2"


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.upper() in _UNPREFIXED or name.upper().startswith("SCRATCH_"):
            monkeypatch.delenv(name)


def test_the_defaults_are_valid_and_alerts_are_off() -> None:
    settings = Settings()
    assert settings.port == 8000
    assert not settings.alerts_on


@pytest.mark.parametrize("name", ["REDIS_URL", "SCRATCH_REDIS_URL", "redis_url"])
def test_redis_url_has_both_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "redis://elsewhere:6379/1")
    assert Settings().redis_url == "redis://elsewhere:6379/1"


def test_the_unprefixed_name_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("SCRATCH_PORT", "9001")
    assert Settings().port == 9000


def test_other_names_need_the_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "example.com")
    monkeypatch.setenv("SCRATCH_MAX_BATCH", "4")
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert settings.max_batch == 4


def test_three_variables_switch_alerts_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_EMAIL", "a@example.com")
    monkeypatch.setenv("ALERT_APP_PASSWORD", SECRET)
    assert not Settings().alerts_on
    monkeypatch.setenv("ALERT_TO", "b@example.com")
    assert Settings().alerts_on


def test_a_dotenv_file_is_read_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=9000\nSCRATCH_MAX_BATCH=4\nUNKNOWN=1\n")
    monkeypatch.setenv("PORT", "9001")
    settings = Settings()
    assert (settings.port, settings.max_batch) == (9001, 4)


@pytest.mark.parametrize("placeholder", ["changeme", "ChangeMe", "xxxx xxxx xxxx xxxx"])
def test_a_placeholder_is_no_password(placeholder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_APP_PASSWORD", placeholder)
    with pytest.raises(ValidationError, match="placeholder"):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "eighty"),
        ("SCRATCH_MAX_BATCH", "-1"),
        ("SCRATCH_RUNTIME", "onnx"),
        ("SCRATCH_PRECISION", "f8"),
        ("SCRATCH_SMTP_SECURITY", "plain"),
        ("SCRATCH_TASK_DEADLINE_S", "1"),
    ],
)
def test_nonsense_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_the_alert_password_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_APP_PASSWORD", SECRET)
    settings = Settings()
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()


def test_the_redis_password_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@redis:6379/0")
    settings = Settings()
    assert SECRET not in repr(settings) + str(settings)


def test_a_refusal_does_not_show_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_APP_PASSWORD", SECRET)
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@redis:6379/0")
    monkeypatch.setenv("SCRATCH_TASK_DEADLINE_S", "1")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert SECRET not in str(caught.value)


def test_settings_are_read_once_and_never_change() -> None:
    get_settings.cache_clear()
    try:
        assert get_settings() is get_settings()
        with pytest.raises(ValidationError):
            get_settings().port = 1  # type: ignore[misc]
    finally:
        get_settings.cache_clear()


def test_a_record_outlives_its_result() -> None:
    settings = Settings(task_deadline_s=300, result_ttl_s=3600)
    assert settings.record_ttl_s == 3900


@pytest.mark.parametrize("value", ["ana", "ana:", ":x", "ana:a,bo:b"])
def test_flower_wants_one_user_and_a_password(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH_FLOWER_AUTH", value)
    with pytest.raises(ValidationError, match="user:password"):
        Settings()


def test_flower_without_a_password_stays_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH_HOST", "0.0.0.0")
    assert Settings().flower_host == "127.0.0.1"
    monkeypatch.setenv("SCRATCH_FLOWER_AUTH", f"ana:{SECRET}")
    assert Settings().flower_host == "0.0.0.0"
    assert SECRET not in repr(Settings())


def test_keys_lie_with_the_data_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH_DATA_DIR", "there")
    assert Settings().keys_file == Path("there/api-keys")
    monkeypatch.setenv("SCRATCH_API_KEYS_FILE", "keys")
    assert Settings().keys_file == Path("keys")


def test_secrets_may_be_files_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "redis_url").write_text("redis://file:6379/0\n")
    (tmp_path / "scratch_flower_auth").write_text(f"ana:{SECRET}\n")
    monkeypatch.setenv("SCRATCH_SECRETS_DIR", str(tmp_path))
    get_settings.cache_clear()
    try:
        assert get_settings().redis_url == "redis://file:6379/0"
        assert get_settings().flower_auth.get_secret_value() == f"ana:{SECRET}"
        get_settings.cache_clear()
        monkeypatch.setenv("REDIS_URL", "redis://environment:6379/0")
        assert get_settings().redis_url == "redis://environment:6379/0"
        get_settings.cache_clear()
        monkeypatch.setenv("SCRATCH_SECRETS_DIR", str(tmp_path / "none"))
        monkeypatch.delenv("REDIS_URL")
        assert get_settings().redis_url == Settings().redis_url
    finally:
        get_settings.cache_clear()
