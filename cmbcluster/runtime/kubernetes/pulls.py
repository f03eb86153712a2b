"""What was answered when an image was pulled, without the names of what was asked for.

Kubelet and container runtimes repeat the reference, with quotes and without, the addresses they asked and the host they
looked up. An image may be called ``denied`` and a registry ``unauthorized.example.org``; neither is an answer.
"""

from __future__ import annotations

import re

# Why a container waits for its image, as the kubelet calls it.
REASONS = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ImageInspectError",
        "ErrImageNeverPull",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
# A reference, an address or a path: whatever has a slash, up to what such a thing cannot hold.
_SLASHED = re.compile(r"""[^\s"'`\\,;(){}<>]*/[^\s"'`\\,;(){}<>]*""")
# ``"denied:1"``, as the kubelet names an image without a registry. An answer in quotes has spaces or no colon.
_QUOTED = re.compile(r'"[^"\s{}]*[:@][^"\s{}]*"')
_SCOPE = re.compile(r"\brepository:\S+")
_LOOKED_UP = re.compile(r"\blookup \S+(?: on \S+)?:")
_DIALLED = re.compile(r"(?:\d+(?:\.\d+){3}|\[[0-9a-fA-F:]+\]):\d+")
_TAG = re.compile(r"\bmanifest \S+ in\b")


def answer(said: str, image: str) -> str:
    """``said`` without the names in it; ``image`` is the reference that the pod has."""
    text = said.replace('\\"', '"')
    if image:
        text = text.replace(f'"{image}"', " ")
        text = text.replace(image, " ") if re.search("[/:@]", image) else text
    text = _LOOKED_UP.sub("lookup:", text)
    for names in (_SLASHED, _QUOTED, _SCOPE, _DIALLED):
        text = names.sub(" ", text)
    text = _TAG.sub("manifest in", text)
    for host in _hosts(image):
        text = text.replace(host, " ")
    return text


def _hosts(image: str) -> list[str]:
    """The registry's own name, with its port and without; none where it might as well be a word."""
    host, slash, _ = image.partition("/")
    if not slash:
        return []
    found = [host] if ":" in host or "." in host else []
    plain = host.partition(":")[0]
    return [*found, plain] if "." in plain and plain != host else found
