"""Numba kernels: arrays in, arrays and a status code out."""
