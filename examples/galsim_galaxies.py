"""A generated galaxy in a simulation of one's own: sheared, seen through another telescope's PSF, drawn."""

import galsim

import skyloom as sl

galaxy = sl.galsim_galaxies(
    "galaxy-mock-conditional", 1, labels={"r_mag": 19.5, "r_e": 1.5}, seed=2, zero_point=27.0, deconvolved=True
)[0]["r"]
seen = galsim.Convolve(galaxy.shear(g1=0.03), galsim.Moffat(beta=3, fwhm=0.8))
image = seen.drawImage(nx=128, ny=128, scale=0.2)
print(f"drawn {image.array.sum():.0f} of {galaxy.flux:.0f}")
