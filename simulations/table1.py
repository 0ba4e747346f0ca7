"""Table 1: losses of a network trained at a few attack strengths, and ε* where they cross.

At the epoch with the smallest adversarial test loss: adversarial training loss (running mean, as in the
paper), test loss, accuracies; ε* by linear interpolation of the training loss at the clean test loss.
"""

import sys

try:
    from linphase.interrupts import guard

    guard(__name__)
    from claims import deep_rows
    from claims.deep_costs import study

    from linphase.study import main
except ModuleNotFoundError as missing:
    remedy = "`make table1`, or `pip install -e '.[deep]'` where pyproject.toml is"
    sys.exit(f"{missing.name} is not installed: {remedy}")

PARTS = {deep_rows.PART: deep_rows.passes}
STUDY = study("table1", __doc__, PARTS)

if __name__ == "__main__":
    sys.exit(main(STUDY))
