"""CMB explorer: change a universe and watch its cosmic microwave background follow.

The page only: physics is in model.py, the sky in sky.py, charts in charts.py, files in
results.py. It runs with the packages of its own environment, reaches no network, needs no
key, and must never import cmbcluster.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import streamlit as st
from charts import all_spectra_chart, spectrum_chart
from model import KINDS, PRESETS, RANGES, REFERENCE, Derived, Parameters, Spectra, as_csv, compute
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from results import Choice, in_workspace, save
from sky import COLOURS, as_fits, as_png, make_sky

SIDES = (64, 128, 256, 512)
STYLE = """
<style>
  .block-container { padding-top: 2.2rem; padding-bottom: 3rem; max-width: 1240px; }
  h1 { letter-spacing: -0.02em; padding-bottom: 0; }
  @media (min-width: 641px) { [data-testid="stMetric"] { min-height: 5.6rem; } }
  [data-testid="stMetricValue"] { font-size: 1.45rem; font-variant-numeric: tabular-nums; }
  [data-testid="stMetricDelta"] { font-variant-numeric: tabular-nums; }
  .sky { width: 100%; display: block; margin: .2rem auto 0; }
  .scale { display: flex; align-items: center; gap: .7rem; justify-content: center; margin: .6rem 0 .2rem;
           font-size: .82rem; font-variant-numeric: tabular-nums; }
  .scale span { opacity: .75; }
  .scale i { width: min(260px, 45%); height: 9px; border-radius: 5px; display: block; }
</style>
"""


@st.cache_data(max_entries=96, show_spinner=False)
def spectra_of(parameters: Parameters, fine: bool) -> Spectra:
    """CAMB's answer, remembered while the application runs."""
    return compute(parameters, fine=fine)


@st.cache_data(max_entries=12, show_spinner=False)
def sky_of(parameters: Parameters, fine: bool, choice: Choice) -> NDArray[np.float64]:
    """The sky of these parameters, remembered."""
    return make_sky(spectra_of(parameters, fine).tt, choice.nside, choice.seed, choice.beam_arcmin)


@st.cache_data(max_entries=24, show_spinner=False)
def picture_of(parameters: Parameters, fine: bool, choice: Choice, width: int) -> bytes:
    """Its picture as PNG, remembered."""
    return as_png(sky_of(parameters, fine, choice), choice.limit, width)


@st.cache_resource(show_spinner=False)
def tab_icon() -> Image.Image:
    """A small sky for the browser's tab; a named icon would be fetched from the network."""
    icon = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(icon)
    draw.ellipse((2, 14, 62, 50), fill=(44, 72, 203))
    draw.ellipse((20, 20, 62, 46), fill=(238, 122, 50))
    return icon


def use(parameters: Parameters) -> None:
    """Move all sliders to ``parameters``."""
    for item in RANGES:
        st.session_state[item.name] = float(getattr(parameters, item.name))


def use_preset() -> None:
    """Follow the chosen preset; choosing none leaves the sliders alone."""
    name = st.session_state.get("preset")
    if name:
        use(PRESETS[name])


def forget_preset() -> None:
    """A slider was moved, so no preset describes the universe any more."""
    st.session_state["preset"] = None


def ask_parameters() -> tuple[Parameters, bool]:
    """The sidebar: presets, a slider a parameter, and how carefully to compute."""
    if RANGES[0].name not in st.session_state:
        use(REFERENCE)
        st.session_state["preset"] = "Reference"
    with st.sidebar:
        st.subheader("Your universe")
        st.pills("Begin with", list(PRESETS), key="preset", on_change=use_preset)
        for item in RANGES:
            st.slider(
                f"{item.symbol}  [{item.unit}]" if item.unit else item.symbol,
                min_value=item.low,
                max_value=item.high,
                step=item.step,
                format=f"%.{item.digits}f",
                key=item.name,
                help=item.says,
                on_change=forget_preset,
            )
        fine = st.toggle(
            "Fine lensing", help="Non-linear structure in the lensing spectrum. Takes about twice the time."
        )
        st.caption("Flat ΛCDM with massive neutrinos, computed by CAMB inside this environment.")
    return Parameters(**{item.name: float(st.session_state[item.name]) for item in RANGES}), fine


def show_figures(mine: Derived, theirs: Derived) -> None:
    """Derived figures with their change from the reference."""
    rows = (
        ("Age", "age", "{:.2f} Gyr", "Time since the Big Bang."),
        (r"$\sigma_8$", "sigma8", "{:.3f}", "How clumpy matter is today, in spheres of 8 Mpc/h."),
        (r"$\Omega_m$", "omega_m", "{:.3f}", "Share of matter in today's energy."),
        (r"$100\,\theta_\ast$", "theta_star", "{:.4f}", "Angle of the sound horizon; it sets where the peaks are."),
        (r"$z$ at equality", "z_eq", "{:.0f}", "When matter began to outweigh radiation."),
        (r"$z$ of last light", "z_star", "{:.1f}", "When the light we see set out."),
    )
    with st.container(horizontal=True, gap="small"):
        for label, name, form, says in rows:
            value, change = getattr(mine, name), getattr(mine, name) - getattr(theirs, name)
            shown = form.split(" ")[0].format(change)
            st.metric(
                label,
                form.format(value),
                delta=f"{'+' if change > 0 else ''}{shown}" if float(shown) else None,
                delta_color="off",
                help=says,
                width=136,
            )


