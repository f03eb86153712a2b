"""Every setting of the platform: typed, described, with its unit in its name.

Read from the environment (prefix ``CMB_``), then from a ``.env`` file in the working
directory, then the default. No other module of the platform reads the environment for
choices of ours; the client of the command line has two of its own.
This module must never import another of ours but ``errors`` and those of single parts' settings.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import NoDecode, SettingsConfigDict

from cmbcluster.cluster_settings import ClusterSettings
from cmbcluster.database_settings import SQLITE, is_postgresql, sqlalchemy_address
from cmbcluster.errors import StartRefused
from cmbcluster.image_settings import ImageSettings
from cmbcluster.provider_settings import ProviderSettings, google
from cmbcluster.role_settings import RoleSettings
from cmbcluster.setting_addresses import USUAL_PORTS, is_local, is_loopback, public_address, redis_address

PREFIX = "CMB_"
ENV_FILE = ".env"
HOST_PATTERN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"
SESSION_COOKIE = "cmb_session"
SYSTEM_DATA_DIR = Path("/var/lib/cmbcluster")
# Written with commas, as a person writes them, instead of as JSON.
Words = Annotated[tuple[str, ...], NoDecode]


def default_data_dir() -> Path:
    """The platform's user data directory, or the system's when root runs us.

    Environments of a root-run platform belong to an unprivileged account, which cannot
    pass through root's home.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return SYSTEM_DATA_DIR
    return Path(platformdirs.user_data_dir("cmbcluster", appauthor=False))


