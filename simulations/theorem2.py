"""Theorem 2: where the adversarial training loss leaves the clean one, and the critical strength ε*.

The displayed statement in five regimes of growth, exponents and constants of three thresholds against their
exact limits, Remark 1, the p-values of Figure 3 and the sign of Δ, each with a verdict; Figure 3, the phase
diagram, the thresholds against d/n.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import constants, empty_set, exponents, loss_p_values, phase_diagram, sample_size, two_sides

    import linphase as lp
    from linphase.study import Study, main
except ModuleNotFoundError as missing:
    sys.exit(
        f"{missing.name} is not installed: `make theorem2`, or `pip install -e .` where pyproject.toml is"
    )


def warm() -> None:
    """Compile every kernel that the blocks use, before workers start."""
    for n, d in ((6, 2), (2, 4)):
        X, y = lp.GaussianDesign(n, d).sample(lp.stream(0, "warm", n, d))
        lp.solve_path(X, y, n_eps=3)
        lp.gradient_descent_batch(X[None], y[None], [0.0, 0.1], 0.1, 2)
        lp.critical_strength(X, y, theta0=[0.1] * d, noise=1.0)


PARTS = (two_sides, exponents, constants, phase_diagram, sample_size, loss_p_values, empty_set)
STUDY = Study("theorem2", __doc__, [part.PART for part in PARTS], warm)

if __name__ == "__main__":
    sys.exit(main(STUDY))
