"""Which Python an application is built with, chosen from those a machine has.

A source may name one version (``3.12``) or a range (``>=3.11,<3.14``), so that a laptop
with only one Python can still build it. Pure: who knows the machine hands the versions in.
It must never guess a version that was not found.
"""

from __future__ import annotations

import re

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from cmbcluster.domain.sources import check_python
from cmbcluster.errors import BuildFailed, InvalidInput

# What one's own application is built with when nobody says more: the newest of those that most packages know.
ANY_PYTHON = ">=3.11,<3.14"
_BOUND = re.compile(r"(>=|<=|!=|>|<)\s*(3\.\d{1,2})")


def check_wanted_python(text: str) -> str:
    """A version like ``3.12`` or bounds like ``>=3.11,<3.14``, without spaces.

    Raises InvalidInput (field ``python``).
    """
    wanted = text.strip()
    if not wanted.startswith((">", "<", "!")):
        return check_python(wanted)
    bounds = []
    for part in wanted.split(","):
        match = _BOUND.fullmatch(part.strip())
        if match is None:
            raise InvalidInput("python", "That is not a range of Python versions.", "Write it like >=3.11,<3.14.")
        bounds.append(match.group(1) + check_python(match.group(2)))
    return ",".join(bounds)


def choose_python(wanted: str, versions: tuple[str, ...], *, in_image: bool = False) -> str:
    """The newest ``3.N`` among ``versions`` that ``wanted`` allows.

    ``versions`` are those found on the machine, like ``3.12.1``; development versions and
    what cannot be read are passed over. ``in_image``: there is the one of an image and no other can
    be installed. Raises InvalidInput when ``wanted`` is neither a
    version nor a range, and BuildFailed, naming what is there, when none fits.
    """
    checked = check_wanted_python(wanted)
    found = _minors(versions)
    allowed = SpecifierSet(checked if checked.startswith((">", "<", "!")) else f"=={checked}")
    fitting = [minor for minor in found if allowed.contains(f"3.{minor}")]
    if fitting:
        return f"3.{max(fitting)}"
    if in_image and found:
        raise BuildFailed(
            f"This application needs Python {in_words(checked)}, and environments here have 3.{found[0]}.",
            f"Choose Python 3.{found[0]}, or a range with it in, such as {ANY_PYTHON}.",
        )
    have = ", ".join(f"3.{minor}" for minor in found)
    there = f"this machine has {have}" if have else "this machine has none that could be used"
    raise BuildFailed(
        f"This application needs Python {in_words(checked)}, and {there}.",
        f"Install it (for example: uv python install {_example(checked)}), then try again.",
    )


def in_words(wanted: str) -> str:
    """``>=3.11,<3.14`` as “3.11 or newer, below 3.14”; a single version as it is."""
    words = {">=": "{} or newer", "<=": "{} or older", ">": "newer than {}", "<": "below {}", "!=": "not {}"}
    said = []
    for part in wanted.split(","):
        match = _BOUND.fullmatch(part)
        said.append(words[match.group(1)].format(match.group(2)) if match else part)
    return ", ".join(said)


def _minors(versions: tuple[str, ...]) -> list[int]:
    """The N of every released ``3.N`` among ``versions``, each once, rising."""
    minors: set[int] = set()
    for text in versions:
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        if version.major == 3 and not version.is_prerelease:
            minors.add(version.minor)
    return sorted(minors)


def _example(wanted: str) -> str:
    """The newest version of ours that ``wanted`` allows, to be named as an example."""
    if not wanted.startswith((">", "<", "!")):
        return wanted
    allowed = SpecifierSet(wanted)
    return next((f"3.{minor}" for minor in (13, 12, 11, 14, 10, 9) if allowed.contains(f"3.{minor}")), "3.13")
