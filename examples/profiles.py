"""Measure the brightest galaxies of the sample survey and write a report: python examples/profiles.py

Offline. The first call builds the sample survey in the user's cache directory (a few seconds more).
"""

import numpy as np

import skyloom as sl
from skyloom.sky.profiles import Flag

survey = sl.sample()
fitting = f"half_light_radius < {survey.info.shape[0] / 10}"  # so that there is sky around them in the cutout
galaxies = survey.table(["object_id", "mag_r"], f"is_extended AND NOT in_halo AND NOT is_cut AND {fitting}")
brightest = galaxies.sort_by("mag_r")["object_id"].to_pylist()[:8]

table = sl.profile(survey, "brightest.parquet", ids=brightest)
for row in table.to_pylist():
    if row["band"] == "r":
        at_half_light = np.interp(row["r_e"], row["sma"], row["ellipticity"])
        remarks = Flag(row["flag"] & ~Flag.NO_WCS).name or "clean"
        print(
            f"{row['object_id']}: r = {row['mag']:.2f} ± {row['mag_error']:.2f} mag, "
            f"R_e = {row['r_e']:.2f} ± {row['r_e_error']:.2f} arcsec, ellipticity {at_half_light:.2f}; {remarks}"
        )

page = sl.report([survey.path, "brightest.parquet"], "brightest.html")
print(f"look at {page}")
