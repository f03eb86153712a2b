"""Checks of the CMB explorer, run by test_explorer.py with the explorer's own packages.

Not collected with our tests: CAMB, healpy and Streamlit are in the explorer's environment
and not in ours.
"""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits
from model import PRESETS, RANGES, REFERENCE, Parameters, Spectra, as_csv, as_record, compute
from PIL import Image
from results import Choice, save
from sky import as_fits, as_png, make_sky
from streamlit.testing.v1 import AppTest

APP = Path(str(compute.__code__.co_filename)).with_name("app.py")


@pytest.fixture(scope="session")
def reference() -> Spectra:
    return compute(REFERENCE)


def test_the_reference_is_the_universe_we_know(reference: Spectra) -> None:
    assert reference.derived.age == pytest.approx(13.80, abs=0.02)
    assert reference.derived.sigma8 == pytest.approx(0.811, abs=0.003)
    assert reference.derived.omega_m + reference.derived.omega_lambda == pytest.approx(1, abs=2e-3)
    assert reference.derived.theta_star == pytest.approx(1.0411, abs=0.001)
    peak = int(np.argmax(reference.tt))
    assert 215 < peak < 225
    assert reference.tt[peak] == pytest.approx(5730, rel=0.02)
    assert np.argmax(reference.pp[2:]) < 100


def test_physics_goes_the_right_way(reference: Spectra) -> None:
    assert np.allclose(compute(REFERENCE, lmax=600).tt[:301], reference.tt[:301], rtol=1e-2)
    brighter = compute(Parameters(As=4.2)).tt
    assert brighter[50] == pytest.approx(2 * reference.tt[50], rel=0.005)
    assert brighter[1000] != pytest.approx(2 * reference.tt[1000], rel=0.005)  # lensing grows with it
    heavy = compute(PRESETS["Heavy neutrinos"]).derived
    assert heavy.sigma8 < reference.derived.sigma8
    assert compute(PRESETS["Little dark matter"]).derived.z_eq < reference.derived.z_eq
    assert compute(REFERENCE, fine=True).pp[1500] > reference.pp[1500]


@pytest.mark.parametrize("end", ["low", "high"])
def test_every_end_of_every_slider_can_be_computed(end: str) -> None:
    for item in RANGES:
        moved = Parameters(**{item.name: getattr(item, end)})
        assert np.isfinite(compute(moved, lmax=600).tt).all(), item.name
    corner = Parameters(**{item.name: getattr(item, end) for item in RANGES})
    assert np.isfinite(compute(corner, lmax=600).tt).all()


def test_several_sessions_take_turns() -> None:
    """CAMB ends the process when two threads run it at once."""
    found: list[float] = []
    wanted = [Parameters(H0=60 + step) for step in range(6)]
    threads = [threading.Thread(target=lambda p=p: found.append(compute(p, lmax=600).derived.age)) for p in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 6


def test_the_map_carries_the_spectrum(reference: Spectra) -> None:
    sky = make_sky(reference.tt, 128, seed=3)
    found = healpy.anafast(sky, lmax=250)
    ell = np.arange(251)
    power = found * ell * (ell + 1) / 2 / np.pi
    assert power[100:251].mean() == pytest.approx(reference.tt[100:251].mean(), rel=0.03)


def test_a_seed_means_one_sky_in_every_resolution(reference: Spectra) -> None:
    assert np.array_equal(make_sky(reference.tt, 64, 5), make_sky(reference.tt, 64, 5))
    assert not np.allclose(make_sky(reference.tt, 64, 5), make_sky(reference.tt, 64, 6))
    coarse = make_sky(reference.tt, 64, 5, beam_arcmin=300)
    fine = healpy.ud_grade(make_sky(reference.tt, 128, 5, beam_arcmin=300), 64)
    assert np.corrcoef(coarse, fine)[0, 1] > 0.999


def test_smoothing_takes_the_small_scales_away(reference: Spectra) -> None:
    assert make_sky(reference.tt, 64, 1, beam_arcmin=120).std() < 0.8 * make_sky(reference.tt, 64, 1).std()


def test_the_picture_is_an_ellipse_with_the_hot_spot_where_it_is() -> None:
    sky = np.zeros(12 * 64**2)
    sky[healpy.query_disc(64, healpy.ang2vec(np.pi / 2, np.pi / 2), 0.2)] = 300
    picture = np.asarray(Image.open(io.BytesIO(as_png(sky, 300, 400))))
    assert picture.shape == (200, 400, 4)
    assert picture[0, 0, 3] == 0
    assert picture[100, 200, 3] == 255
    assert picture[100, 100, 0] > 100 > picture[100, 100, 2]  # 90 degrees east is left, and red
    assert tuple(picture[100, 300, :3]) != tuple(picture[100, 100, :3])


def test_the_fits_file_is_read_by_healpy(tmp_path: Path) -> None:
    sky = np.arange(12 * 8**2, dtype=float)
    (tmp_path / "map.fits").write_bytes(as_fits(sky, {"SEED": 7}))
    again = healpy.read_map(tmp_path / "map.fits", dtype=np.float64)
    assert np.array_equal(again, sky)
    header = fits.getheader(tmp_path / "map.fits", 1)
    assert (header["ORDERING"], header["NSIDE"], header["SEED"], header["TUNIT1"]) == ("RING", 8, 7, "uK_CMB")


def test_the_table_holds_what_is_drawn(reference: Spectra) -> None:
    text = as_csv(reference)
    rows = np.loadtxt(io.StringIO(text), delimiter=",", comments=("#", "ell"))
    assert rows.shape == (2499, 5)
    assert rows[0, 0] == 2
    assert np.allclose(rows[:, 1], reference.tt[2:], rtol=1e-7)
    assert "# omch2 = 0.12\n" in text


def test_saving_never_replaces(tmp_path: Path, reference: Spectra) -> None:
    first = save(reference, Choice(), "a", b"b", b"c", root=tmp_path)
    second = save(reference, Choice(), "a", b"b", b"c", root=tmp_path)
    assert first != second
    assert sorted(file.name for file in second.iterdir()) == ["map.fits", "map.png", "parameters.json", "spectra.csv"]
    record = json.loads((first / "parameters.json").read_text())
    assert record["parameters"]["H0"] == 67.36
    assert record == as_record(reference) | {"sky": {"nside": 128, "seed": 1, "beam_arcmin": 0.0, "limit": 300.0}}


def test_the_page_draws_and_follows_a_slider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = AppTest.from_file(str(APP), default_timeout=120).run()
    assert not page.exception
    assert page.metric[0].value == "13.80 Gyr"
    page.slider(key="H0").set_value(75.0).run()
    assert not page.exception
    assert page.metric[0].value != "13.80 Gyr"
    assert page.session_state["preset"] is None
    next(button for button in page.button if button.label == "Save to workspace").click().run()
    assert not page.exception
    assert len(list((tmp_path / "results").iterdir())) == 1