def show_spectra(mine: Spectra, reference: Spectra) -> None:
    """The chart with its two choices."""
    left, right = st.columns([4, 1], vertical_alignment="center")
    with left:
        names = [*KINDS.values(), "All"]
        chosen = st.segmented_control("Spectrum", names, default=names[0], key="kind", label_visibility="collapsed")
    with right:
        logarithmic = st.toggle("Logarithmic ℓ", key="logarithmic")
    kinds = {name: kind for kind, name in KINDS.items()}
    if chosen == "All":
        figure = all_spectra_chart(mine, reference, logarithmic=logarithmic)
    else:
        figure = spectrum_chart(mine, reference, kinds.get(chosen or "", "TT"), logarithmic=logarithmic)
    st.plotly_chart(figure, theme="streamlit", config={"displaylogo": False, "displayModeBar": False}, key="chart")
    st.caption(
        "Dotted: CAMB's own spectrum for the reference parameters (rounded Planck 2018 best fit). "
        "It is a model curve; no measured points are drawn."
    )


def next_sky() -> None:
    """Another seed, another sky of the same universe."""
    st.session_state["seed"] = int(st.session_state["seed"]) + 1


def ask_sky() -> Choice:
    """The controls beside the map."""
    st.session_state.setdefault("seed", 1)
    st.number_input(
        "Seed", min_value=0, max_value=2**31 - 1, step=1, key="seed", help="The same seed, the same phases."
    )
    st.button("Another sky", on_click=next_sky, icon=":material/casino:", width="stretch")
    nside = st.select_slider("Resolution (nside)", SIDES, value=128, key="nside")
    beam = st.slider("Smoothing [arcmin]", 0, 300, 0, step=10, key="beam", help="Width of a Gaussian beam.")
    limit = st.slider("Colours up to ± [µK]", 100, 500, 300, step=50, key="limit")
    return Choice(nside=int(nside), seed=int(st.session_state["seed"]), beam_arcmin=float(beam), limit=float(limit))


def show_sky(parameters: Parameters, fine: bool) -> Choice:
    """The map, its colour bar and its controls."""
    left, right = st.columns([3.2, 1], gap="large")
    with right:
        choice = ask_sky()
    with left:
        with st.spinner("Drawing the sky…", show_time=False):
            picture = base64.b64encode(picture_of(parameters, fine, choice, 1400)).decode()
            spread = float(np.std(sky_of(parameters, fine, choice)))
        stops = ", ".join(f"rgb{colour} {place:.0%}" for place, colour in COLOURS)
        st.html(
            f'<img class="sky" alt="A full sky of CMB temperature in Mollweide projection, seed {choice.seed}"'
            f' src="data:image/png;base64,{picture}">'
            f'<div class="scale"><span>−{choice.limit:.0f} µK</span>'
            f'<i style="background:linear-gradient(90deg,{stops})"></i>'
            f"<span>+{choice.limit:.0f} µK</span></div>"
        )
        pixel = np.degrees(np.sqrt(4 * np.pi / (12 * choice.nside**2)))
        st.caption(f"A random sky drawn from your TT spectrum: rms {spread:.0f} µK, pixels of {pixel:.2f}°.")
    return choice


def offer(label: str, content: Callable[[], bytes | str], name: str, kind: str) -> None:
    """A download that is made when it is asked for, not at every change of the page."""
    st.download_button(label, content, name, kind, on_click="ignore", icon=":material/download:")


def show_files(mine: Spectra, fine: bool, choice: Choice) -> None:
    """Downloads, and the same files into the workspace."""

    def csv() -> str:
        return as_csv(mine)

    def fits() -> bytes:
        return as_fits(sky_of(mine.parameters, fine, choice), {"SEED": choice.seed, "BEAM": choice.beam_arcmin})

    def png() -> bytes:
        return picture_of(mine.parameters, fine, choice, 2000)

    with st.container(horizontal=True):
        offer("Spectra, CSV", csv, "cmb-spectra.csv", "text/csv")
        offer("Map, FITS", fits, f"cmb-sky-{choice.nside}.fits", "application/fits")
        offer("Map, PNG", png, "cmb-sky.png", "image/png")
        keep = st.button("Save to workspace", icon=":material/folder:")
    if keep:
        try:
            with st.spinner("Saving…"):
                folder = save(mine, choice, csv(), fits(), png())
        except OSError as wrong:
            st.error(f"The files could not be saved: {wrong.strerror}. Free some space in the workspace and try again.")
        else:
            st.toast(f"Saved to {in_workspace(folder)}", icon=":material/check:")
            st.session_state["saved"] = in_workspace(folder)
    if "saved" in st.session_state:
        st.caption(f"Last saved to `{st.session_state['saved']}`: spectra.csv, map.fits, map.png, parameters.json.")


def main() -> None:
    """The page, from top to bottom."""
    st.set_page_config("CMB explorer", tab_icon(), layout="wide", initial_sidebar_state="auto")
    st.html(STYLE)
    parameters, fine = ask_parameters()
    st.title("CMB explorer")
    st.write("Change a parameter in the side panel: the figures, the spectra and the sky follow.")
    with st.spinner("CAMB is computing…", show_time=False):
        reference = spectra_of(REFERENCE, fine)
        mine = spectra_of(parameters, fine)
    show_figures(mine.derived, reference.derived)
    st.subheader("Spectra", anchor=False)
    show_spectra(mine, reference)
    st.subheader("One sky of this universe", anchor=False)
    choice = show_sky(parameters, fine)
    st.subheader("Take it with you", anchor=False)
    show_files(mine, fine, choice)
    with st.expander("The same in a notebook"):
        values = ", ".join(f"{name}={value}" for name, value in asdict(parameters).items() if name not in ("As", "ns"))
        st.code(
            "import camb\n\n"
            f"params = camb.set_params({values},\n"
            f"                         As={parameters.As}e-9, ns={parameters.ns}, omk=0, lmax=2500)\n"
            "spectra = camb.get_results(params).get_lensed_scalar_cls(CMB_unit='muK')",
            language="python",
        )


main()
