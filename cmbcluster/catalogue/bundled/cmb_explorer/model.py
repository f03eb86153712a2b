"""The physics of the explorer: parameters in, spectra and derived figures out, by CAMB.

Kept apart from the page so that it can be tested and reused in a notebook. It must never
draw, never touch the disk, and never make up a number: every figure comes from CAMB.
"""

from __future__ import annotations

import io
import threading
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LMAX = 2500

# CAMB keeps its state in Fortran modules: two runs at once in one process end it.
_one_at_a_time = threading.Lock()
KINDS: dict[str, str] = {"TT": "Temperature", "TE": "Cross", "EE": "E modes", "PP": "Lensing"}


@dataclass(frozen=True)
class Parameters:
    """A flat ΛCDM universe with massive neutrinos, in CAMB's own words.

    The defaults are the rounded best fit of Planck 2018 (TT,TE,EE+lowE+lensing).
    """

    H0: float = 67.36
    ombh2: float = 0.02237
    omch2: float = 0.1200
    ns: float = 0.9649
    As: float = 2.10  # times 1e-9
    tau: float = 0.0544
    mnu: float = 0.06


REFERENCE = Parameters()


@dataclass(frozen=True)
class Range:
    """What a slider needs to know of a parameter."""

    name: str
    symbol: str
    unit: str
    low: float
    high: float
    step: float
    digits: int
    says: str


RANGES: tuple[Range, ...] = (
    Range("H0", "$H_0$", "km/s/Mpc", 50.0, 90.0, 0.01, 2, "How fast the universe expands today."),
    Range("ombh2", r"$\Omega_b h^2$", "", 0.010, 0.040, 0.00001, 5, "Ordinary matter: raises the odd peaks."),
    Range("omch2", r"$\Omega_c h^2$", "", 0.020, 0.220, 0.0001, 4, "Cold dark matter: moves and lowers the peaks."),
    Range("ns", "$n_s$", "", 0.80, 1.20, 0.0001, 4, "Tilt of the first fluctuations; 1 is no tilt."),
    Range("As", "$A_s$", "10⁻⁹", 0.50, 4.00, 0.01, 2, "Strength of the first fluctuations."),
    Range(
        "tau", r"$\tau$", "", 0.010, 0.150, 0.0001, 4, "Optical depth: how much was scattered since the first stars."
    ),
    Range("mnu", r"$\Sigma m_\nu$", "eV", 0.0, 1.5, 0.01, 2, "Sum of the neutrino masses."),
)

PRESETS: dict[str, Parameters] = {
    "Reference": REFERENCE,
    "More baryons": replace(REFERENCE, ombh2=0.032),
    "Little dark matter": replace(REFERENCE, omch2=0.050),
    "Heavy neutrinos": replace(REFERENCE, mnu=1.0),
    "Early stars": replace(REFERENCE, tau=0.12),
    "Faster expansion": replace(REFERENCE, H0=73.0),
}


@dataclass(frozen=True)
class Derived:
    """Figures that follow from the parameters."""

    age: float  # Gyr
    sigma8: float
    omega_m: float
    omega_lambda: float
    z_star: float  # last scattering
    z_eq: float  # matter and radiation equal
    r_drag: float  # Mpc
    theta_star: float  # 100 times the angle, in radians


@dataclass(frozen=True)
class Spectra:
    """Lensed spectra as D = ℓ(ℓ+1)C/2π in µK², lensing as [ℓ(ℓ+1)]²C/2π, by ℓ from 0."""

    parameters: Parameters
    tt: Array
    te: Array
    ee: Array
    pp: Array
    derived: Derived

    @property
    def ell(self) -> Array:
        """The multipoles the arrays are indexed by."""
        return np.arange(self.tt.size, dtype=np.float64)

    def of(self, kind: str) -> Array:
        """The array of one of KINDS."""
        return {"TT": self.tt, "TE": self.te, "EE": self.ee, "PP": self.pp}[kind]


def compute(parameters: Parameters, *, fine: bool = False, lmax: int = LMAX) -> Spectra:
    """Run CAMB. ``fine`` asks for non-linear lensing at about twice the time.

    Safe to call from several threads; they take turns.
    """
    with _one_at_a_time:
        return _run_camb(parameters, fine=fine, lmax=lmax)


def _run_camb(parameters: Parameters, *, fine: bool, lmax: int) -> Spectra:
    import camb

    asked: Any = camb.CAMBparams()
    asked.set_cosmology(
        H0=parameters.H0,
        ombh2=parameters.ombh2,
        omch2=parameters.omch2,
        mnu=parameters.mnu,
        omk=0,
        tau=parameters.tau,
    )
    asked.InitPower.set_params(As=parameters.As * 1e-9, ns=parameters.ns)
    asked.set_for_lmax(lmax, lens_potential_accuracy=1 if fine else 0)
    asked.set_matter_power(redshifts=[0.0], kmax=10.0 if fine else 2.0)
    results: Any = camb.get_results(asked)

    total = results.get_lensed_scalar_cls(lmax, CMB_unit="muK")
    lensing = results.get_lens_potential_cls(lmax)
    told = results.get_derived_params()
    derived = Derived(
        age=float(told["age"]),
        sigma8=float(results.get_sigma8_0()),
        omega_m=float(asked.omegam),
        omega_lambda=float(results.get_Omega("de")),
        z_star=float(told["zstar"]),
        z_eq=float(told["zeq"]),
        r_drag=float(told["rdrag"]),
        theta_star=float(told["thetastar"]),
    )
    return Spectra(
        parameters=parameters,
        tt=np.asarray(total[:, 0], dtype=np.float64),
        te=np.asarray(total[:, 3], dtype=np.float64),
        ee=np.asarray(total[:, 1], dtype=np.float64),
        pp=np.asarray(lensing[:, 0], dtype=np.float64),
        derived=derived,
    )


def as_csv(spectra: Spectra) -> str:
    """The spectra from ℓ = 2 as CSV; the parameters stand in comment lines above."""
    out = io.StringIO()
    out.write("# CMB spectra computed with CAMB\n")
    for item in fields(spectra.parameters):
        out.write(f"# {item.name} = {getattr(spectra.parameters, item.name)!r}\n")
    out.write("# As is in units of 1e-9. TT, TE, EE: l(l+1)C/2pi in microkelvin^2. PP: [l(l+1)]^2 C/2pi.\n")
    out.write("ell,TT,TE,EE,PP\n")
    columns = np.column_stack([spectra.ell, spectra.tt, spectra.te, spectra.ee, spectra.pp])[2:]
    for ell, *values in columns:
        out.write(f"{int(ell)}," + ",".join(f"{value:.8e}" for value in values) + "\n")
    return out.getvalue()


def as_record(spectra: Spectra) -> dict[str, dict[str, float]]:
    """Parameters and derived figures, ready for JSON."""
    return {"parameters": asdict(spectra.parameters), "derived": asdict(spectra.derived)}
