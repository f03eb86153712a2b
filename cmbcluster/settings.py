"""Every setting of the platform: typed, described, with its unit in its name.

Read from the environment (prefix ``CMB_``), then from a ``.env`` file in the working
directory, then the default. No other module of the platform reads the environment for
choices of ours; the client of the command line has two of its own.
This module must never import another of ours but ``errors``.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import platformdirs
from dotenv import dotenv_values
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cmbcluster.errors import StartRefused

PREFIX = "CMB_"
ENV_FILE = ".env"
HOST_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
SESSION_COOKIE = "cmb_session"
SYSTEM_DATA_DIR = Path("/var/lib/cmbcluster")


def default_data_dir() -> Path:
    """The platform's user data directory, or the system's when root runs us.

    Environments of a root-run platform belong to an unprivileged account, which cannot
    pass through root's home.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return SYSTEM_DATA_DIR
    return Path(platformdirs.user_data_dir("cmbcluster", appauthor=False))


class Settings(BaseSettings):
    """All settings, with the defaults of the embedded platform."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True
    )

    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="Folder of everything that must survive: database, workspaces, builds, keys.",
    )
    bind_address: str = Field("127.0.0.1", description="Address the edge listens on.")
    port: int = Field(8200, ge=1, le=65535, description="Port the edge listens on.")
    host: str = Field(
        "localhost",
        pattern=HOST_PATTERN,
        description="Host name of the dashboard; environments live on names below it.",
    )
    identity: Literal["development"] = Field(
        "development",
        description="How people sign in. 'development' offers test people and works on loopback only.",
    )
    runtime: Literal["local"] = Field("local", description="What runs environments: processes of this machine.")
    database_url: SecretStr | None = Field(
        None, description="SQLAlchemy address of the database; empty means SQLite in the data folder."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="Log lines: colours on a terminal, else JSON, one line an event."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    session_idle_seconds: int = Field(1800, ge=60, description="A session ends after this long without activity.")
    session_absolute_seconds: int = Field(43200, ge=300, description="A session ends after this long in any case.")
    session_renewal_seconds: int = Field(
        600, ge=60, le=3600, description="Life of the signed token in the browser's cookie; it is renewed in silence."
    )
    session_cache_seconds: float = Field(
        2.0, ge=0, le=10, description="How long an answer about a session may be reused."
    )
    sign_ins_per_minute: int = Field(
        60, ge=1, le=100_000, description="How often one address may try to sign in within a minute."
    )
    gate_code_seconds: int = Field(60, ge=5, le=300, description="Life of the one-time code that opens an environment.")
    environment_cookie_seconds: int = Field(
        43200, ge=300, description="Longest life of the cookie of one environment's own host."
    )
    sweep_seconds: float = Field(
        30.0, ge=0.05, description="How often every environment is looked at, even without a ring."
    )
    controller_workers: int = Field(8, ge=1, le=64, description="Environments the controller works on at once.")
    local_isolation: Literal["auto", "own-network", "sandbox", "none"] = Field(
        "auto", description="Least separation accepted; 'auto' takes the best this machine has."
    )
    local_account: str = Field("nobody", description="Account of environments when root runs the platform.")
    local_stop_grace_seconds: float = Field(
        10.0, ge=0, le=300, description="Time an application has to end by itself before it is ended."
    )
    local_log_bytes: int = Field(
        10 * 1024**2, ge=65536, description="How much output of an environment is kept, in bytes."
    )
    local_builds_at_once: int = Field(2, ge=1, le=16, description="Package builds that run at the same time.")
    build_seconds: int = Field(1800, ge=10, description="A build that takes longer is given up.")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        """One folder has one name: the database's address and the lock are made from it."""
        return Path(os.path.abspath(value.expanduser()))

    @model_validator(mode="after")
    def _development_stays_on_loopback(self) -> Settings:
        if self.identity == "development" and not self.on_loopback:
            raise ValueError(
                f"CMB_IDENTITY=development lets anybody in, so it works on loopback only, and CMB_BIND_ADDRESS is "
                f"{self.bind_address}. Set CMB_BIND_ADDRESS=127.0.0.1."
            )
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the edge can be reached from this machine alone."""
        if self.bind_address == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.bind_address).is_loopback
        except ValueError:
            return False

    @cached_property
    def public_url(self) -> str:
        """Absolute URL of the dashboard, without a slash at the end."""
        return f"http://{self.host}" if self.port == 80 else f"http://{self.host}:{self.port}"

    @property
    def session_cookie(self) -> str:
        """Name of the dashboard's cookie. Browsers let nobody but this very host set the strict one."""
        return f"__Host-{SESSION_COOKIE}" if self.public_url.startswith("https:") else SESSION_COOKIE

    def environment_host(self, slug: str) -> str:
        """Host (with port) of an environment."""
        return f"{slug}.{self.host}" if self.port == 80 else f"{slug}.{self.host}:{self.port}"

    def environment_url(self, slug: str) -> str:
        """Absolute URL of an environment, without a slash at the end."""
        return f"http://{self.environment_host(slug)}"

    @property
    def sqlalchemy_url(self) -> str:
        """Address of the database for SQLAlchemy's asyncio engines."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite+aiosqlite:///{self.data_dir / 'cmbcluster.db'}"

    @property
    def run_dir(self) -> Path:
        """Folder of sockets and other things that live as long as this process."""
        return self.data_dir / "run"


def load_settings(**overrides: object) -> Settings:
    """The settings in force; raises StartRefused with a readable text for wrong ones."""
    from pydantic import ValidationError

    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as wrong:
        lines = []
        for error in wrong.errors():
            name = PREFIX + str(error["loc"][0]).upper() if error["loc"] else ""
            text = str(error["msg"]).removeprefix("Value error, ")
            lines.append(f"{name}: {text}" if name else text)
        raise StartRefused("The settings cannot be used.\n" + "\n".join(lines)) from wrong


@dataclass(frozen=True)
class SettingLine:
    """One setting as shown to a person. ``value`` is masked when it is a secret."""

    name: str
    value: str
    source: Literal["default", "file", "environment"]
    description: str


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def setting_lines(settings: Settings) -> tuple[SettingLine, ...]:
    """Every setting in force with where its value came from, in the order of the class."""
    in_environment = {name.upper() for name in os.environ}
    in_file = {name.upper() for name, value in dotenv_values(ENV_FILE).items() if value is not None}
    lines = []
    for field, info in Settings.model_fields.items():
        name = PREFIX + field.upper()
        source: Literal["default", "file", "environment"] = "default"
        if name in in_environment:
            source = "environment"
        elif name in in_file:
            source = "file"
        lines.append(SettingLine(name, _shown(getattr(settings, field)), source, info.description or ""))
    return tuple(lines)


def example_file() -> str:
    """The text of ``.env.example``: every setting, commented out, with its default."""
    parts = [
        "# Every setting of CMBCluster with its default. Written by `cmbcluster settings --example`;",
        "# copy to .env and take the # away from what you change. The environment goes before this file.",
    ]
    for field, info in Settings.model_fields.items():
        computed = info.default_factory is not None
        value = "" if computed else _shown(info.default)
        note = " Default: the user data folder of this platform." if field == "data_dir" else ""
        parts += ["", f"# {info.description}{note}", f"# {PREFIX}{field.upper()}={value}"]
    return "\n".join(parts) + "\n"
