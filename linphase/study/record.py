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

from linphase.study.files import named, pack, prepare, unpack, write
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
    files = recorded(folder).get("files")
    for name in filter(_plain, files if isinstance(files, list) else ()):
        for place in (folder, *others):
            (place / name).unlink(missing_ok=True)
    (folder / "run.json").unlink(missing_ok=True)


def load_figures(folder: Path) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the figure data of a folder by figure name."""
    figures = {}
    for path in sorted([*folder.glob("figure_*.csv"), *folder.glob("figure_*.npz")]):
        try:
            packed = path.suffix == ".npz"
            columns = unpack(path.read_bytes()) if packed else columns_from_csv(path.read_text("utf-8"))
        except (ValueError, IndexError) as error:
            raise ValueError(f"figure data cannot be read, {path} is damaged: {error}") from error
        figures[path.stem.removeprefix("figure_")] = columns
    return figures


def redraw(study: Study, results: Path, out: Path, variant: str = "") -> list[Path]:
    """Draw a study's figures into ``out`` from the figure data in ``results``, computing nothing.

    Returns the files drawn, which appear whole; their names end with that of the variant, if there is one.
    """
    figures = load_figures(results)
    prepare(out)
    drawn = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for part in study.parts:
                if part.draw is not None:
                    part.draw(figures, Path(folder))
        except OSError as error:
            raise (error if error.filename else named(error, Path(folder))) from error
        contents = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    for file, content in contents.items():
        stem, suffix = Path(file).stem, Path(file).suffix
        drawn.append(out / (f"{stem}_{variant}{suffix}" if variant else file))
        write(drawn[-1], content)
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

    The data of a study's variant go to a subfolder of ``results``. What an earlier run left there is removed,
    once all of the new run has been read. Returns the new files.

    Raises
    ------
    ValueError
        If the run is incomplete, quick, or has fewer replicates than the study asks for, or if its record
        names what is no plain file of its folder.
    """
    record = recorded(out)
    if not record:
        raise ValueError(f"only a finished run can be promoted, {out} holds none")
    if record.get("full_scale") is not True:
        raise ValueError(
            f"only a run at full scale can be promoted, {out} was made with --quick or few --reps"
        )
    files, variant = record.get("files"), record.get("variant", "")
    if not isinstance(files, list) or not all(map(_plain, files)):
        raise ValueError(f"only a run whose record names plain files can be promoted, {out} has {files!r}")
    if variant != "":
        if not _plain(variant) or (results / variant).is_symlink():
            raise ValueError(f"a run's variant must be the plain name of a folder, {out} has {variant!r}")
        results = results / variant
    contents = {}
    for name in (*files, "run.json"):
        if (out / name).is_symlink() or not (out / name).is_file():
            raise ValueError(f"only whole runs can be promoted, {out / name} is no file")
        contents[(figures if name.endswith(PICTURES) else results) / name] = (out / name).read_bytes()
    for folder in (results, figures):
        prepare(folder)
    clear(results, figures)
    for path, content in contents.items():
        write(path, content)
    return list(contents)


def simulations() -> list[Path]:
    """Return the folders that may hold simulations: beside the script, installed, in the checkout."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    beside = [Path(script).resolve().parent] if script else []
    return [*beside, HOME / "simulations", HOME.parent / "simulations"]


def recorded(folder: Path) -> dict[str, Any]:
    """Return a folder's run.json; empty if there is none that can be read."""
    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _plain(name: object) -> bool:
    """Tell whether a name that a record holds is one that names a file in a folder, and nothing elsewhere."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) is not None


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
