"""References become whole names: always the same one, and never anything but a name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmbcluster.domain.images import ImageSource, check_allowed, check_image, check_registry, check_rule, matches
from cmbcluster.errors import InvalidInput

DIGEST = "sha256:" + "a" * 64
# What the distribution project's own grammar says of a whole name.
WHOLE = re.compile(
    r"[a-z0-9.-]+(:[0-9]{1,5})?/[a-z0-9]+((\.|_|__|-+|/)[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})"
)
LIKELY = st.text("abcz09AZ/:@.-_ \n\t\x00é", max_size=80)


@given(st.one_of(st.text(max_size=120), LIKELY))
def test_what_is_accepted_is_a_whole_name_and_stays_it(text: str) -> None:
    try:
        source = check_image(text)
    except InvalidInput as refused:
        assert refused.field == "image"
        assert refused.then
        return
    assert WHOLE.fullmatch(source.reference)
    assert len(source.repository) <= 255
    assert check_image(source.reference) == source
    assert bool(source.tag) != bool(source.digest)
    end = f":{source.tag}" if source.tag else f"@{source.digest}"
    assert f"{source.registry}/{source.path}{end}" == source.reference
    assert ImageSource.from_dict(source.as_dict()) == source


HOSTS = st.sampled_from(["ghcr.io", "registry.example.org:5000", "localhost", "localhost:5000", "10.0.0.7:443"])
COMPONENT = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}", fullmatch=True)


@given(HOSTS, st.lists(COMPONENT, min_size=1, max_size=4), TAGS)
def test_a_whole_name_is_taken_as_it_is(host: str, components: list[str], tag: str) -> None:
    reference = f"{host}/{'/'.join(components)}:{tag}"
    assert check_image(f"  {reference} ").reference == reference


@pytest.mark.parametrize(
    ("typed", "reference"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.12", "docker.io/library/python:3.12"),
        ("jupyter/base-notebook", "docker.io/jupyter/base-notebook:latest"),
        ("docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/library/python:3", "docker.io/library/python:3"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("GHCR.io/team/app:V1", "ghcr.io/team/app:V1"),
        (f"ghcr.io/team/app@{DIGEST}", f"ghcr.io/team/app@{DIGEST}"),
        (f"ghcr.io/team/app:1.0@{DIGEST}", f"ghcr.io/team/app@{DIGEST}"),
        ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest"),
    ],
)
def test_as_docker_reads_it(typed: str, reference: str) -> None:
    assert check_image(typed).reference == reference


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "There is no image."),
        ("   ", "There is no image."),
        ("https://ghcr.io/team/app", "without https://"),
        ("docker://python", "without docker://"),
        ("docker pull python", "a space"),
        ("py\x00thon", "invisible"),
        ("py\u200bthon", "invisible"),
        ("pythön", "plain letters"),
        ("Python", "capital letters"),
        ("ghcr.io/Team/App:1", "Write team/app instead"),
        ("python:", "not a tag"),
        ("python:-1", "not a tag"),
        (f"python:{'a' * 129}", "not a tag"),
        ("python@sha256:abc", "not a digest"),
        ("python@md5:" + "a" * 32, "not a digest"),
        ("python@", "not a digest"),
        ("a" * 64, "the id of an image"),
        ("a//b", "not the name"),
        ("/python", "not the name"),
        ("a/b/", "not the name"),
        ("a---/b", "not the name"),
        ("-host.org/x", "not the host"),
        ("host.org:99999/x", "not the host"),
        ("host.org:0/x", "not the host"),
        ("[::1]:5000/x", "not the host"),
        ("user:secret@ghcr.io/x", "not a digest"),
        ("ghcr.io/" + "a" * 255, "too long"),
        ("a" * 501, "too long"),
    ],
)
def test_what_is_wrong_is_said(typed: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)) as refused:
        check_image(typed)
    assert refused.value.field == "image"
    assert refused.value.then


@pytest.mark.parametrize(
    ("rule", "reference", "fits"),
    [
        ("docker.io", "python", True),
        ("docker.io", "ghcr.io/a/b", False),
        ("ghcr.io", "ghcr.io.example.org/a", False),
        ("ghcr.io/cmbagents/*", "ghcr.io/cmbagents/cmbagent:1", True),
        ("ghcr.io/cmbagents/*", "ghcr.io/cmbagents/deep/er", True),
        ("ghcr.io/cmbagents/*", "ghcr.io/cmbagents-evil/x", False),
        ("ghcr.io/cmbagents/*", "ghcr.io/cmbagents", False),
        ("ghcr.io/team/app", "ghcr.io/team/app:2", True),
        ("ghcr.io/team/app", "ghcr.io/team/apps", False),
        ("registry.example.org:5000", "registry.example.org:5000/x", True),
        ("registry.example.org:5000", "registry.example.org/x", False),
        ("quay.io/*", "quay.io/x", True),
        ("docker.io/library/*", "python", True),
    ],
)
def test_rules_of_the_allow_list(rule: str, reference: str, fits: bool) -> None:
    source = check_image(reference)
    assert matches(check_rule(rule), source.repository) is fits
    if fits:
        check_allowed(source, (check_rule(rule),))
        return
    with pytest.raises(InvalidInput, match="cannot be used here") as refused:
        check_allowed(source, (check_rule(rule),))
    assert check_rule(rule) in refused.value.then


def test_no_rule_allows_nothing() -> None:
    with pytest.raises(InvalidInput, match="No registry is allowed"):
        check_allowed(check_image("python"), ())


@pytest.mark.parametrize("rule", ["", "*", "*.example.org", "ghcr.io/*/app", "ghcr.io/Team/*", "ghcr.io//*", "a b"])
def test_a_slip_of_the_pen_is_no_rule(rule: str) -> None:
    with pytest.raises(InvalidInput):
        check_rule(rule)


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("GHCR.io", "ghcr.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://registry.example.org:5000/", "registry.example.org:5000"),
        ("localhost", "localhost"),
    ],
)
def test_hosts_as_people_write_them(typed: str, host: str) -> None:
    assert check_registry(typed) == host


@pytest.mark.parametrize("typed", ["", "ghcr", "a b.org", "ghcr.io/team", "user@ghcr.io", "x.org:http", "a" * 300])
def test_what_is_no_host(typed: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_registry(typed)
    assert refused.value.field == "registry"
