"""Table 4: cheap ways to find the critical strength ε*, against training from scratch.

Attacking the clean model alone, the paper's short fine-tuning with a linear extrapolation (FGM or PGD,
one run or three), and one fine-tuning during which ε follows its own crossing: error and cost of each.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import deep_methods, deep_strength
    from claims.deep_costs import study
    from claims.deep_sets import ONCE, SIZES

    from linphase.study import main
except ModuleNotFoundError as missing:
    remedy = "`make table4`, or `pip install -e '.[deep]'` where pyproject.toml is"
    sys.exit(f"{missing.name} is not installed: {remedy}")

PARTS = {deep_methods.PART: deep_strength.passes}
STUDY = study("table4", __doc__, PARTS, SIZES, ONCE)

if __name__ == "__main__":
    sys.exit(main(STUDY))
