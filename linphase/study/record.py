"""What a run leaves behind: table, verdicts, figure data and the record of how it was made."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from linphase.study.files import pack, unpack, write
from linphase.study.model import Figures, Options, Study
from linphase.study.tables import Rows, columns_from_csv, columns_to_csv, number, to_csv, to_tex

if TYPE_CHECKING:
    from linphase.evidence import Verdict

HOME = Path(__file__).resolve().parents[1]
LIBRARIES = ("numpy", "scipy", "numba", "statsmodels", "matplotlib", "scikit-learn", "joblib", "torch")
PICTURES = (".pdf", ".png")


def save(
    out: Path, study: Study, rows: Mapping[str, Rows], verdicts: Sequence[Verdict], figures: Figures
) -> list[Path]:
    """Write table, verdicts and figure data, and return the files; equal content gives equal bytes."""
    clear(out)
    table = [{"part": name, **row} for name, part in rows.items() for row in part]
    entries = [{key: _json(value) for key, value in verdict.as_dict().items()} for verdict in verdicts]
    files = {"table.csv": to_csv(table).encode(), "table.tex": to_tex(rows).encode()}
    files["verdict.json"] = _text({"study": study.name, "verdicts": entries})
    for name, columns in figures.items():
        arrays = {key: np.asarray(column) for key, column in columns.items()}
        shapes = {column.shape for column in arrays.values()}
        if len(shapes) == 1 and len(shapes.pop()) == 1:
            files[f"figure_{name}.csv"] = columns_to_csv(arrays).encode()
        else:
            files[f"figure_{name}.npz"] = pack(arrays, compress=True)
    for file, content in files.items():
        write(out / file, content)
    return [out / file for file in files]


def clear(folder: Path, *others: Path) -> None:
    """Remove what the run recorded in a folder had written, from there and from other folders."""
    for name in recorded(folder).get("files", ()):
        for place in (folder, *others):
            (place / Path(name).name).unlink(missing_ok=True)
    (folder / "run.json").unlink(missing_ok=True)


def load_figures(folder: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the figure data of a folder by figure name."""
    figures = {}
    for path in sorted([*folder.glob("figure_*.csv"), *folder.glob("figure_*.npz")]):
        packed = path.suffix == ".npz"
        columns = unpack(path) if packed else columns_from_csv(path.read_text(encoding="utf-8"))
        if columns is None:
            raise ValueError(f"figure data must be a readable npz file, {path} is not")
        figures[path.stem.removeprefix("figure_")] = columns
    return figures


def redraw(study: Study, results: Path, out: Path, variant: str = "") -> list[Path]:
    """Draw a study's figures into ``out`` from the figure data in ``results``, computing nothing.

    Returns the files drawn, which appear whole; their names end with that of the variant, if there is one.
    """
    figures = load_figures(results)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        for part in study.parts:
            if part.draw is not None:
                part.draw(figures, Path(folder))
        drawn = []
        for path in sorted(Path(folder).iterdir()):
            path.chmod(0o644)
            name = f"{path.stem}_{variant}{path.suffix}" if variant else path.name
            drawn.append(path.replace(out / name))
    return drawn


def save_run(options: Options, files: Sequence[Path], facts: Mapping[str, Any]) -> None:
    """Write run.json, the last file of a run: all that may differ between two equal ones.

    Folders are left out of the arguments: they say something about the machine, not about the run.
    """
    flags = ("quick", "reps", "seed", "jobs", "fresh", "figures")
    own = {name: _told(value) for name, value in options.own.items() if not isinstance(value, Path)}
    record = {
        **facts,
        "arguments": {name: getattr(options, name) for name in flags} | own,
        "threads": {"workers": options.jobs, "blas": 1, "numba": 1},
        "machine": {"platform": platform.platform(), "processor": _processor(), "cores": os.cpu_count()},
        "versions": _versions(),
        "git": _git(),
        "files": [path.name for path in files],
    }
    write(options.out / "run.json", _text(record))


def promote(out: Path, results: Path, figures: Path) -> list[Path]:
    """Copy a full-scale run's data from ``out`` to ``results`` and its figures to ``figures``.

    The data of a study's variant go to a subfolder of ``results``. What an earlier run left there is removed.
    Returns the new files.

    Raises
    ------
    ValueError
        If the run is incomplete, quick, or has fewer replicates than the study asks for.
    """
    record = recorded(out)
    if not record:
        raise ValueError(f"only a finished run can be promoted, {out} holds none")
    if not record.get("full_scale"):
        raise ValueError(
            f"only a run at full scale can be promoted, {out} was made with --quick or few --reps"
        )
    results = results / record.get("variant", "")
    clear(results, figures)
    targets = []
    for name in (*record["files"], "run.json"):
        targets.append((figures if name.endswith(PICTURES) else results) / name)
        targets[-1].parent.mkdir(parents=True, exist_ok=True)
        write(targets[-1], (out / name).read_bytes())
    return targets


def simulations() -> list[Path]:
    """Return the folders that may hold simulations: beside the script, installed, in the checkout."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    beside = [Path(script).resolve().parent] if script else []
    return [*beside, HOME / "simulations", HOME.parent / "simulations"]


def recorded(folder: Path) -> dict[str, Any]:
    """Return a folder's run.json; empty if there is none that can be read."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _text(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _json(value: Any) -> Any:
    """A JSON value, numbers with as many digits as in the table."""
    return float(number(value)) if isinstance(value, float) and math.isfinite(value) else value


def _told(value: Any) -> Any:
    """A flag's value as JSON: what JSON has no word for, as text."""
    simple = isinstance(value, (int, str, type(None))) or (isinstance(value, float) and math.isfinite(value))
    return value if simple else str(value)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for library in ("linphase", *LIBRARIES):
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return str(re.findall(r"model name\s*:\s*(.*)", lines)[0])
    except (OSError, IndexError):
        return platform.processor()


def _git() -> dict[str, Any] | None:
    """Commit of the checkout that runs, and whether tracked files were changed; None outside a checkout."""
    git = shutil.which("git")

    def ask(*words: str) -> str:
        return subprocess.run(
            [str(git), "-C", str(HOME), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        ask("ls-files", "--error-unmatch", "__init__.py")  # an installed copy may lie in a foreign checkout
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError):
        return None
