"""Table 4: cheap ways to find the critical strength ε*, against training from scratch.

Attacking the clean model alone, the paper's short fine-tuning with a linear extrapolation (FGM or PGD,
one run or three), and one fine-tuning during which ε follows its own crossing: error and cost of each.
"""

import sys

try:
    from claims import deep_methods
    from claims.deep_sets import FLAGS, dry_run

    from linphase.study import Study, main
except ModuleNotFoundError as missing:
    remedy = "`make table4`, or `pip install -e '.[deep]'` where pyproject.toml is"
    sys.exit(f"{missing.name} is not installed: {remedy}")

STUDY = Study(
    "table4",
    __doc__,
    [deep_methods.PART],
    flags=FLAGS,
    variant="dataset",
    dry_run=dry_run(),
)

if __name__ == "__main__":
    sys.exit(main(STUDY))
