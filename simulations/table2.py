"""Table 2: FGSM training overfits catastrophically only from a strength above ε* on.

Trained by FGSM over a grid of strengths (zero start, random start, with GradAlign; PGD as a control), judged
by PGD with 50 steps and 10 restarts: the smallest unstable strength beside ε*; ε* by FGM instead of PGD.
On scikit-learn's digits unless --dataset names another set.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import deep_catastrophic
    from claims.deep_costs import study

    from linphase.study import main
except ModuleNotFoundError as missing:
    remedy = "`make table2`, or `pip install -e '.[deep]'` where pyproject.toml is"
    sys.exit(f"{missing.name} is not installed: {remedy}")

PARTS = {deep_catastrophic.PART: deep_catastrophic.passes}
STUDY = study("table2", __doc__, PARTS)

if __name__ == "__main__":
    sys.exit(main(STUDY))
