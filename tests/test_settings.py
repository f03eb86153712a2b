"""Settings: every one is described, the example file is true, unsafe ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from cmbcluster.errors import StartRefused
from cmbcluster.settings import Settings, example_file, load_settings, setting_lines

ROOT = Path(__file__).parent.parent
# A number of these says in its name what it counts.
UNITS = ("_seconds", "_bytes", "_workers", "_once", "_per_minute", "port")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of this machine, and no .env of the working directory."""
    for field in Settings.model_fields:
        monkeypatch.delenv(f"CMB_{field.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_every_setting_is_described_and_names_its_unit() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
        if field.annotation in (int, float):
            assert name.endswith(UNITS), f"{name} is a number without a unit in its name"


def test_the_example_file_is_true() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == example_file(), (
        "write it again with: cmbcluster settings --example > .env.example"
    )


def test_the_example_file_with_every_line_in_force_changes_nothing(tmp_path: Path) -> None:
    plain = Settings()
    lines = [line.removeprefix("# ") for line in example_file().splitlines() if line.startswith("# CMB_")]
    assert len(lines) == len(Settings.model_fields)
    (tmp_path / ".env").write_text("\n".join(lines))
    assert Settings() == plain


@pytest.mark.parametrize("address", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_development_identity_stays_on_loopback(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("CMB_BIND_ADDRESS", address)
    with pytest.raises(StartRefused, match="CMB_BIND_ADDRESS=127.0.0.1"):
        load_settings()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_accepted(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("CMB_BIND_ADDRESS", address)
    assert load_settings().on_loopback


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CMB_PORT", "0"),
        ("CMB_PORT", "eighty"),
        ("CMB_LOG_LEVEL", "LOUD"),
        ("CMB_HOST", "localhost {\n respond evil"),
        ("CMB_HOST", "a..b"),
        ("CMB_SESSION_IDLE_SECONDS", "1"),
    ],
)
def test_wrong_values_name_the_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartRefused, match=name):
        load_settings()


def test_an_empty_value_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMB_DATA_DIR", "")
    monkeypatch.setenv("CMB_PORT", "")
    assert Settings().data_dir.is_absolute()
    assert Settings().port == 8200


def test_the_data_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CMB_DATA_DIR", "here/../data")
    assert Settings().data_dir == tmp_path / "data"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CMB_DATA_DIR", "~/cmb")
    assert Settings().data_dir == tmp_path / "home" / "cmb"


def test_lines_tell_the_source_and_mask_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CMB_PORT=9000\nCMB_LOG_LEVEL=DEBUG\n")
    monkeypatch.setenv("cmb_log_level", "ERROR")
    monkeypatch.setenv("CMB_DATABASE_URL", "postgresql+psycopg://u:hunter2@db/cmb")
    lines = {line.name: line for line in setting_lines(load_settings())}
    assert (lines["CMB_PORT"].value, lines["CMB_PORT"].source) == ("9000", "file")
    assert (lines["CMB_LOG_LEVEL"].value, lines["CMB_LOG_LEVEL"].source) == ("ERROR", "environment")
    assert lines["CMB_BIND_ADDRESS"].source == "default"
    assert lines["CMB_DATABASE_URL"].source == "environment"
    assert "hunter2" not in str(lines.values())


def test_every_secret_is_a_secret_type() -> None:
    for name, field in Settings.model_fields.items():
        if any(word in name for word in ("secret", "password", "token", "database_url")):
            assert SecretStr in getattr(field.annotation, "__args__", (field.annotation,)), name


def test_addresses() -> None:
    settings = Settings(port=9000)
    assert settings.public_url == "http://localhost:9000"
    assert settings.environment_url("a-b2c3d4") == "http://a-b2c3d4.localhost:9000"
    assert Settings(port=80).environment_host("x") == "x.localhost"
