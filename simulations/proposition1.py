"""Proposition 1: a wide two-layer network with vanishing initialisation trains like the linear model.

Its distance to its linear twin against the width, clean and attacked; the thresholds of its predictor and of
its losses; the initialisation; p-values; the quality of the attack: each with a verdict.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import (
        network_attack,
        network_losses,
        network_p_values,
        network_paths,
        network_predictor,
        network_start,
        network_width,
    )

    import linphase as lp
    from linphase.study import Study, main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: run `make proposition1`, or `pip install -e .` in its folder")


def warm() -> None:
    """Compile every kernel that the blocks use, before workers start."""
    X, y = lp.GaussianDesign(6, 2).sample(lp.stream(0, "warm"))
    for attack in ("fgm", "pgd"):
        problem = lp.AdversarialProblem(X, y, 0.1)
        net = lp.two_layer_descent(problem, 2, lp.stream(0, "warm"), n_steps=2, attack=attack, points=X)
        net.loss(), net.predict(X), net.twin
    for criterion in ("parameter", "loss", "clean-loss"):
        lp.critical_strength(X, y, theta0=[0.1, 0.1], noise=1.0, criterion=criterion)


PARTS = (
    network_paths,
    network_width,
    network_predictor,
    network_losses,
    network_start,
    network_p_values,
    network_attack,
)
STUDY = Study("proposition1", __doc__, [part.PART for part in PARTS], warm)

if __name__ == "__main__":
    sys.exit(main(STUDY))
