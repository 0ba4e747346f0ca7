"""Table 3: the critical strength ε* of deep networks by data set, network and sample size.

ε* from scratch and by attacking the clean model alone, with intervals over seeds; its exponents in the sample
size and the width; TRADES and MART. On scikit-learn's digits unless --dataset names another data set; the
paper's numbers stand beside ours where it has them.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import deep_size, deep_strength
    from claims.deep_costs import study
    from claims.deep_sets import SIZES

    from linphase.study import main
except ModuleNotFoundError as missing:
    remedy = "`make table3`, or `pip install -e '.[deep]'` where pyproject.toml is"
    sys.exit(f"{missing.name} is not installed: {remedy}")

PARTS = {deep_size.PART: deep_strength.passes}
STUDY = study("table3", __doc__, PARTS, SIZES)

if __name__ == "__main__":
    sys.exit(main(STUDY))
