"""Simulations by name: ``python -m linphase NAME [flags]`` runs one.

``python -m linphase promote NAME [--out FOLDER]`` moves a finished run's results, by default those of the
latest, to where they are committed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from linphase.interrupts import guard

HOME = Path(__file__).resolve().parent
CHECKOUT = HOME.parent / "simulations"


def program() -> int:
    """Do what `main` does, as a program of its own: with an answer to Ctrl-C from its first moment on."""
    guard()
    return main()


def main() -> int:
    """Run or promote the simulation that the command line names."""
    import runpy

    folder = next((f for f in (HOME / "simulations", CHECKOUT) if f.is_dir()), CHECKOUT)
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    known = ", ".join(names) or "(none found)"
    usage = f"python -m linphase [promote] NAME [flags], with NAME one of {known}"
    verb, *words = sys.argv[1:] or [""]
    if verb in ("-h", "--help"):
        print(f"{usage}; NAME -h says more")
        return 0
    name = (words or [""])[0] if verb == "promote" else verb
    if name not in names:
        print(f"{name!r} is no simulation: {usage}" if name else usage, file=sys.stderr)
        return 2
    if verb == "promote":
        return _promote(name, words[1:])
    script = folder / f"{name}.py"
    sys.argv = [str(script), *words]
    sys.path.insert(0, str(folder))
    runpy.run_path(str(script), run_name="__main__")
    return 0


def _promote(name: str, words: Sequence[str]) -> int:
    import argparse

    from linphase.study import promote
    from linphase.study.files import told

    parser = argparse.ArgumentParser(prog=f"python -m linphase promote {name}", allow_abbrev=False)
    parser.add_argument("--out", type=Path, help=f"folder of the run (default: the latest in out/{name})")
    out = parser.parse_args(words).out or _latest(Path("out") / name)
    if not CHECKOUT.is_dir():
        print(f"results are promoted in a checkout only, and {HOME.parent} is none", file=sys.stderr)
        return 2
    try:
        files = promote(out, CHECKOUT / "results" / name, CHECKOUT.parent / "figures")
    except (ValueError, OSError) as error:
        print(told(error), file=sys.stderr)
        return 2
    print(f"promoted {len(files)} files of {out}")
    return 0


def _latest(folder: Path) -> Path:
    """Return the folder of the latest of a simulation's runs, which has a subfolder for each variant."""
    records = [*folder.glob("run.json"), *folder.glob("*/run.json")]
    return max(records, key=lambda record: record.stat().st_mtime).parent if records else folder


if __name__ == "__main__":
    sys.exit(program())
