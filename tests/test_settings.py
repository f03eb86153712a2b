"""Settings: every one is described, the example file is true, unsafe ones are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from cmbcluster.errors import StartRefused
from cmbcluster.identity.oidc import OidcIdentity
from cmbcluster.provider_settings import ProviderSettings
from cmbcluster.setting_lines import example_file, setting_lines
from cmbcluster.settings import Settings, load_settings

ROOT = Path(__file__).parent.parent
# A number of these says in its name what it counts.
UNITS = ("_seconds", "_bytes", "_workers", "_once", "_per_minute", "_hops", "_percent", "port")


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
        names_a_file = name.endswith("_file")
        if not names_a_file and any(
            word in name for word in ("secret", "password", "token", "database_url", "redis_url")
        ):
            assert SecretStr in getattr(field.annotation, "__args__", (field.annotation,)), name


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://:hunter2@cache:6379",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@cache:0",
        "redis://:hunter2@cache:many",
        "redis://:hunter2@cache:70000",
        "redis://:hunter2@cache/first",
        "redis://:hunter2@cache/0?db=2",
        "redis+cluster://:hunter2@cache",
        "redis://[:hunter2",
    ],
)
def test_what_is_no_address_of_a_redis_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("CMB_REDIS_URL", url)
    with pytest.raises(StartRefused, match="CMB_REDIS_URL: .* Write it like redis://") as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["redis://cache", "redis://cache:6379/0", "rediss://user:hunter2@cache.example.org:6380/2", "redis://[::1]:1"],
)
def test_an_address_of_a_redis_is_kept_as_a_secret(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CMB_REDIS_URL", url)
    settings = load_settings()
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == url
    assert url not in repr(settings)
    monkeypatch.setenv("CMB_REDIS_URL", "")
    assert load_settings().redis_url is None


def test_addresses() -> None:
    settings = Settings(port=9000)
    assert settings.public_url == "http://localhost:9000"
    assert settings.environment_url("a-b2c3d4") == "http://a-b2c3d4.localhost:9000"
    assert Settings(port=80).environment_host("x") == "x.localhost"


LAB = {
    "id": "lab",
    "name": "Lab",
    "issuer": "https://id.example.org/realms/lab",
    "client_id": "cmb",
    "client_secret": "hunter2",
    "allowed": {"domains": ["example.org"]},
}


def test_a_provider_makes_sign_in_real_and_any_address_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMB_BIND_ADDRESS", "0.0.0.0")
    monkeypatch.setenv("CMB_GOOGLE_CLIENT_ID", "id.apps.example.com")
    monkeypatch.setenv("CMB_GOOGLE_CLIENT_SECRET", "hunter2")
    monkeypatch.setenv("CMB_GOOGLE_DOMAINS", "example.org, example.com")
    monkeypatch.setenv("CMB_OIDC_PROVIDERS", json.dumps([LAB]))
    monkeypatch.setenv("CMB_ADMINS", "ada@example.org,ravi@example.org")
    settings = load_settings()
    assert settings.identity == "oidc"
    assert [provider.id for provider in settings.providers] == ["google", "lab"]
    assert settings.providers[0].allowed.domains == ("example.org", "example.com")
    assert settings.admins == ("ada@example.org", "ravi@example.org")
    shown = {line.name: line.value for line in setting_lines(settings)}
    assert shown["CMB_OIDC_PROVIDERS"] == "lab (https://id.example.org/realms/lab)"
    assert shown["CMB_ADMINS"] == "ada@example.org, ravi@example.org"
    assert "hunter2" not in str(shown) + repr(settings)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "development"}, "name of ours"),
        ({"id": "sign-out"}, "name of ours"),
        ({"id": "A b"}, "id"),
        ({"issuer": "http://id.example.org"}, "https address"),
        ({"issuer": "https://us@id.example.org"}, "https address"),
        ({"issuer": ""}, "https address"),
        ({"client_secret": None}, "client_secret_file"),
        ({"client_secret_file": "/x"}, "client_secret_file"),
        ({"allowed": {}}, "nobody could enter"),
        ({"allowed": "somebody"}, "allowed"),
        ({"algorithms": ["HS256"]}, "RS256"),
        ({"algorithms": ["none"]}, "RS256"),
        ({"algorithms": []}, "RS256"),
        ({"roles": [{"claim": "groups", "contains": "x", "role": "root"}]}, "roles"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_wrong_providers_are_refused_without_their_secrets(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, object], words: str
) -> None:
    monkeypatch.setenv("CMB_OIDC_PROVIDERS", json.dumps([{**LAB, **change}]))
    with pytest.raises(StartRefused, match="CMB_OIDC_PROVIDERS") as refused:
        load_settings()
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"CMB_IDENTITY": "oidc"}, "no provider to ask"),
        ({"CMB_GOOGLE_CLIENT_ID": "x"}, "belong together"),
        ({"CMB_GOOGLE_CLIENT_SECRET": "hunter2"}, "belong together"),
        ({"CMB_OIDC_PROVIDERS": json.dumps([LAB, LAB])}, "the same id"),
        ({"CMB_OIDC_PROVIDERS": '[{"client_secret": "hunter2}]'}, "not JSON"),
        ({"CMB_OIDC_PROVIDERS": '"hunter2"'}, "CMB_OIDC_PROVIDERS"),
        ({"CMB_PUBLIC_URL": "https://cmb.example.org"}, "CMB_PUBLIC_URL"),
        ({"CMB_PUBLIC_URL": "https://cmb.example.org/path"}, "scheme and host alone"),
        ({"CMB_PUBLIC_URL": "https://us@cmb.example.org"}, "scheme and host alone"),
        ({"CMB_PUBLIC_URL": "ftp://cmb.example.org"}, "scheme and host alone"),
        ({"CMB_PUBLIC_URL": "https://cmb.example.org:x"}, "scheme and host alone"),
        ({"CMB_PUBLIC_URL": "https://cmb.example.org?x"}, "scheme and host alone"),
        ({"CMB_PUBLIC_URL": "https://a.example.org", "CMB_HOST": "b.example.org"}, "different hosts"),
        ({"CMB_PUBLIC_URL": "https://exa_mple.org"}, "CMB_HOST"),
    ],
)
def test_settings_of_signing_in_that_do_not_fit(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], words: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartRefused) as refused:
        load_settings()
    assert words in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    given = {**LAB, "client_secret": None, "client_secret_file": str(tmp_path / "secret")}
    assert ProviderSettings.model_validate(given).secret() == "hunter2"
    missing = {**given, "client_secret_file": str(tmp_path / "missing")}
    with pytest.raises(StartRefused, match="client_secret_file"):
        OidcIdentity(Settings(oidc_providers=(missing,)))


@pytest.mark.parametrize(
    ("url", "home", "environment"),
    [
        ("https://cmb.example.org", "https://cmb.example.org", "https://x.cmb.example.org"),
        ("https://CMB.example.org/", "https://cmb.example.org", "https://x.cmb.example.org"),
        ("https://cmb.example.org:443", "https://cmb.example.org", "https://x.cmb.example.org"),
        ("https://cmb.example.org:8443", "https://cmb.example.org:8443", "https://x.cmb.example.org:8443"),
        ("http://cmb.example.org:80", "http://cmb.example.org", "http://x.cmb.example.org"),
    ],
)
def test_the_public_address_is_that_of_browsers(url: str, home: str, environment: str) -> None:
    settings = Settings(public_url=url, google_client_id="x", google_client_secret=SecretStr("y"), port=8300)
    assert settings.public_url == home
    assert settings.environment_url("x") == environment
    assert settings.host == "cmb.example.org"
    assert settings.port == 8300
    assert settings.over_tls == home.startswith("https")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("CMB_PORT", "abc", "CMB_PORT: This is not a whole number. Write one, such as 8200."),
        ("CMB_PORT", "99999", "CMB_PORT: This is too large. Set it to 65535 or less."),
        ("CMB_PORT", "0", "CMB_PORT: This is too small. Set it to 1 or more."),
        ("CMB_SWEEP_SECONDS", "soon", "CMB_SWEEP_SECONDS: This is not a number. Write one, such as 2.5."),
        ("CMB_RUNTIME", "docker", "CMB_RUNTIME: There is no such choice. Set it to 'local' or 'kubernetes'."),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartRefused) as refused:
        load_settings(_env_file=None)
    assert says in str(refused.value)


def test_what_follows_from_another_setting_is_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMB_HOST", "cmb.localhost")
    told = {line.name: line.source for line in setting_lines(load_settings(_env_file=None))}
    assert (told["CMB_HOST"], told["CMB_PUBLIC_URL"], told["CMB_PORT"]) == ("environment", "derived", "default")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("postgresql://u:p%40@db/cmb?sslmode=require", "postgresql+asyncpg://u:p%40@db/cmb?sslmode=require"),
        ("postgres://u@db:6432/cmb?connect_timeout=3", "postgresql+asyncpg://u@db:6432/cmb"),
        ("postgresql+asyncpg://u@db/cmb", "postgresql+asyncpg://u@db/cmb"),
        ("sqlite:////data/x.db", "sqlite+aiosqlite:////data/x.db"),
    ],
)
def test_a_database_is_written_as_operators_write_it(monkeypatch: pytest.MonkeyPatch, written: str, read: str) -> None:
    monkeypatch.setenv("CMB_DATABASE_URL", written)
    assert load_settings().sqlalchemy_url == read


@pytest.mark.parametrize(
    ("url", "words"),
    [("mysql://u:hush@db/cmb", "postgresql://"), ("cmb", "postgresql://"), ("postgresql://u:hush@db", "name of the")],
)
def test_another_database_is_refused_with_a_sentence(monkeypatch: pytest.MonkeyPatch, url: str, words: str) -> None:
    monkeypatch.setenv("CMB_DATABASE_URL", url)
    with pytest.raises(StartRefused, match=words) as refused:
        load_settings()
    assert "CMB_DATABASE_URL" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_cluster_needs_an_image_to_run_packages_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMB_RUNTIME", "kubernetes")
    with pytest.raises(StartRefused, match="Set CMB_WORKSPACE_IMAGE to one built from deploy/images/workspace"):
        load_settings()
    monkeypatch.setenv("CMB_WORKSPACE_IMAGE", "registry.example.org/cmb-workspace:3.12")
    assert load_settings().kubernetes_namespace == "cmbcluster-envs"
    monkeypatch.setenv("CMB_WORKSPACE_PYTHON", "three")
    with pytest.raises(StartRefused, match="CMB_WORKSPACE_PYTHON"):
        load_settings()


def test_offline_tiers_are_written_with_commas_and_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMB_KUBERNETES_OFFLINE_TIERS", "free, premium")
    assert load_settings().kubernetes_offline_tiers == ("free", "premium")
    monkeypatch.setenv("CMB_KUBERNETES_OFFLINE_TIERS", "gratis")
    with pytest.raises(StartRefused, match="CMB_KUBERNETES_OFFLINE_TIERS"):
        load_settings()
