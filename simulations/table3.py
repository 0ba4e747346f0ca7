"""Table 3."""

import sys

from claims import deep_critical
from claims.deep_sets import FLAGS

from linphase.study import Study, main

STUDY = Study("table3", __doc__, [deep_critical.PART], flags=FLAGS, variant="dataset")

if __name__ == "__main__":
    sys.exit(main(STUDY))
