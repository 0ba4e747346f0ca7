"""Sizes of arrays, in one pass."""

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def largest(A):
    """Largest absolute values (m, d) over the middle axis of A (m, n, d); NaN where there is one."""
    sizes = np.zeros((A.shape[0], A.shape[2]))
    for k in range(A.shape[0]):
        for i in range(A.shape[1]):
            for j in range(A.shape[2]):
                a = abs(A[k, i, j])
                if a > sizes[k, j] or a != a:
                    sizes[k, j] = a
    return sizes
