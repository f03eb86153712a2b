"""What a cluster says of images it cannot pull, whatever the images are called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.runtime.kubernetes import hopeless, manifests
from cmbcluster.runtime.kubernetes.hopeless import Verdict
from tests.runtime.kubernetes.specs import GROUND, image_spec

T0 = datetime(2026, 1, 1, tzinfo=UTC)
PULL = 'failed to pull and unpack image "{0}": failed to resolve reference "{0}": '
ASKED = "https://{1}/v2/{2}/manifests/1"
REQUEST = PULL + 'failed to do request: Head "' + ASKED + '": '
# By containerd unless it says otherwise; {0} is the reference, {1} its host, {2} the rest of its name.
SAID = {
    "image-too-often": [
        PULL + "unexpected status from HEAD request to " + ASKED + ": 429 Too Many Requests",
        'failed to pull and unpack image "{0}": failed to copy: httpReadSeeker: failed open: unexpected status code '
        + ASKED
        + ": 429 Too Many Requests - Server message: toomanyrequests: You have reached your unauthenticated pull rate "
        "limit. https://www.docker.com/increase-rate-limit",
        # CRI-O
        "reading manifest 1 in {1}/{2}: toomanyrequests: You have reached your pull rate limit.",
    ],
    "image-registry-unnamed": [
        REQUEST + "dial tcp: lookup {1} on 10.96.0.10:53: no such host",
        REQUEST + "dial tcp: lookup {1}: no such host",
        REQUEST + "dial tcp: lookup {1} on 10.96.0.10:53: server misbehaving",
        REQUEST + "dial tcp: lookup {1} on 127.0.0.1:53: read udp 127.0.0.1:429->127.0.0.1:53: connection refused",
        REQUEST + "dial tcp: lookup {1}: Temporary failure in name resolution",
    ],
    "image-registry-untrusted": [
        REQUEST + "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        REQUEST + "x509: certificate is valid for unauthorized.example.org, not {1}",
        REQUEST + "x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after 2025",
    ],
    "image-registry-insecure": [REQUEST + "http: server gave HTTP response to HTTPS client"],
    "image-refused": [
        PULL + "unexpected status from HEAD request to " + ASKED + ": 401 Unauthorized",
        PULL + "failed to authorize: failed to fetch oauth token: unexpected status: 403 Forbidden",
        PULL + "pull access denied, repository does not exist or may require authorization: server message: "
        "insufficient_scope: authorization failed",
        "reading manifest 1 in {1}/{2}: unauthorized: authentication required",
        "reading manifest 1 in {1}/{2}: errors:\ndenied: requested access to the resource is denied\n",
        # Google's
        PULL + 'denied: Permission "artifactregistry.repositories.downloadArtifacts" denied on resource "projects/x"',
        'initializing source docker://{0}: {{"errors":[{{"code":"UNAUTHORIZED","message":"not allowed"}}]}}',
    ],
    "image-unknown": [
        PULL + "{0}: not found",
        'rpc error: code = NotFound desc = failed to pull and unpack image "{0}": no such thing',
        "reading manifest 1 in {1}/{2}: manifest unknown",
        PULL + "unexpected status from GET request to " + ASKED + ": 404 Not Found",
    ],
    "image-registry-fails": [
        PULL + "unexpected status from HEAD request to " + ASKED + ": 503 Service Unavailable",
        "reading manifest 1 in {1}/{2}: received unexpected HTTP status: 500 Internal Server Error",
        PULL + "unexpected status from HEAD request to " + ASKED + ": 418 I'm a teapot",
    ],
    "image-unreachable": [
        REQUEST + "dial tcp 10.0.0.9:503: connect: connection refused",
        REQUEST + "dial tcp [fd00::9]:429: i/o timeout",
        REQUEST + "dial tcp 10.0.0.9:443: connect: no route to host",
        REQUEST + "net/http: TLS handshake timeout",
        REQUEST + "EOF",
        # Docker, and CRI-O
        'Error response from daemon: Get "https://{1}/v2/": net/http: request canceled while waiting for connection '
        "(Client.Timeout exceeded while awaiting headers)",
        'pinging container registry {1}: Get "https://{1}/v2/": dial tcp 10.0.0.9:443: connect: connection refused',
    ],
    "image-no-space": [
        'failed to pull and unpack image "{0}": failed to extract layer sha256:' + "ab" * 32 + ": write "
        "/var/lib/containerd/denied/x: no space left on device: unknown",
    ],
    "image-platform": [
        'failed to pull and unpack image "{0}": no match for platform in manifest sha256:' + "ab" * 32 + ": not found",
    ],
    "image-other": [
        'failed to pull and unpack image "{0}": failed to extract layer sha256:' + "ab" * 32 + ": mkdir /x: "
        "permission denied",
        'failed to pull and unpack image "{0}": failed to extract layer sha256:1: unexpected EOF: unknown',
        REQUEST + "remote error: tls: handshake failure",
        'failed to pull and unpack image "{0}": failed commit on ref "layer-sha256:1": unexpected commit digest',
        "",
    ],
}  # fmt: skip
EACH = [(rule, said) for rule, messages in SAID.items() for said in messages]
WORDS = (
    "denied", "unauthorized", "not-found", "notfound", "x509", "certificate", "toomanyrequests", "timeout", "lookup",
    "401", "403", "429", "503", "eof", "unreachable", "no-such-host", "manifest-unknown", "no-space-left", "planck",
)  # fmt: skip
HOSTS = (
    "registry.example.org", "denied.example.org", "unauthorized.test:5000", "denied:5000", "localhost:5000",
    "10.0.0.9:5000", "timeout.example.org", "x509.example.org",
)  # fmt: skip


def verdict_of(image: str, reason: str, message: str) -> Verdict:
    pod: dict[str, Any] = manifests.pod(GROUND, image_spec(), None)
    pod["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    pod["spec"]["containers"][0]["image"] = image
    waits = {"name": "program", "state": {"waiting": {"reason": reason, "message": message}}}
    pod["status"] = {"phase": "Pending", "containerStatuses": [waits]}
    verdict = hopeless.of_pod(pod, ())
    assert verdict is not None
    return verdict


def told(said: str, host: str, path: str, tag: str) -> tuple[str, str]:
    """An image, and a message about it; an image without a host is Docker's own."""
    image = f"{host}/{path}{tag}" if host else f"{path}{tag}"
    whole = path if host or "/" in path else f"library/{path}"
    known = host or "docker.io"
    return image, said.format(f"{known}/{whole}{tag}", known, whole)


