"""The tables. Never imported by ``web``: what leaves the services are the views of ``domain``."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from cmbcluster.db.columns import UtcDateTime, new_id


class User(SQLModel, table=True):
    """A person: (provider, subject) is the identity, the e-mail address is not.

    ``provider`` and ``subject`` are those they first came with; ``identities`` has these too,
    and any that they linked since, and is the table that signing in asks.
    ``role_granted``: an operator gave the role, so no rule of a provider takes it away.
    ``name_chosen``: they named themselves, so no provider renames them.
    """

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("provider", "subject", name="uq_users_provider_subject"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    provider: str = Field(max_length=64)
    subject: str = Field(max_length=255)
    email: str = Field(max_length=320)
    email_verified: bool = False
    name: str = Field(max_length=200)
    name_chosen: bool = False
    role: str = Field(max_length=16)
    role_granted: bool = False
    tier: str = Field(max_length=16)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)


class LinkedIdentity(SQLModel, table=True):
    """One identity of a person at one provider."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("provider", "subject", name="uq_identities_provider_subject"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", index=True)
    provider: str = Field(max_length=64)
    subject: str = Field(max_length=255)
    email: str = Field(default="", max_length=320)
    created_at: datetime = Field(sa_type=UtcDateTime)


class SignInAttempt(SQLModel, table=True):
    """A sign-in on its way: begun here, not yet come back from the provider.

    Only hashes are kept, of what the address and the browser's cookie must bring; nobody who
    reads this table can complete a sign-in. ``link_session_id``: it is to add an identity to
    the person of that session.
    """

    __tablename__ = "sign_in_attempts"

    state_sha256: str = Field(primary_key=True, max_length=64)
    browser_sha256: str = Field(max_length=64)
    provider: str = Field(max_length=64)
    next_path: str = Field(default="/", max_length=2000)
    link_session_id: UUID | None = None
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Session(SQLModel, table=True):
    """A sign-in. The row is the only authority; the browser holds a signed token that names it.

    ``serial`` counts the tokens made for it: an expired one is renewed only when it is the
    newest, so that a copy of an older one gives itself away. ``serial_seen`` says whether the
    newest has come back from the browser yet.
    """

    __tablename__ = "sessions"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", index=True)
    serial: int = 1
    serial_seen: bool = False
    serial_made_at: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    last_seen_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    browser: str = Field(default="", max_length=120)
    address: str = Field(default="", max_length=64)


class Application(SQLModel, table=True):
    """An entry of the catalogue. ``edited_at`` set: an admin changed it, the seed stays away."""

    __tablename__ = "applications"

    id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=100)
    category: str = Field(max_length=40)
    summary: str = Field(max_length=300)
    icon: str = Field(max_length=40)
    position: int
    enabled: bool = True
    size: str = Field(max_length=20)
    needs_keys: list[str] = Field(sa_column=Column(JSON, nullable=False))
    source: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    program: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    image: str = Field(default="", max_length=500)
    seed_digest: str = Field(max_length=64)
    edited_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class PackageLock(SQLModel, table=True):
    """A resolved source. Its digest is to it what an image digest is to an image."""

    __tablename__ = "package_locks"

    digest: str = Field(primary_key=True, max_length=80)
    python: str = Field(max_length=20)
    packages: int
    text: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)


