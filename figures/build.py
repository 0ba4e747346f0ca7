"""Redraw all figures from the committed results, computing nothing: ``python figures/build.py``."""

import importlib
import sys
from pathlib import Path

try:
    from linphase.interrupts import guard

    guard(__name__)
    from linphase.study import redraw
    from linphase.study.files import told
except ModuleNotFoundError:
    sys.exit("figures/build.py needs the package: run `make figures`, or `pip install -e .` first")

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Draw the figures of each simulation that has committed results."""
    sys.path.insert(0, str(ROOT / "simulations"))
    results = ROOT / "simulations" / "results"
    for record in sorted(results.glob("**/run.json")):
        name, *variant = record.parent.relative_to(results).parts
        study = importlib.import_module(name).STUDY
        for path in redraw(study, record.parent, ROOT / "figures", *variant):
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        print(f"figures/build.py: {told(error)}", file=sys.stderr)
        sys.exit(2)
