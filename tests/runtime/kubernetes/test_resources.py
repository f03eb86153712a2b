"""What a cluster counts, in people's words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.domain.lifecycle import StopReason
from cmbcluster.runtime.kubernetes import hopeless, resources
from cmbcluster.runtime.kubernetes.hopeless import Verdict
from cmbcluster.runtime.kubernetes.hopeless_rules import ASK_OPERATOR, PASSED_ON_LENGTH

SHARE = "The platform's share of the cluster is"


def refused(message: str) -> Verdict:
    return hopeless.of_refusal(message, datetime.now(UTC))


def over(requested: str, used: str, limited: str, kind: str = 'pods "env-a"') -> Verdict:
    said = f"exceeded quota: small, requested: {requested}, used: {used}, limited: {limited}"
    return refused(f"{kind} is forbidden: {said}")


@pytest.mark.parametrize(
    ("requested", "used", "limited", "what"),
    [
        (
            "requests.memory=134217728", "requests.memory=0", "requests.memory=64Mi",
            f"It asked for 128 MiB of memory. {SHARE} 64 MiB of memory, and nothing is in use.",
        ),
        (
            "limits.memory=4Gi", "limits.memory=30Gi", "limits.memory=32Gi",
            f"It asked for 4 GiB of memory. {SHARE} 32 GiB of memory, and 30 GiB are in use.",
        ),
        (
            "memory=4Gi", "memory=32212254720000m", "memory=32Gi",
            f"It asked for 4 GiB of memory. {SHARE} 32 GiB of memory, and 30 GiB are in use.",
        ),
        (
            "requests.cpu=500m", "requests.cpu=3750m", "requests.cpu=4",
            f"It asked for 0.5 processors. {SHARE} 4 processors, and 3.75 are in use.",
        ),
        (
            "limits.cpu=1", "limits.cpu=1", "limits.cpu=1",
            f"It asked for 1 processor. {SHARE} 1 processor, and 1 is in use.",
        ),
        (
            "requests.ephemeral-storage=1Gi", "requests.ephemeral-storage=1Gi", "requests.ephemeral-storage=1Gi",
            f"It asked for 1 GiB of temporary storage. {SHARE} 1 GiB of temporary storage, and 1 GiB are in use.",
        ),
        ("pods=1", "pods=5", "pods=5", f"It asked for 1 environment. {SHARE} 5 environments, and 5 are in use."),
        (
            "requests.nvidia.com/gpu=2", "requests.nvidia.com/gpu=7", "requests.nvidia.com/gpu=8",
            f"It asked for 2 GPUs. {SHARE} 8 GPUs, and 7 are in use.",
        ),
        (
            "count/secrets=1", "count/secrets=9", "count/secrets=9",
            f"It asked for 1 of count/secrets. {SHARE} 9 of count/secrets, and 9 are in use.",
        ),
        # The first that is exceeded, of several.
        (
            "limits.cpu=1,requests.memory=2Gi", "limits.cpu=2,requests.memory=3Gi", "limits.cpu=4,requests.memory=4Gi",
            f"It asked for 2 GiB of memory. {SHARE} 4 GiB of memory, and 3 GiB are in use.",
        ),
        ("wat", "a", "b", f"It asked for wat. {SHARE} b, and a are in use."),
    ],
)  # fmt: skip
def test_quotas(requested: str, used: str, limited: str, what: str) -> None:
    verdict = over(requested, used, limited)
    assert (verdict.reason, verdict.what) == (StopReason.QUOTA, what)


@pytest.mark.parametrize(
    ("counted", "what"),
    [
        (
            "persistentvolumeclaims={}",
            f"It asked for 1 workspace. {SHARE} 3 workspaces, and 3 are in use.",
        ),
        (
            "requests.storage={}Gi",
            f"It asked for 1 GiB of storage. {SHARE} 3 GiB of storage, and 3 GiB are in use.",
        ),
        (
            "fast.storageclass.storage.k8s.io/requests.storage={}Gi",
            f"It asked for 1 GiB of storage. {SHARE} 3 GiB of storage, and 3 GiB are in use.",
        ),
    ],
)
def test_a_workspace_that_is_too_many_is_helped_by_deleting_one_and_not_by_stopping(counted: str, what: str) -> None:
    verdict = over(counted.format(1), counted.format(3), counted.format(3), kind='persistentvolumeclaims "workspace-a"')
    assert (verdict.rule, verdict.what) == ("quota-workspaces", what)
    assert verdict.then.startswith("Delete an environment with its workspace")


def test_what_is_too_many_is_not_helped_by_a_smaller_size() -> None:
    for counted in ("pods", "count/pods"):
        verdict = over(f"{counted}=1", f"{counted}=5", f"{counted}=5")
        assert (verdict.rule, verdict.then) == ("quota-environments", "Stop another environment, then start it again.")
    assert over("requests.memory=2Gi", "requests.memory=2Gi", "requests.memory=3Gi").rule == "quota"


def test_a_quota_of_something_that_is_not_told() -> None:
    said = "must specify limits.cpu for: program; limits.memory for: packages,program"
    verdict = refused(f'pods "env-a" is forbidden: failed quota: small: {said}')
    assert (verdict.rule, verdict.then) == ("quota-untold", ASK_OPERATOR)
    assert "counts processor time and memory, and the platform does not say" in verdict.what
    # As older clusters write it.
    said = 'pods "env-a" is forbidden: failed quota: small: must specify limits.cpu,limits.memory'
    assert "counts processor time and memory, and" in refused(said).what


def test_limits_of_one_environment() -> None:
    said = 'pods "env-a" is forbidden: maximum memory usage per Container is 64Mi, but limit is 134217728'
    assert refused(said).what == "The cluster sets a limit of 64 MiB of memory for one environment."
    said = 'pods "env-a" is forbidden: [maximum cpu usage per Pod is 1500m, but limit is 2, minimum memory is 1]'
    assert refused(said).what == "The cluster sets a limit of 1.5 processors for one environment."
    said = 'persistentvolumeclaims "a" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but x'
    assert refused(said).what == "The cluster sets a limit of 1 GiB of storage for one environment."


@pytest.mark.parametrize(
    "said",
    [
        'admission webhook "validate.example.org" denied the request: {}',
        "pods \"env-a\" is forbidden: ValidatingAdmissionPolicy 'costs' with binding 'all' denied request: {}",
    ],
)
def test_what_a_rule_of_the_cluster_says_is_passed_on(said: str) -> None:
    verdict = refused(said.format("  name a\n cost centre, {0} "))
    assert (verdict.rule, verdict.reason, verdict.then) == ("admission", StopReason.REFUSED, ASK_OPERATOR)
    assert verdict.what == "A rule of this cluster forbids it: name a cost centre, {0}."
    assert refused(said.format("Not here!")).what == "A rule of this cluster forbids it: Not here!"
    # It may speak of what other rules know.
    assert refused(said.format("exceeded quota: a, requested: b, used: c, limited: d")).rule == "admission"
    long = refused(said.format("x" * 900)).what
    assert long == f"A rule of this cluster forbids it: {'x' * PASSED_ON_LENGTH}…"


def test_a_webhook_that_says_nothing_is_a_refusal_like_others() -> None:
    assert refused('admission webhook "a" denied the request without explanation').rule == "refused"


@given(
    st.dictionaries(
        st.sampled_from(("requests.memory", "limits.cpu", "pods", "requests.nvidia.com/gpu", "requests.storage")),
        st.tuples(*[st.integers(0, 2**40)] * 3),
        min_size=1,
    )
)
def test_what_is_told_is_always_of_one_resource_that_is_exceeded(counts: dict[str, tuple[int, int, int]]) -> None:
    requested, used, hard = (",".join(f"{name}={three[i]}" for name, three in counts.items()) for i in range(3))
    first = next((name for name, (new, old, most) in counts.items() if new + old > most), next(iter(counts)))
    asked, share, _ = resources.of_quota((requested, used, hard))
    assert (asked, share) == (resources.said(first, counts[first][0]), resources.said(first, counts[first][2]))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("cpu", 0.001, "0.001 processors"), ("cpu", 0.25, "0.25 processors"), ("cpu", 3.999, "4 processors")],
)
def test_small_amounts_stay_something(name: str, value: float, words: str) -> None:
    assert resources.said(name, value) == words
