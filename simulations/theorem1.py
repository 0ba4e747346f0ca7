"""Theorem 1: where adversarial training leaves clean training in linear regression.

Small attacks, convergence, large attacks, the boundary √(d/n), the p-values of Figure 2 and Remark 2, each
with a verdict; Figures 1, 7 and 2.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import boundary, convergence, large_attack, noise, p_values, small_attack, trajectories

    import linphase as lp
    from linphase.study import Study, main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: run `make theorem1`, or `pip install -e .` in its folder")


def warm() -> None:
    """Compile every kernel that the blocks use, before workers start."""
    for n, d in ((6, 2), (2, 4)):
        X, y = lp.GaussianDesign(n, d).sample(lp.stream(0, "warm", n, d))
        lp.solve(lp.AdversarialProblem(X, y, 0.1))
        lp.gradient_descent_batch(X[None], y[None], [0.0, 0.1], 0.1, 2)
    X, y = lp.GaussianDesign(6, 2).sample(lp.stream(0, "warm"))
    lp.solve_batch(X[None], y[None], 0.1)
    lp.critical_strength(X, y, noise=1.0, criterion="parameter")
    order = lp.stream(0, "order")
    lp.gradient_descent(lp.AdversarialProblem(X, y, 0.1), n_steps=2, batch_size=2, rng=order)


PARTS = (trajectories, small_attack, convergence, large_attack, boundary, p_values, noise)
STUDY = Study("theorem1", __doc__, [part.PART for part in PARTS], warm)

if __name__ == "__main__":
    sys.exit(main(STUDY))
