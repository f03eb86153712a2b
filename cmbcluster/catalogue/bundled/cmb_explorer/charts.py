"""The charts of the explorer, as Plotly figures. Colours suit a light and a dark page."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from model import KINDS, Spectra
from plotly.subplots import make_subplots

YOURS = "#5B7CFA"
GREY = "#8A8F9C"
LINE = "rgba(128,132,145,.22)"
TITLES = {"TT": "D<sub>ℓ</sub><sup>TT</sup>", "TE": "D<sub>ℓ</sub><sup>TE</sup>", "EE": "D<sub>ℓ</sub><sup>EE</sup>"}


def axis_title(kind: str, *, change: bool = False) -> str:
    """What stands beside the axis of a spectrum."""
    if kind == "PP":
        return "Δ, 10⁻⁷" if change else "[ℓ(ℓ+1)]²C<sub>ℓ</sub><sup>ϕϕ</sup>/2π, 10⁻⁷"
    return "Δ, µK²" if change else f"{TITLES[kind]}, µK²"


def spectrum_chart(yours: Spectra, reference: Spectra, kind: str, *, logarithmic: bool) -> go.Figure:
    """One spectrum above, its change from the reference below."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.74, 0.26])
    scale = 1e7 if kind == "PP" else 1.0
    ell = yours.ell[2:]
    mine, theirs = yours.of(kind)[2:] * scale, reference.of(kind)[2:] * scale
    _line(figure, ell, theirs, "Reference", row=1, color=GREY, dash="dot")
    _line(figure, ell, mine, "Yours", row=1, color=YOURS)
    _line(figure, ell, mine - theirs, "Change", row=2, color=YOURS)
    figure.add_hline(y=0, row=2, col=1, line={"color": GREY, "width": 1, "dash": "dot"})
    figure.update_yaxes(title_text=axis_title(kind), row=1, col=1)
    figure.update_yaxes(title_text=axis_title(kind, change=True), row=2, col=1, nticks=4)
    _dress(figure, logarithmic=logarithmic, height=470)
    figure.update_xaxes(title_text="Multipole ℓ", row=2, col=1)
    return figure


def all_spectra_chart(yours: Spectra, reference: Spectra, *, logarithmic: bool) -> go.Figure:
    """The four spectra side by side."""
    titles = [f"{name} · {kind.replace('PP', 'ϕϕ')}" for kind, name in KINDS.items()]
    figure = make_subplots(rows=2, cols=2, subplot_titles=titles, vertical_spacing=0.14, horizontal_spacing=0.09)
    for place, kind in enumerate(KINDS):
        row, column = place // 2 + 1, place % 2 + 1
        scale = 1e7 if kind == "PP" else 1.0
        ell = yours.ell[2:]
        first = place == 0
        _line(figure, ell, reference.of(kind)[2:] * scale, "Reference", row, column, GREY, "dot", named=first)
        _line(figure, ell, yours.of(kind)[2:] * scale, "Yours", row, column, YOURS, named=first)
        figure.update_yaxes(title_text="10⁻⁷" if kind == "PP" else "µK²", row=row, col=column)
    _dress(figure, logarithmic=logarithmic, height=580)
    figure.update_layout(margin_t=72, legend_y=1.07)
    figure.update_xaxes(title_text="ℓ", row=2)
    return figure


def _line(
    figure: go.Figure,
    x: Any,
    y: Any,
    name: str,
    row: int,
    column: int = 1,
    color: str = YOURS,
    dash: str = "solid",
    *,
    named: bool = True,
) -> None:
    trace = go.Scatter(
        x=x,
        y=y,
        name=name,
        mode="lines",
        line={"color": color, "width": 2.2 if dash == "solid" else 1.8, "dash": dash, "simplify": False},
        showlegend=named and name != "Change",
        hovertemplate="%{y:.4g}",
    )
    figure.add_trace(trace, row=row, col=column)


def _dress(figure: go.Figure, *, logarithmic: bool, height: int) -> None:
    """The look all charts share."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 44, "b": 8},
        hovermode="x unified",
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    if logarithmic:
        figure.update_xaxes(type="log", range=[0.3010, 3.3979], dtick=1)
    else:
        figure.update_xaxes(type="linear", range=[0, 2500])
    figure.update_xaxes(gridcolor=LINE, zeroline=False)
    figure.update_yaxes(gridcolor=LINE, zeroline=False, automargin=True)
