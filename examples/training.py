"""Teach a network what an engine does, then let it measure: python examples/training.py

Offline, in a minute; a real training leaves out `size` and takes hours.
"""

import numpy as np

import skyloom as sl
from skyloom.metrics.profiles import deviations

survey = sl.mock("mocks.lance", 24, size=64, bands="r", seed=1)
teacher = sl.profile(survey, with_="isophotes", keep=True)

run = sl.train("profile_decoder", survey.path, "pupil", size="smoke", settings={"target": "profile_isophotes"})
pupil = sl.profile(sl.open(survey.path), with_=run.path)

points = deviations(pupil, teacher)
print(f"{run.path}: {len(points.sb)} isophotes, median |Δμ| = {np.median(np.abs(points.deviation)):.2f} mag/arcsec²")