@pytest.mark.parametrize(("rule", "said"), EACH)
def test_each_answer_has_its_sentence(rule: str, said: str) -> None:
    image, message = told(said, "registry.example.org", "team/planck", ":1")
    verdict = verdict_of(image, "ErrImagePull", message)
    assert verdict.rule == rule
    assert verdict.said == f"ErrImagePull: {message}"
    behind = f'Back-off pulling image "{image}": ErrImagePull: {message}'
    assert verdict_of(image, "ImagePullBackOff", behind).rule == rule


@given(
    st.sampled_from(EACH),
    st.sampled_from(("", *HOSTS)),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map("/".join),
    st.sampled_from(WORDS).map(":{}".format) | st.just("@sha256:" + "ab" * 32) | st.just(""),
)
def test_no_name_of_an_image_is_read_as_an_answer(each: tuple[str, str], host: str, path: str, tag: str) -> None:
    rule, said = each
    image, message = told(said, host, path, tag)
    assert verdict_of(image, "ErrImagePull", message).rule == rule
    behind = f'Back-off pulling image "{image}": ErrImagePull: {message}'
    assert verdict_of(image, "ImagePullBackOff", behind).rule == rule


def test_an_older_kubelet_that_tells_nothing_has_a_sentence_that_says_no_more() -> None:
    verdict = verdict_of("denied:1", "ImagePullBackOff", 'Back-off pulling image "denied:1"')
    assert (verdict.rule, verdict.what) == ("image-other", "The image could not be pulled.")


def test_reasons_that_say_it_all() -> None:
    said = 'Container image "localhost/unauthorized:1" is not present with pull policy of Never'
    assert verdict_of("localhost/unauthorized:1", "ErrImageNeverPull", said).rule == "image-not-on-machine"
    assert verdict_of("Denied", "InvalidImageName", 'couldn\'t parse image name "Denied"').rule == "image-unnamed"
    said = "image pull failed for not-found:1 because the registry is unavailable."
    assert verdict_of("not-found:1", "RegistryUnavailable", said).rule == "image-unreachable"
    said = "image pull failed for denied:1 because the signature validation failed."
    assert verdict_of("denied:1", "SignatureValidationFailed", said).rule == "image-other"


def test_a_missing_secret_of_variables_keeps_its_name() -> None:
    verdict = verdict_of("denied:1", "CreateContainerConfigError", 'secret "env-planck-1" not found')
    assert verdict.rule == "container-secret"


def test_what_passes_by_itself_has_longer() -> None:
    image, message = told(SAID["image-too-often"][0], "registry.example.org", "team/planck", ":1")
    verdict = verdict_of(image, "ErrImagePull", message)
    assert not verdict.is_final(T0 + timedelta(seconds=299))
    assert verdict.is_final(T0 + timedelta(seconds=300))
    image, message = told(SAID["image-registry-insecure"][0], "registry.example.org", "team/planck", ":1")
    assert verdict_of(image, "ErrImagePull", message).is_final(T0 + timedelta(seconds=20))
