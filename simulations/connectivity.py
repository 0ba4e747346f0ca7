"""Figure 4: the loss surface between the clean model and models trained below and above ε*.

A Bézier curve of one bend trained between each pair, its barrier, and the asymmetry of the low-loss region in
the plane that holds it. On scikit-learn's digits unless --dataset names another set.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import deep_connectivity
    from claims.deep_costs import study

    from linphase.study import main
except ModuleNotFoundError as missing:
    remedy = "`make connectivity`, or `pip install -e '.[deep]'` where pyproject.toml is"
    sys.exit(f"{missing.name} is not installed: {remedy}")

PARTS = {deep_connectivity.PART: deep_connectivity.passes}
STUDY = study("connectivity", __doc__, PARTS)

if __name__ == "__main__":
    sys.exit(main(STUDY))
