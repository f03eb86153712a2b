"""What a catalogue file may say, and what is said to somebody who wrote it wrong."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from cmbcluster.catalogue.schema import SeedApplication, load_seed, parse_application
from cmbcluster.domain.sources import PythonSource
from cmbcluster.errors import StartRefused

GOOD = """
id: sky-viewer
name: Sky viewer
category: Maps
summary: Looks at the sky.
icon: explorer
position: 5
size: small
keys:
  - {name: PERPLEXITY_API_KEY, optional: true, use: finds papers}
  - {name: OPENAI_API_KEY}
source:
  python: "3.12"
  as_of: 2025-11-15
  requirements: [healpy>=1.18, "streamlit"]
program:
  command: ["{python}", -m, streamlit, run, app.py, "--server.port={port}"]
  port: 8501
  health_path: /_stcore/health
  ready_within_seconds: 60
  environment: {MPLBACKEND: Agg}
"""


def changed(path: str, value: object) -> str:
    """GOOD with one field set (or, for ``...``, taken away)."""
    data = yaml.safe_load(GOOD)
    *parents, last = path.split(".")
    place = data
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return yaml.safe_dump(data)


def test_a_good_file_becomes_source_and_program() -> None:
    application = parse_application(GOOD, "sky-viewer.yaml")
    source, program = application.python_source(), application.as_program()
    assert source is not None
    assert program is not None
    assert source.requirements == ("healpy>=1.18", "streamlit")
    assert (source.python, source.as_of, source.bundled) == ("3.12", "2025-11-15", "")
    assert program.command[0] == "{python}"
    assert program.command[-1] == "--server.port={port}"
    assert (program.port, program.health_path, program.ready_within_seconds) == (8501, "/_stcore/health", 60)
    assert program.environment == {"MPLBACKEND": "Agg"}


def test_keys_it_needs_come_before_optional_ones() -> None:
    assert parse_application(GOOD, "sky-viewer.yaml").needs_keys == ("OPENAI_API_KEY", "PERPLEXITY_API_KEY")


@pytest.mark.parametrize(
    ("path", "value", "field", "says"),
    [
        ("id", "Sky Viewer", "id", "match"),
        ("id", "../etc", "id", "match"),
        ("id", ..., "id", "missing"),
        ("name", "", "name", "at least 1"),
        ("name", "a\nb", "name", "match"),
        ("name", "x" * 10_000, "name", "at most"),
        ("category", "Toys", "category", "'Notebooks', 'Agents'"),
        ("summary", "No full stop", "summary", "match"),
        ("icon", "rocket", "icon", "'jupyter'"),
        ("position", "5", "position", "integer"),
        ("position", -1, "position", "greater than or equal to 0"),
        ("size", "enormous", "size", "small, medium"),
        ("colour", "red", "colour", "not known"),
        ("keys", [{"name": "lower"}], "keys.0.name", "match"),
        ("keys", [{"name": "A_KEY"}, {"name": "A_KEY"}], "keys", "named twice"),
        ("source", ..., "the whole file", "belong together"),
        ("image", "https://ghcr.io/team/app", "image", "without https://"),
        ("image", "Team/App", "image", "capital letters"),
        ("image", "ghcr.io/team/app", "the whole file", "nothing of ours"),
        ("source.requirements", [], "source.requirements", "no package"),
        ("source.requirements", "healpy", "source.requirements", "list of texts"),
        ("source.requirements", ["-r other.txt"], "source.requirements", "an option"),
        ("source.requirements", ["not a package"], "source.requirements", "not a package requirement"),
        ("source.requirements", ["a @ file:///etc/passwd"], "source.requirements", "address"),
        ("source.python", 3.1, "source.python", "quotation marks"),
        ("source.python", "two", "source.python", "Python version"),
        ("source.python", ">=3.11;<4", "source.python", "range"),
        ("source.as_of", "yesterday", "source.as_of", "not a date"),
        ("source.as_of", "1999-01-01", "source.as_of", "too long ago"),
        ("source.bundled", "../../etc", "source.bundled", "cmb_explorer"),
        ("source.index", "elsewhere", "source.index", "not known"),
        ("program.command", [], "program", "no command"),
        ("program.command", "run {port}", "program.command", "list of texts"),
        ("program.command", ["run", 8501], "program.command", "list of texts"),
        ("program.command", ["run", "a\nb{port}"], "program.command", "control characters"),
        ("program.command", ["run"], "program", "{port}"),
        ("program.command", ["run", "{port}", "{home}"], "program", "{home} is not known"),
        ("program.command", ["{bundled}/run", "{port}"], "the whole file", "source.bundled"),
        ("program.port", 80, "program.port", "1024"),
        ("program.port", "8501", "program.port", "integer"),
        ("program.health_path", "health", "program.health_path", "slash"),
        ("program.ready_within_seconds", 0, "program.ready_within_seconds", "greater"),
        ("program.environment", {"A=B": "c"}, "program.environment", "environment variable"),
        ("program.environment", {"A": 1}, "program.environment.A", "string"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(path: str, value: object, field: str, says: str) -> None:
    with pytest.raises(StartRefused) as refused:
        parse_application(changed(path, value), "sky-viewer.yaml")
    first = str(refused.value)
    assert first.startswith(f"sky-viewer.yaml, {field}: ")
    assert says in first


def test_an_image_alone_needs_no_command() -> None:
    data = yaml.safe_load(GOOD)
    del data["source"]
    data |= {"image": "team/app", "program": {"command": [], "port": 8888}}
    application = parse_application(yaml.safe_dump(data), "sky-viewer.yaml")
    assert application.image == "docker.io/team/app:latest"
    assert application.python_source() is None
    program = application.as_program()
    assert program is not None
    assert (program.command, program.port) == ((), 8888)


def test_an_image_beside_packages_shares_their_command_and_changes_the_digest() -> None:
    data = yaml.safe_load(GOOD)
    data["program"]["command"] = ["run", "{port}"]
    without = parse_application(yaml.safe_dump(data), "sky-viewer.yaml")
    beside = parse_application(yaml.safe_dump(data | {"image": "ghcr.io/team/app:1"}), "sky-viewer.yaml")
    assert beside.python_source() == without.python_source()
    assert beside.digest() != without.digest()
    assert without.digest() == _digest_without_image(without)


def _digest_without_image(application: SeedApplication) -> str:
    """As it was computed before there were images."""
    said = application.model_dump(mode="json")
    del said["image"], said["source"]["from_source"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def test_every_fault_of_a_file_is_told_at_once() -> None:
    data = yaml.safe_load(GOOD) | {"icon": "rocket", "size": "huge"}
    with pytest.raises(StartRefused) as refused:
        parse_application(yaml.safe_dump(data), "sky-viewer.yaml")
    assert [line.split(",")[1].split(":")[0].strip() for line in str(refused.value).splitlines()] == ["icon", "size"]


@pytest.mark.parametrize("text", ["id: [", "", "- a list", "id: !!python/object/apply:os.system [ls]"])
def test_what_is_not_a_table_of_fields_is_refused(text: str) -> None:
    with pytest.raises(StartRefused, match=r"sky-viewer\.yaml"):
        parse_application(text, "sky-viewer.yaml")


def test_the_file_carries_the_name_of_its_application() -> None:
    with pytest.raises(StartRefused, match=r"Name the file sky-viewer\.yaml"):
        parse_application(GOOD, "other.yaml")


def test_two_applications_cannot_share_a_position(tmp_path: Path) -> None:
    (tmp_path / "sky-viewer.yaml").write_text(GOOD)
    (tmp_path / "second.yaml").write_text(GOOD.replace("sky-viewer", "second"))
    with pytest.raises(StartRefused, match="both have position 5"):
        load_seed(tmp_path)


def test_the_digest_follows_what_is_said_and_not_how_it_is_written() -> None:
    once = parse_application(GOOD, "sky-viewer.yaml")
    reordered = yaml.safe_dump(yaml.safe_load(GOOD), sort_keys=True) + "\n# a remark\n"
    assert parse_application(reordered, "sky-viewer.yaml").digest() == once.digest()
    other = parse_application(changed("program.port", 8502), "sky-viewer.yaml")
    assert other.digest() != once.digest()


def test_the_digest_is_the_same_in_every_version_of_the_reader() -> None:
    """It is kept in databases: a change here makes every untouched application look edited upstream."""
    digest = parse_application(GOOD, "sky-viewer.yaml").digest()
    assert digest == "33613bcfc9ce3b514816b5ff3fb643174f63ba5b146c62566d9b5ebecffc2116"


def test_building_from_source_is_said_in_the_source_and_in_the_digest() -> None:
    once, other = (parse_application(text, "sky-viewer.yaml") for text in (GOOD, changed("source.from_source", True)))
    wheels, built = once.python_source(), other.python_source()
    assert wheels is not None
    assert built is not None
    assert (wheels.from_source, built.from_source) == (False, True)
    assert wheels.digest() != built.digest()
    assert once.digest() != other.digest()
    assert PythonSource.from_dict(asdict(built)) == built
    assert not PythonSource.from_dict({"requirements": ["x"], "python": "3.12"}).from_source
