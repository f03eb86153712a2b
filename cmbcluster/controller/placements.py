"""Where a cluster puts environments, by the tier of their owner and by application, as its operator wrote it down.

Labels, taints and classes are a cluster's own, so they are in a file of the operator's and not
in the catalogue, which is the same everywhere. What an application says goes before what a tier
says. This module must never decide who may launch what.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cmbcluster.domain.actors import Tier
from cmbcluster.errors import StartRefused
from cmbcluster.runtime.port import Placement, Toleration

MIB = 1024**2
_PREFIX = r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?"
Label = Annotated[str, Field(pattern=rf"^{_PREFIX}[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")]
ClassName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class _Strict(BaseModel):
    """No unknown field, no silent conversion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WrittenToleration(_Strict):
    """A taint that is accepted; without a value, every value of that key."""

    key: Label
    value: LabelValue = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class WrittenPlacement(_Strict):
    """What is said of one tier or application. What is left out is as without it."""

    node_selector: dict[Label, LabelValue] = {}
    tolerations: list[WrittenToleration] = []
    gpus: Annotated[int, Field(ge=0, le=16)] | None = None
    gpu_resource: Label | None = None
    priority_class: ClassName | None = None
    storage_class: ClassName | None = None
    ephemeral_bytes: Annotated[int, Field(ge=128 * MIB)] | None = None
    root_is_writable: bool | None = None


class Written(_Strict):
    """The whole file."""

    tiers: dict[Literal["free", "premium"], WrittenPlacement] = {}
    applications: dict[Annotated[str, Field(min_length=1, max_length=64)], WrittenPlacement] = {}


@dataclass(frozen=True)
class Placements:
    """The rules of one platform."""

    offline_tiers: frozenset[str] = frozenset()
    written: Written = Written()

    @property
    def asks_for_tiers(self) -> bool:
        """Whether it matters which tier somebody has."""
        return bool(self.offline_tiers or self.written.tiers)

    def of(self, application_id: str, tier: Tier | None) -> Placement:
        """Where an environment of that application goes; ``tier`` is None where it does not matter."""
        said: list[WrittenPlacement] = []
        if tier is not None and tier.value in self.written.tiers:
            said.append(self.written.tiers[tier.value])
        if application_id in self.written.applications:
            said.append(self.written.applications[application_id])
        selector: dict[str, str] = {}
        tolerations: dict[Toleration, None] = {}
        others: dict[str, object] = {}
        for each in said:
            selector |= each.node_selector
            tolerations |= {Toleration(one.key, one.value, one.effect): None for one in each.tolerations}
            others |= each.model_dump(exclude={"node_selector", "tolerations"}, exclude_none=True)
        return Placement(
            node_selector=tuple(selector.items()),
            tolerations=tuple(tolerations),
            internet=tier is None or tier.value not in self.offline_tiers,
            **others,  # type: ignore[arg-type]
        )


def read_placements(path: Path | None, offline_tiers: tuple[str, ...] = ()) -> Placements:
    """The rules of a file, or none. Raises StartRefused naming the file, the field and what is wrong."""
    if path is None:
        return Placements(frozenset(offline_tiers))
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as wrong:
        raise StartRefused(f"The rules of where environments run, {path}, cannot be read: {wrong}") from wrong
    try:
        written = Written.model_validate(data if data is not None else {})
    except ValidationError as wrong:
        lines = [f"{path}, {'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}." for each in wrong.errors()]
        raise StartRefused("\n".join(lines)) from wrong
    return Placements(frozenset(offline_tiers), written)
