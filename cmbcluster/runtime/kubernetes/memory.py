"""How runs ended, remembered after their pods are gone: annotations of the workspace's claim.

A stopped run has to stay known, so that a late order cannot begin it again, and the claim is
the one object that outlives pods. Three runs are kept, the newest with its last lines; whoever
writes one forgets older ones in the same write. What is written must never grow with what a
program prints: an object with too many annotations takes no more, and then nothing can be ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes.names import PREFIX, Json, annotations_of
from cmbcluster.runtime.port import Ending

KEY = PREFIX + "ended-"
KEPT_RUNS = 3
KEPT_LOG_BYTES = 4000
LONGEST_NUMBER = 9  # digits of a run


def note(claim: Mapping[str, Any], generation: int, ending: Ending) -> Json:
    """What is merged into the claim to remember an ending."""
    told = {
        "reason": ending.reason.value,
        "what": ending.what,
        "then": ending.then,
        "log": ending.log_tail.encode()[-KEPT_LOG_BYTES:].decode(errors="ignore"),
        "code": ending.exit_code,
        "at": ending.ended_at.isoformat() if ending.ended_at is not None else None,
    }
    changed: dict[str, str | None] = {f"{KEY}{generation}": json.dumps(told, ensure_ascii=False)}
    known = endings(claim)
    kept = sorted(known.keys() - {generation}, reverse=True)[: KEPT_RUNS - 1]
    for name in annotations_of(claim):
        if name.startswith(KEY) and name not in changed:
            # A merge removes what is null.
            run = next((run for run in kept if name == f"{KEY}{run}"), None)
            changed[name] = None if run is None else _without_log(annotations_of(claim)[name])
    return {"metadata": {"annotations": changed}}


def _without_log(text: str) -> str:
    return json.dumps({**json.loads(text), "log": ""}, ensure_ascii=False)


def forget(claim: Mapping[str, Any]) -> Json | None:
    """What is merged into a claim so that nothing is remembered any more; None when nothing is."""
    kept = [name for name in annotations_of(claim) if name.startswith(KEY)]
    return {"metadata": {"annotations": dict.fromkeys(kept)}} if kept else None


def endings(claim: Mapping[str, Any]) -> dict[int, Ending]:
    """The remembered endings by run."""
    found: dict[int, Ending] = {}
    for name, text in annotations_of(claim).items():
        if name.startswith(KEY):
            number = name.removeprefix(KEY)
            try:
                if len(number) <= LONGEST_NUMBER:
                    found[int(number)] = _read(text)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                # Somebody wrote there by hand; a run of that number has ended in any case.
                continue
    return found


def _read(text: str) -> Ending:
    told = json.loads(text)
    code = told.get("code")
    made = Ending(StopReason(told["reason"]), str(told["what"]), str(told["then"]), str(told.get("log", "")))
    return replace(
        made,
        exit_code=int(code) if code is not None else None,
        ended_at=datetime.fromisoformat(told["at"]) if told.get("at") else None,
    )
