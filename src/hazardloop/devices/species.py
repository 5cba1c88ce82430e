"""Gases by name: how heavy they are, when they burn, how much of them people may breathe.

Sources: of the arithmetic GBZ 2.1-2019 and GB/T 50493-2019 5.5.2; the figures stand in
catalogue/gases.csv.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final, TypeVar

from hazardloop.devices.catalog import Text
from hazardloop.devices.readings import Floats

Number = TypeVar("Number", float, Floats)

ICE_POINT_K: Final = 273.15
ATMOSPHERE_KPA: Final = 101.325
LIMITS_AT_CEL: Final = 20.0
"""Temperature that GBZ 2.1 refers its limits to, at one atmosphere."""
MOLAR_VOLUME_L: Final = 22.4
"""L/mol at 0 Cel and one atmosphere. With this round figure, not 22.414, come the 24.04 L at
20 Cel and 24.45 L at 25 Cel that the tables in ppm were made with."""
LEVELS: Final = (1.0, 2.0)
"""Parts of the exposure limit at which the two levels of a toxic detector stand, at most."""


@dataclass(frozen=True, slots=True)
class Species:
    """One gas or vapour; None = not known, or there is no such limit."""

    code: str
    """As the tag `species` of a device says it."""
    name: Text
    cas: str
    formula: str
    molar_mass_g: float
    lel_vol: float | None
    """Lower explosive limit in % by volume, as Chinese handbooks print it."""
    uel_vol: float | None
    lel_iec_vol: float | None
    """The same by GB/T 60079-20-1, often a little lower."""
    mac: float | None
    """Exposure limits of GBZ 2.1, mg/m3."""
    twa: float | None
    stel: float | None
    idlh: float | None
    """Immediately dangerous to life or health, mg/m3, as GB/T 50493 uses it."""
    limits_confidence: str
    """sure, likely, check; of the exposure limits."""
    lel_confidence: str

    @property
    def exposure_limit(self) -> float | None:
        """The one that set-points follow, mg/m3: MAC, else PC-TWA, else PC-STEL (GB/T 50493)."""
        return next((limit for limit in (self.mac, self.twa, self.stel) if limit is not None), None)


def molar_volume_l(celsius: float = LIMITS_AT_CEL, kpa: float = ATMOSPHERE_KPA) -> float:
    """Litres that one mole of gas fills at that temperature and pressure (ideal gas)."""
    return MOLAR_VOLUME_L * (ICE_POINT_K + celsius) / ICE_POINT_K * ATMOSPHERE_KPA / kpa


def ppm_of(
    mg_m3: Number, gas: Species, celsius: float = LIMITS_AT_CEL, kpa: float = ATMOSPHERE_KPA
) -> Number:
    """Parts of volume per million, of mg/m3 at that temperature and pressure."""
    return mg_m3 * (molar_volume_l(celsius, kpa) / gas.molar_mass_g)


def mg_m3_of(
    ppm: Number, gas: Species, celsius: float = LIMITS_AT_CEL, kpa: float = ATMOSPHERE_KPA
) -> Number:
    """mg/m3 at that temperature and pressure, of parts of volume per million."""
    return ppm * (gas.molar_mass_g / molar_volume_l(celsius, kpa))


def vol_of(percent_lel: Number, gas: Species) -> Number:
    """% by volume, of a share of the lower explosive limit in %. ValueError: it does not burn."""
    return percent_lel * (_lel(gas) / 100)


def percent_lel_of(vol: Number, gas: Species) -> Number:
    """Share of the lower explosive limit in %, of % by volume. ValueError: it does not burn."""
    return vol * (100 / _lel(gas))


def _lel(gas: Species) -> float:
    if gas.lel_vol is None:
        raise ValueError(f"{gas.code} has no lower explosive limit")
    return gas.lel_vol


def toxic_levels(gas: Species) -> tuple[float, ...] | None:
    """Set-points of both levels, mg/m3 (GB/T 50493 5.5.2); None: it has no exposure limit."""
    limit = gas.exposure_limit
    return None if limit is None else tuple(limit * part for part in LEVELS)


def read_species(text: str) -> Mapping[str, Species]:
    """The gases of a table such as catalogue/gases.csv, by code."""
    return {row["species"]: _species(row) for row in csv.DictReader(text.splitlines())}


def shipped_species() -> Mapping[str, Species]:
    """The gases that come with the service."""
    file = resources.files("hazardloop") / "catalogue" / "gases.csv"
    return read_species(file.read_text("utf-8"))


def _species(row: Mapping[str, str]) -> Species:
    def number(column: str) -> float | None:
        return float(row[column]) if row[column] else None

    return Species(
        code=row["species"],
        name=Text(row["zh"], row["en"]),
        cas=row["cas"],
        formula=row["formula"],
        molar_mass_g=float(row["molar_mass_g"]),
        lel_vol=number("lel_vol"),
        uel_vol=number("uel_vol"),
        lel_iec_vol=number("lel_iec_vol"),
        mac=number("mac"),
        twa=number("twa"),
        stel=number("stel"),
        idlh=number("idlh"),
        limits_confidence=row["limits_confidence"],
        lel_confidence=row["lel_confidence"],
    )
