"""From the unit that a gateway writes to the unit that the catalogue counts in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Linear:
    """value * factor + offset."""

    factor: float = 1.0
    offset: float = 0.0

    def __call__(self, value: float) -> float:
        """`value`, turned."""
        return value * self.factor + self.offset

    def then(self, after: "Linear") -> "Linear":
        """First this, then `after`."""
        return Linear(self.factor * after.factor, self.offset * after.factor + after.offset)


AS_IT_IS: Final = Linear()

DIMENSIONS: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    "length": {"m": (1, 0), "km": (1e3, 0), "cm": (1e-2, 0), "mm": (1e-3, 0), "um": (1e-6, 0)},
    "pressure": {
        "Pa": (1, 0), "hPa": (1e2, 0), "kPa": (1e3, 0), "MPa": (1e6, 0), "mbar": (1e2, 0),
        "bar": (1e5, 0), "[psi]": (6894.757293168361, 0), "atm": (101325, 0),
    },
    "temperature": {"K": (1, 0), "Cel": (1, 273.15), "[degF]": (5 / 9, 459.67 * 5 / 9)},
    "share": {"/": (1, 0), "%": (1e-2, 0), "/1000": (1e-3, 0), "[ppm]": (1e-6, 0),
              "[ppb]": (1e-9, 0)},
    "share of the lower explosive limit": {"%{LEL}": (1, 0)},
    "relative humidity": {"%RH": (1, 0)},
    "number": {"1": (1, 0)},
    "floor": {"{floor}": (1, 0)},
    "people": {"{person}": (1, 0)},
    "angle": {"deg": (1, 0), "rad": (180 / 3.141592653589793, 0)},
    "speed": {"m/s": (1, 0), "mm/s": (1e-3, 0), "m/min": (1 / 60, 0), "m/h": (1 / 3600, 0),
              "km/h": (1 / 3.6, 0), "mm/d": (1e-3 / 86400, 0)},
    "time": {"s": (1, 0), "ms": (1e-3, 0), "min": (60, 0), "h": (3600, 0), "d": (86400, 0)},
    "volume": {"m3": (1, 0), "L": (1e-3, 0), "mL": (1e-6, 0)},
    "flow": {"m3/s": (1, 0), "m3/h": (1 / 3600, 0), "L/s": (1e-3, 0), "L/min": (1e-3 / 60, 0)},
    "mass": {"kg": (1, 0), "g": (1e-3, 0), "t": (1e3, 0)},
    "concentration": {"kg/m3": (1, 0), "g/m3": (1e-3, 0), "mg/m3": (1e-6, 0), "ug/m3": (1e-9, 0)},
    "voltage": {"V": (1, 0), "mV": (1e-3, 0), "kV": (1e3, 0)},
    "current": {"A": (1, 0), "mA": (1e-3, 0)},
    "insulation": {"Ohm/V": (1, 0), "kOhm/V": (1e3, 0)},
    "power": {"W": (1, 0), "mW": (1e-3, 0), "kW": (1e3, 0)},
    "frequency": {"Hz": (1, 0), "kHz": (1e3, 0), "MHz": (1e6, 0)},
}  # fmt: skip
"""Dimension to unit (UCUM; `/`, `/1000`, `%RH` of SenML) to factor and offset of its base unit.

%LEL is a dimension of its own: 5 % methane by volume is 100 %LEL.
Sources: UCUM 2.1; SenML units, RFC 8428 12.1, and secondary units, RFC 8798 3.
"""

SPELLINGS: Final[Mapping[str, str]] = {
    "°C": "Cel", "℃": "Cel", "degC": "Cel", "C": "Cel", "°F": "[degF]", "℉": "[degF]",
    "degF": "[degF]", "kpa": "kPa", "KPa": "kPa", "Mpa": "MPa", "psi": "[psi]",
    "ppm": "[ppm]", "PPM": "[ppm]", "ppb": "[ppb]", "%LEL": "%{LEL}", "LEL": "%{LEL}",
    "%lel": "%{LEL}", "/100": "%", "m³": "m3", "m³/h": "m3/h", "mg/m³": "mg/m3", "l": "L",
    "ml": "mL", "μm": "um", "ug/m³": "ug/m3", "μg/m3": "ug/m3", "%rh": "%RH",
    "°": "deg", "人": "{person}", "Ω/V": "Ohm/V",
}  # fmt: skip
"""What is written in the field, to the name above."""

UNITS: Final = {
    unit: (dimension, factor, offset)
    for dimension, units in DIMENSIONS.items()
    for unit, (factor, offset) in units.items()
}


def known_unit(text: str) -> str | None:
    """The unit's name above, for a name or a usual spelling of it; None if it is not known."""
    text = text.strip()
    unit = SPELLINGS.get(text, text)
    return unit if unit in UNITS else None


def conversion(given: str, wanted: str) -> Linear | None:
    """From one unit to another; None where either is not known or they measure different things."""
    if given == wanted:
        return AS_IT_IS
    one, other = known_unit(given), known_unit(wanted)
    if one is None or other is None or UNITS[one][0] != UNITS[other][0]:
        return None
    if one == other:
        return AS_IT_IS
    (_, factor, offset), (_, to_factor, to_offset) = UNITS[one], UNITS[other]
    return Linear(factor / to_factor, (offset - to_offset) / to_factor)
