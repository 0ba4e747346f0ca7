"""Figure 5: training below ε* overfits as clean training does, above it the generalisation gap grows.

Per epoch, the adversarial test loss less the training loss, over its value after the first decay of the rate,
for strengths below and above the measured ε*. On scikit-learn's digits unless --dataset names another set.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import deep_overfitting
    from claims.deep_costs import study

    from linphase.study import main
except ModuleNotFoundError as missing:
    remedy = "`make overfitting`, or `pip install -e '.[deep]'` where pyproject.toml is"
    sys.exit(f"{missing.name} is not installed: {remedy}")

PARTS = {deep_overfitting.PART: deep_overfitting.passes}
STUDY = study("overfitting", __doc__, PARTS)

if __name__ == "__main__":
    sys.exit(main(STUDY))
