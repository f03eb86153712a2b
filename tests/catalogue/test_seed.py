"""The applications shipped with the package."""

from __future__ import annotations

import ast
from importlib.resources import files
from pathlib import Path

import pytest

from cmbcluster.catalogue.schema import SeedApplication, bundled_names, load_seed
from cmbcluster.domain.interpreters import choose_python
from cmbcluster.domain.sources import check_command
from cmbcluster.domain.tiers import LIMITS, SIZES

SEED = load_seed()
WITH_SOURCE = [application for application in SEED if application.source is not None]
BUNDLED = Path(str(files("cmbcluster.catalogue").joinpath("bundled")))


def named(application: SeedApplication) -> str:
    return application.id


def test_the_catalogue_in_its_order() -> None:
    assert [application.id for application in SEED] == ["jupyterlab", "cmbagent", "denario", "cmb-explorer", "custom"]


def test_digests_differ_and_do_not_change_between_readings() -> None:
    digests = [application.digest() for application in SEED]
    assert len(set(digests)) == len(digests)
    assert digests == [application.digest() for application in load_seed()]


def test_only_the_form_has_no_source() -> None:
    assert [application.id for application in SEED if application.source is None] == ["custom"]


@pytest.mark.parametrize("application", WITH_SOURCE, ids=named)
def test_the_command_listens_where_it_is_told(application: SeedApplication) -> None:
    program = application.as_program()
    assert program is not None
    assert any("{port}" in argument for argument in program.command)
    assert any("{address}" in argument for argument in program.command)
    assert program.command[0] == "{python}"


@pytest.mark.parametrize("application", WITH_SOURCE, ids=named)
def test_files_named_by_the_command_are_shipped(application: SeedApplication) -> None:
    source, program = application.python_source(), application.as_program()
    assert source is not None
    assert program is not None
    for argument in program.command:
        if argument.startswith("{bundled}/"):
            assert (BUNDLED / source.bundled / argument.removeprefix("{bundled}/")).is_file()


@pytest.mark.parametrize("application", WITH_SOURCE, ids=named)
@pytest.mark.parametrize("version", ["3.12.1", "3.13.0"])
def test_a_machine_with_one_usual_python_can_build_it(application: SeedApplication, version: str) -> None:
    source = application.python_source()
    assert source is not None
    assert choose_python(source.python, (version,)) == version[:4]


def test_the_proposed_size_fits_the_free_tier_where_it_can() -> None:
    """Denario alone asks for more than the free tier has; the dialog then offers what fits."""
    from cmbcluster.domain.actors import Tier

    memory = {size.id: size.memory_bytes for size in SIZES}
    too_large = [each.id for each in SEED if memory[each.size] > LIMITS[Tier.FREE].memory_bytes]
    assert too_large == ["denario"]


def test_a_command_can_be_shown_and_typed_again() -> None:
    import shlex

    for application in WITH_SOURCE:
        program = application.as_program()
        assert program is not None
        assert check_command(shlex.join(program.command)) == program.command


@pytest.mark.parametrize("path", sorted(BUNDLED.rglob("*.py")), ids=lambda path: path.name)
def test_bundled_files_know_nothing_of_us(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not any(name.split(".")[0] == "cmbcluster" for name in names)


def test_every_bundled_folder_is_used() -> None:
    used = {application.source.bundled for application in WITH_SOURCE if application.source} - {""}
    assert used == set(bundled_names())


def test_build_scripts_run_only_for_applications_that_need_them() -> None:
    sources = {each.id: each.python_source() for each in WITH_SOURCE}
    assert {name for name, source in sources.items() if source and source.from_source} == {"cmbagent", "denario"}
