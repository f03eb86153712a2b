"""What a pod uses, by the cluster's own metrics. They are some seconds old, and say so."""

from __future__ import annotations

from datetime import UTC, datetime

from cmbcluster.domain.views import UsageView
from cmbcluster.runtime.kubernetes import status
from cmbcluster.runtime.kubernetes.names import Json
from cmbcluster.runtime.kubernetes.quantities import amount


def usage_of(metrics: Json | None) -> UsageView:
    """The figures of one pod; all None when the cluster has not measured it (yet), or measures nothing."""
    containers = (metrics or {}).get("containers") or ()
    if metrics is None or not containers:
        return UsageView(datetime.now(UTC), None, None, None, None, None)
    cpu = sum(amount(each["usage"].get("cpu")) or 0.0 for each in containers)
    memory = sum(amount(each["usage"].get("memory")) or 0.0 for each in containers)
    return UsageView(
        measured_at=status.moment(metrics.get("timestamp")) or datetime.now(UTC),
        cpu_millis=round(cpu * 1000, 1),
        memory_bytes=int(memory),
        processes=None,
        received_bytes=None,
        sent_bytes=None,
    )
