"""The Asset Administration Shell of a station, its releases and its datasets: one file for each submodel.

It follows the published IDTA templates; nobody certified it.
"""
