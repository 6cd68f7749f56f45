"""The sea's temperature around the globe: smooth over gaps; where currents make it warm or cold.

    python examples/sea_surface.py

The field is what ships measured in Januaries and Julys, on 2 degrees (``sea_surface.npz``; see
README.md): there is land in it, there are parts of the ocean where nobody sails, and the map is cut
at 20 degrees east. Needs Faltung, NumPy and xarray (``pip install "faltung[xarray]"``). Writes
``sea_surface.png`` in the current folder: as measured, smooth, and warmer or colder than the sea
is elsewhere on the same latitude, in January on the left and in July on the right.
"""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from first_convolution import write_png

import faltung.xarray as fx

FIELD = Path(__file__).with_suffix(".npz")
OUTPUT = Path("sea_surface.png")
AROUND = {"lat": "constant", "lon": "wrap"}  # nothing beyond the poles; around the globe
NEAR, FAR = 1, 25  # standard deviations in cells of two degrees
CURRENTS = {  # the latitude and longitude of a place in each
    "North Atlantic Drift, off Norway": (65, 367),
    "Gulf Stream, off Cape Hatteras": (37, 291),
    "Labrador Current": (53, 307),
    "California Current": (33, 239),
    "Humboldt Current": (-15, 283),
    "Benguela Current": (-25, 373),
}


def read() -> xr.DataArray:
    """Temperatures (month, lat, lon); NaN where there is land, or nothing was measured."""
    with np.load(FIELD) as file:
        levels, lat, lon = file["sst"], file["lat"], file["lon"]
    values = np.where(levels == -32768, np.nan, levels / 100).astype(np.float32)
    coords = {"month": ["January", "July"], "lat": lat, "lon": lon}
    return xr.DataArray(values, coords, ("month", "lat", "lon"), "sst", {"units": "degrees C"})


def smooth(field: xr.DataArray, cells: float, **options: Any) -> xr.DataArray:
    """Means of what is there, each cell by its area. A degree of longitude is the same number of
    cells everywhere, so near the poles the mean is narrower, in kilometres, from east to west.
    """
    area = np.cos(np.deg2rad(field.lat))
    sigma = {"lat": cells, "lon": cells}
    return fx.gaussian_filter(field, sigma, mode=AROUND, skipna=True, weights=area, **options)


def coloured(field: xr.DataArray, low: float, high: float) -> np.ndarray:
    """From blue over white to red, (3, lat, lon * month), north above; what is missing is grey."""
    values = np.hstack(field.values[:, ::-1])
    share = ((values - low) / (high - low)).clip(0, 1)
    red, blue = (2 * share).clip(0, 1), (2 - 2 * share).clip(0, 1)
    picture = np.stack([red, np.minimum(red, blue), blue])
    return np.where(np.isnan(values), 0.6, picture)


def main() -> None:
    sst = read()
    near = smooth(sst, NEAR)
    print(f"cells without a temperature: {int(sst.isnull().sum())} of {sst.size}")
    plain = fx.gaussian_filter(sst, {"lat": NEAR, "lon": NEAR}, mode=AROUND)
    print(f"  after a filter that knows no gaps: {int(plain.isnull().sum())}")
    print(f"  with the weights of what is there: {int(near.isnull().sum())}")
    kept = smooth(sst, NEAR, preserve_nan=True)
    print(f"  the same, land stays land: {int(kept.isnull().sum())}")

    # Wherever the map is cut, the answer is the same.
    turned = smooth(sst.roll(lon=77, roll_coords=True), NEAR).roll(lon=-77, roll_coords=True)
    print(f"\nthe globe turned and turned back gives the same, bit for bit: {turned.equals(near)}")

    coarse = fx.conv(
        sst,
        {"lat": np.ones(5) / 5, "lon": np.ones(5) / 5},
        stride=5,
        padding_mode=AROUND,
        skipna=True,
    )
    print(f"every fifth cell: {dict(coarse.sizes)}, longitudes {coarse.lon.values[:3]}...")

    # What is not named is left alone: the mean along each circle of latitude.
    unlike = kept - fx.gaussian_filter(sst, {"lon": FAR}, mode="wrap", skipna=True)
    print("\nwarmer than elsewhere on the same latitude, in degrees   January    July")
    for name, (lat, lon) in CURRENTS.items():
        january, july = unlike.sel(lat=lat, lon=lon).values
        print(f"  {name:50} {january:9.1f} {july:7.1f}")

    rows = [coloured(sst, -2, 30), coloured(kept, -2, 30), coloured(unlike, -6, 6)]
    picture = np.concatenate(rows, 1).repeat(3, 1).repeat(3, 2)
    write_png(OUTPUT, picture)
    print(f"\nwrote {OUTPUT}")


if __name__ == "__main__":
    main()
