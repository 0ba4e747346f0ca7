"""Redraw all figures from the committed results, computing nothing: ``python figures/build.py``."""

import importlib
import sys
from pathlib import Path

try:
    from linphase.study import redraw
except ModuleNotFoundError:
    sys.exit("figures/build.py needs the package: run `make figures`, or `pip install -e .` first")

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Draw the figures of each simulation that has committed results."""
    sys.path.insert(0, str(ROOT / "simulations"))
    for record in sorted((ROOT / "simulations" / "results").glob("*/run.json")):
        study = importlib.import_module(record.parent.name).STUDY
        for path in redraw(study, record.parent, ROOT / "figures"):
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