class Settings(RoleSettings, ImageSettings, ClusterSettings):
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
    public_url: str = Field(
        "",
        validate_default=True,
        description="Address of the dashboard as browsers see it, such as https://cmb.example.org behind a proxy "
        "that ends TLS; empty means host and port of the edge.",
    )
    trusted_proxy_hops: int = Field(
        0,
        ge=0,
        le=10,
        description="How many proxies of yours stand in front of the edge; that many addresses they forward are "
        "believed.",
    )
    identity: Literal["development", "oidc", "elsewhere"] = Field(
        "development",
        description="How people sign in. 'development' offers test people and works on loopback only; 'oidc' is "
        "OpenID Connect, and in force by itself as soon as a provider is set; 'elsewhere' is for processes that sign "
        "nobody in and need no secrets of providers: gate, controller and edge.",
    )
    google_client_id: str = Field("", description="Client id from the Google Cloud console: adds sign-in with Google.")
    google_client_secret: SecretStr | None = Field(None, description="Client secret that belongs to it.")
    google_domains: Words = Field(
        (),
        description="Google Workspace domains whose people may enter, with commas; empty lets in everybody with a "
        "Google account.",
    )
    oidc_providers: Annotated[tuple[ProviderSettings, ...], NoDecode] = Field(
        (), description="Further OpenID Connect providers, as a JSON list; docs/sign-in.md has examples."
    )
    oidc_wait_seconds: float = Field(
        10.0, ge=0.2, le=60, description="Longest wait for an identity provider before a sign-in is given up."
    )
    admins: Words = Field(
        (),
        description="E-mail addresses, with commas, that make an admin of whoever signs in with one that the provider "
        "has verified.",
    )
    contact: str = Field("", description="Who somebody should ask that may not enter: a name, an address, or both.")
    runtime: Literal["local", "kubernetes"] = Field(
        "local", description="What runs environments: processes of this machine, or pods of a Kubernetes cluster."
    )
    database_url: SecretStr | None = Field(
        None,
        description="Address of PostgreSQL, as postgresql://user:password@host/database; empty means a SQLite file.",
    )
    database_connections_at_once: int = Field(
        20, ge=2, le=500, description="Connections to PostgreSQL that one process opens at most."
    )
    database_wait_seconds: float = Field(
        5.0, ge=0.1, le=60, description="Longest wait for a free connection to PostgreSQL, and for a new one."
    )
    token_keys_file: Path | None = Field(
        None, description="File of the keys that sign sessions, for replicas; never written. Empty: one is made."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Address of the Redis that replicas share, such as redis://:password@host:6379/0, or rediss:// "
        "over TLS; empty keeps rings, counts and page states in this process.",
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="Log lines: colours on a terminal, else JSON, one line an event."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    session_idle_seconds: int = Field(1800, ge=20, description="A session ends after this long without activity.")
    session_absolute_seconds: int = Field(43200, ge=300, description="A session ends after this long in any case.")
    session_renewal_seconds: int = Field(
        600, ge=60, le=3600, description="Life of the signed token in the browser's cookie; it is renewed in silence."
    )
    session_cache_seconds: float = Field(
        2.0, ge=0, le=10, description="How long an answer about a session may be reused."
    )
    sign_in_again_seconds: int = Field(
        2_592_000,
        ge=0,
        description="Personal tokens rest when their person has not signed in at a provider for this long, and work "
        "again after the next sign-in; 0 means never. Test people are exempt.",
    )
    sign_ins_per_minute: int = Field(
        60, ge=1, le=100_000, description="How often one address may try to sign in within a minute."
    )
    api_requests_per_minute: int = Field(
        600, ge=1, le=10_000_000, description="How often one person may ask the API within a minute."
    )
    sockets_per_minute: int = Field(
        600, ge=1, le=1_000_000, description="How often one address may open a page's socket within a minute."
    )
    sockets_of_address_at_once: int = Field(
        200, ge=1, le=100_000, description="Sockets of pages that one address may hold open, in each replica."
    )
    sockets_of_session_at_once: int = Field(
        40, ge=1, le=10_000, description="Sockets of pages that one sign-in may hold open, in each replica."
    )
    gate_code_seconds: int = Field(60, ge=5, le=300, description="Life of the one-time code that opens an environment.")
    environment_cookie_seconds: int = Field(
        43200, ge=300, description="Longest life of the cookie of one environment's own host."
    )
    sweep_seconds: float = Field(
        30.0, ge=0.05, description="How often every environment is looked at, even without a ring."
    )
    controller_workers: int = Field(8, ge=1, le=64, description="Environments the controller works on at once.")
    controller_lease_seconds: float = Field(
        15.0, ge=0.2, le=300, description="With PostgreSQL: how long after a controller's last sign another takes over."
    )
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

    @field_validator("data_dir", "token_keys_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """One folder has one name: the database's address and the lock are made from it."""
        return None if value is None else Path(os.path.abspath(value.expanduser()))

    @field_validator("database_url")
    @classmethod
    def _database_we_know(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(sqlalchemy_address(value.get_secret_value()))

    @field_validator("public_url")
    @classmethod
    def _of_the_edge(cls, value: str, info: ValidationInfo) -> str:
        """Without an address of its own the dashboard is where the edge listens."""
        if value or not {"host", "port"} <= info.data.keys():
            return value
        host, port = info.data["host"], info.data["port"]
        return f"http://{host}" if port == USUAL_PORTS["http"] else f"http://{host}:{port}"

    @field_validator("redis_url")
    @classmethod
    def _of_a_redis(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is None else SecretStr(redis_address(value.get_secret_value()))

    @field_validator("google_domains", "admins", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @field_validator("oidc_providers", mode="before")
    @classmethod
    def _providers_from_json(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError as wrong:
            # Its own text would repeat what was written, and secrets are in it.
            raise ValueError(f"this is not JSON, from line {wrong.lineno}, character {wrong.colno} on") from None

    @model_validator(mode="before")
    @classmethod
    def _what_follows(cls, data: dict[str, Any]) -> dict[str, Any]:
        """Settings that others imply: a provider means OpenID Connect, a public URL names the host."""
        data = dict(data)
        if "identity" not in data and (data.get("google_client_id") or data.get("oidc_providers")):
            data["identity"] = "oidc"
        if url := str(data.get("public_url") or "").strip().rstrip("/"):
            data["public_url"], host = public_address(url)
            if data.get("host") not in (None, "", host):
                raise ValueError("CMB_HOST and CMB_PUBLIC_URL name different hosts. Set only one of them.")
            data["host"] = host
        return data

    @model_validator(mode="after")
    def _providers_fit(self) -> Settings:
        if self.identity == "elsewhere":
            return self
        if bool(self.google_client_id) != (self.google_client_secret is not None):
            raise ValueError("CMB_GOOGLE_CLIENT_ID and CMB_GOOGLE_CLIENT_SECRET belong together. Set both or neither.")
        ids = [provider.id for provider in self.providers]
        if len(set(ids)) < len(ids):
            raise ValueError("CMB_OIDC_PROVIDERS: two providers have the same id. Give each its own.")
        if self.identity == "oidc" and not ids:
            raise ValueError(
                "CMB_IDENTITY=oidc has no provider to ask. Set CMB_GOOGLE_CLIENT_ID and CMB_GOOGLE_CLIENT_SECRET, or "
                "CMB_OIDC_PROVIDERS."
            )
        return self

    @model_validator(mode="after")
    def _development_stays_on_loopback(self) -> Settings:
        if self.identity == "development" and not self.on_loopback:
            raise ValueError(
                f"CMB_IDENTITY=development lets anybody in, so it works on loopback only, and CMB_BIND_ADDRESS is "
                f"{self.bind_address}. Set CMB_BIND_ADDRESS=127.0.0.1."
            )
        if self.identity == "development" and "public_url" in self.model_fields_set and not is_local(self.host):
            raise ValueError(
                f"CMB_IDENTITY=development lets anybody in, and CMB_PUBLIC_URL says that others come through "
                f"{self.public_url}. Set a provider, or take CMB_PUBLIC_URL away."
            )
        return self

    @model_validator(mode="after")
    def _a_cluster_has_an_image(self) -> Settings:
        if self.runtime == "kubernetes" and not self.workspace_image:
            raise ValueError(
                "CMB_RUNTIME=kubernetes needs an image that Python packages run on. Set CMB_WORKSPACE_IMAGE to one "
                "built from deploy/images/workspace."
            )
        return self

    @property
    def on_loopback(self) -> bool:
        """Whether the edge can be reached from this machine alone."""
        return self.bind_address == "localhost" or is_loopback(self.bind_address)

    @property
    def providers(self) -> tuple[ProviderSettings, ...]:
        """Every identity provider, in the order of the buttons."""
        if not self.google_client_id or self.google_client_secret is None:
            return self.oidc_providers
        return (
            google(self.google_client_id, self.google_client_secret, self.google_domains),
            *self.oidc_providers,
        )

    @property
    def over_tls(self) -> bool:
        """Whether browsers reach us by https, so that cookies may insist on it."""
        return self.public_url.startswith("https:")

    @property
    def session_cookie(self) -> str:
        """Name of the dashboard's cookie. Browsers let nobody but this very host set the strict one."""
        return f"__Host-{SESSION_COOKIE}" if self.public_url.startswith("https:") else SESSION_COOKIE

    def environment_host(self, slug: str) -> str:
        """Host (with port) of an environment."""
        return f"{slug}.{self.public_url.partition('://')[2]}"

    def environment_url(self, slug: str) -> str:
        """Absolute URL of an environment, without a slash at the end."""
        scheme, separator, host = self.public_url.partition("://")
        return f"{scheme}{separator}{slug}.{host}"

    @property
    def sqlalchemy_url(self) -> str:
        """Address of the database for SQLAlchemy's asyncio engines."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"{SQLITE}:///{self.data_dir / 'cmbcluster.db'}"

    @property
    def on_postgresql(self) -> bool:
        """Whether there is a database that several replicas may share."""
        return is_postgresql(self.sqlalchemy_url)

    @property
    def sealing_keys_path(self) -> Path:
        """The file of the keys that encrypt what people entrust to us."""
        return self.sealing_keys_file or self.data_dir / "keys" / "secrets.json"

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
            place = [str(part) for part in error["loc"]]
            name = PREFIX + place[0].upper() if place else ""
            if len(place) > 1:
                name += f" ({'.'.join(place[1:])})"
            text = _sentence(error)
            lines.append(f"{name}: {text}" if name else text)
        raise StartRefused("The settings cannot be used.\n" + "\n".join(lines)) from wrong


def _sentence(error: ErrorDetails) -> str:
    """What is wrong with a value and what would be right, for the person who wrote it."""
    limits = error.get("ctx", {})
    kind = error["type"]
    if kind in ("int_parsing", "int_type", "int_from_float"):
        return "This is not a whole number. Write one, such as 8200."
    if kind in ("float_parsing", "float_type"):
        return "This is not a number. Write one, such as 2.5."
    if kind == "greater_than_equal":
        return f"This is too small. Set it to {limits['ge']:g} or more."
    if kind == "less_than_equal":
        return f"This is too large. Set it to {limits['le']:g} or less."
    if kind == "literal_error":
        return f"There is no such choice. Set it to {limits['expected']}."
    return str(error["msg"]).removeprefix("Value error, ")