class Environment(SQLModel, table=True):
    """One person's instance of an application.

    Services write what is wanted (``desired``, ``generation``, ``run``, ``extra_seconds``)
    and put a row into *queued*; every other phase is the controller's. ``run`` counts the
    starts and names everything a runtime makes; ``restarts`` counts those since the person's
    own last one that the controller made because a cluster took a run away. ``lock_digest`` or ``image`` is what its
    source was resolved to, whichever the source is.
    """

    __tablename__ = "environments"
    __table_args__ = (
        Index(
            "uq_environments_owner_name",
            "owner_id",
            "name",
            unique=True,
            sqlite_where=text("gone_at IS NULL"),
            postgresql_where=text("gone_at IS NULL"),
        ),
        Index("ix_environments_owner_asked", "owner_id", "asked_at"),
        Index("ix_environments_phase", "phase"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    owner_id: UUID = Field(foreign_key="users.id")
    name: str = Field(max_length=63)
    slug: str = Field(max_length=63, unique=True)
    application_id: str = Field(foreign_key="applications.id")
    source: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    program: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    lock_digest: str | None = Field(default=None, foreign_key="package_locks.digest")
    image: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    cpu_millis: int
    memory_bytes: int = Field(sa_type=BigInteger)
    processes: int
    workspace_bytes: int = Field(sa_type=BigInteger)
    uptime_seconds: int
    created_at: datetime = Field(sa_type=UtcDateTime)

    desired: str = Field(max_length=16)
    generation: int = 1
    run: int = 1
    asked_at: datetime = Field(sa_type=UtcDateTime)
    extra_seconds: int = 0
    extensions_used: int = 0
    restarts: int = 0
    stop_reason: str = Field(default="", max_length=32)
    remove_workspace: bool = False
    operation_id: str = Field(default="", max_length=64)

    phase: str = Field(max_length=16)
    phase_since: datetime = Field(sa_type=UtcDateTime)
    observed_generation: int = 0
    reason_code: str = Field(default="", max_length=32)
    reason_what: str = Field(default="", max_length=500)
    reason_then: str = Field(default="", max_length=500)
    reason_log_tail: str = Field(default="", sa_column=Column(Text, nullable=False))
    endpoint_host: str = Field(default="", max_length=255)
    endpoint_port: int = 0
    running_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_seen_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    protection: dict[str, str] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    measured_bytes: int | None = Field(default=None, sa_type=BigInteger)
    measured_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    gone_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LaunchStage(SQLModel, table=True):
    """One measured stage of one run."""

    __tablename__ = "launch_stages"
    __table_args__ = (
        UniqueConstraint("environment_id", "run", "stage", name="uq_launch_stages_run_stage"),
        Index("ix_launch_stages_application_started", "application_id", "started_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    environment_id: UUID = Field(foreign_key="environments.id")
    application_id: str = Field(max_length=64)
    run: int
    stage: str = Field(max_length=20)
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    done: int = Field(default=0, sa_type=BigInteger)
    total: int | None = Field(default=None, sa_type=BigInteger)
    unit: str = Field(default="", max_length=16)
    detail: str = Field(default="", max_length=300)
    failed: bool = False


class Activity(SQLModel, table=True):
    """What was done by or to a person. Rows are only ever added."""

    __tablename__ = "activity"
    __table_args__ = (Index("ix_activity_owner_at", "owner_id", "at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
    owner_id: UUID = Field(foreign_key="users.id")
    actor_id: UUID | None = Field(default=None, foreign_key="users.id")
    actor_name: str = Field(default="", max_length=200)
    kind: str = Field(max_length=32)
    environment_id: UUID | None = Field(default=None, foreign_key="environments.id", index=True)
    environment_name: str = Field(default="", max_length=63)
    detail: str = Field(default="", max_length=500)
    result: str = Field(default="ok", max_length=16)
    address: str = Field(default="", max_length=64)
    operation_id: str = Field(default="", max_length=64)


class Notice(SQLModel, table=True):
    """Something a person is told. ``once`` makes repeating it impossible."""

    __tablename__ = "notices"
    __table_args__ = (Index("ix_notices_user_at", "user_id", "at"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id")
    at: datetime = Field(sa_type=UtcDateTime)
    kind: str = Field(max_length=32)
    environment_id: UUID | None = Field(default=None, foreign_key="environments.id")
    environment_name: str = Field(default="", max_length=63)
    text: str = Field(max_length=500)
    read_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    once: str = Field(max_length=200, unique=True)


class Share(SQLModel, table=True):
    """Somebody who may open an environment of somebody else."""

    __tablename__ = "shares"

    environment_id: UUID = Field(foreign_key="environments.id", primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", primary_key=True, index=True)
    created_at: datetime = Field(sa_type=UtcDateTime)


class GateCode(SQLModel, table=True):
    """A one-time code that opens one environment for one session."""

    __tablename__ = "gate_codes"

    code_sha256: str = Field(primary_key=True, max_length=64)
    session_id: UUID = Field(foreign_key="sessions.id")
    environment_id: UUID = Field(foreign_key="environments.id")
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class ApiToken(SQLModel, table=True):
    """A personal token of a script. Only its hash and its first characters are kept.

    ``expires_at`` None: it works until it is revoked.
    """

    __tablename__ = "api_tokens"

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id", index=True)
    name: str = Field(max_length=80)
    token_prefix: str = Field(max_length=16)
    token_sha256: str = Field(max_length=64, unique=True)
    scopes: list[str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class LaunchKey(SQLModel, table=True):
    """A launch that a script may ask for again without launching twice."""

    __tablename__ = "launch_keys"

    user_id: UUID = Field(foreign_key="users.id", primary_key=True)
    key: str = Field(primary_key=True, max_length=200)
    order_sha256: str = Field(max_length=64)
    environment_id: UUID = Field(foreign_key="environments.id")
    created_at: datetime = Field(sa_type=UtcDateTime)


class Lease(SQLModel, table=True):
    """Who does something that one process alone need do, until when. Each change of hands raises ``epoch``."""

    __tablename__ = "leases"

    name: str = Field(primary_key=True, max_length=64)
    holder: str = Field(max_length=120)
    epoch: int = Field(sa_type=BigInteger)
    expires_at: datetime = Field(sa_type=UtcDateTime)


class RegistryAccount(SQLModel, table=True):
    """A person's account at a registry of images. ``sealed`` is the encrypted password or token."""

    __tablename__ = "registry_accounts"
    __table_args__ = (UniqueConstraint("user_id", "host", name="uq_registry_accounts_user_host"),)

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID = Field(foreign_key="users.id")
    host: str = Field(max_length=255)
    username: str = Field(max_length=255)
    sealed: str = Field(sa_column=Column(Text, nullable=False))
    created_at: datetime = Field(sa_type=UtcDateTime)
