"""A sky drawn from a spectrum: random phases by a seed, Mollweide picture, FITS and PNG.

The seed fixes the phases multipole by multipole, from the largest scales down. So the same
seed gives the same sky in any resolution and while parameters change, and what moves on
screen is the physics. It must never touch the disk or the page.
"""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

# The colours of the Planck maps, as positions from cold to hot and their red, green, blue.
COLOURS: tuple[tuple[float, tuple[int, int, int]], ...] = (
    (0.0, (0, 0, 120)),
    (0.15, (0, 40, 255)),
    (0.35, (0, 200, 255)),
    (0.5, (255, 240, 220)),
    (0.65, (255, 180, 0)),
    (0.85, (255, 60, 0)),
    (1.0, (110, 0, 0)),
)


def make_sky(tt: Array, nside: int, seed: int, beam_arcmin: float = 0.0) -> Array:
    """A temperature map in µK, in RING order, for the spectrum ``tt`` (D_ℓ in µK²)."""
    import healpy

    lmax = min(tt.size - 1, 3 * nside - 1)
    ell = np.arange(lmax + 1, dtype=np.float64)
    power = np.zeros(lmax + 1)
    power[2:] = tt[2 : lmax + 1] * 2 * np.pi / (ell[2:] * (ell[2:] + 1))
    width = np.radians(beam_arcmin / 60) / np.sqrt(8 * np.log(2))
    amplitude = np.sqrt(np.clip(power, 0, None)) * np.exp(-0.5 * ell * (ell + 1) * width**2)

    # Row by row of the lower triangle: first all m of ℓ=0, then of ℓ=1, and so on.
    of_ell, of_m = np.tril_indices(lmax + 1)
    draws = np.random.default_rng(seed).standard_normal((of_ell.size, 2))
    values = np.where(of_m == 0, draws[:, 0] + 0j, (draws[:, 0] + 1j * draws[:, 1]) / np.sqrt(2))
    alm = np.zeros(of_ell.size, dtype=np.complex128)
    alm[healpy.Alm.getidx(lmax, of_ell, of_m)] = values * amplitude[of_ell]
    return np.asarray(healpy.alm2map(alm, nside, lmax=lmax), dtype=np.float64)


@lru_cache(maxsize=6)
def _view(nside: int, width: int) -> tuple[NDArray[np.int64], Array]:
    """For every pixel of the picture: which map pixel it shows, and how opaque it is.

    Outside the ellipse it is transparent; on the rim it fades over one pixel.
    """
    import healpy

    height = width // 2
    across, down = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, 1 - (np.arange(height) + 0.5) / height * 2)
    radius = np.hypot(across, down)
    opacity = np.clip((1 - radius) * height / 2 + 0.5, 0, 1)
    # Pixels of the rim lie a little outside; they take the colour of the nearest point inside.
    inward = np.minimum(1, (1 - 1e-9) / np.maximum(radius, 1e-9))
    auxiliary = np.arcsin(down * inward)
    latitude = np.arcsin(np.clip((2 * auxiliary + np.sin(2 * auxiliary)) / np.pi, -1, 1))
    longitude = -np.pi * np.clip(across * inward / np.maximum(np.cos(auxiliary), 1e-9), -1, 1)
    return healpy.ang2pix(nside, np.pi / 2 - latitude, longitude), opacity


def paint(sky: Array, limit: float, width: int) -> Image.Image:
    """The map in Mollweide projection, in the Planck colours from -limit to +limit.

    East is left, as astronomers look at the sky; outside the ellipse it is transparent.
    """
    pixels, opacity = _view(math.isqrt(sky.size // 12), width)
    places = [place for place, _ in COLOURS]
    steps = np.linspace(0, 1, 512)
    table = np.stack([np.interp(steps, places, [colour[i] for _, colour in COLOURS]) for i in range(3)], axis=-1)
    shade = np.clip((sky / limit + 1) / 2, 0, 1)
    colours = table.astype(np.uint8)[np.rint(shade * 511).astype(np.int64)]
    picture = np.dstack([colours[pixels], np.rint(opacity * 255).astype(np.uint8)])
    return Image.fromarray(picture)


def as_png(sky: Array, limit: float, width: int = 1600) -> bytes:
    """The picture as PNG."""
    out = io.BytesIO()
    paint(sky, limit, width).save(out, format="PNG", compress_level=3)
    return out.getvalue()


def as_fits(sky: Array, header: dict[str, Any]) -> bytes:
    """The map as a HEALPix FITS file in RING order, in µK, with ``header`` entries."""
    from astropy.io import fits

    table = fits.BinTableHDU.from_columns(
        [fits.Column(name="TEMPERATURE", format="E", unit="uK_CMB", array=sky.astype(np.float32))]
    )
    table.header["PIXTYPE"] = "HEALPIX"
    table.header["ORDERING"] = "RING"
    table.header["NSIDE"] = math.isqrt(sky.size // 12)
    table.header["FIRSTPIX"] = 0
    table.header["LASTPIX"] = sky.size - 1
    table.header["INDXSCHM"] = "IMPLICIT"
    table.header["OBJECT"] = "FULLSKY"
    for key, value in header.items():
        table.header[key] = value
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out)
    return out.getvalue()
