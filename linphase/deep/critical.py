"""The critical strength of a deep network by three methods.

ε* = sup{ε : L(ε) ≤ R}, where R is the clean test loss of the clean model and L(ε) the adversarial training
loss of the model trained at ε (definition of Xing, Song and Cheng, with cross-entropy):

scratch
    L(ε) from training anew at a few ε, refined around the crossing; where L falls for the noise of training,
    of its isotonic regression (see `linphase.deep.crossing`). Where training fails from some ε on, with a
    longer warm-up too, ε* is where it ends: the trace shows a last loss like that of guessing.
finetune
    L(ε) from adversarial training of the clean model.
attack-only
    L(ε) of the clean model itself, attacked. Since it is no minimiser at ε > 0, the root is a lower bound of
    the ε* of the evaluated loss, up to the error of optimisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from linphase.checks import check_choice, shown
from linphase.deep.checks import check_folder, check_seeds
from linphase.deep.crossing import CriticalStrength, summary
from linphase.deep.data import Data
from linphase.deep.recipe import Recipe
from linphase.deep.search import Report, Search, check_scratch, check_tuning
from linphase.deep.tuning import Tuning

METHODS = ("scratch", "finetune", "attack-only")


def critical_strength(
    model_factory: Callable[[], nn.Module],
    data: Data,
    recipe: Recipe,
    method: str = "scratch",
    seeds: Sequence[int] = (0,),
    *,
    grid: Sequence[float] | None = None,
    refine: int = 2,
    side_by_side: bool = False,
    trained: nn.Module | None = None,
    tuning: Tuning | None = None,
    train_loss: str = "running",
    tolerance: float = 1e-3,
    checkpoints: str | Path | None = None,
    report: Report | None = None,
) -> CriticalStrength:
    """Find ε* of a network on data.

    Parameters
    ----------
    model_factory : callable
        Returns a new network; called under a seed of its own.
    data, recipe : Data, Recipe
        What to train on, and how. ε has the units of the input and the norm of ``recipe.attack``.
    method : {"scratch", "finetune", "attack-only"}
    seeds : sequence of int
        Each stands for initialisation, order and random starts.
    grid : rising sequence of positive floats, optional
        Strengths for "scratch". By default it begins where "finetune" leads (at the attack-only root, where
        ε did not arrive) and goes on, up or down by 1.3 and then by its squares, until L crosses R; side by
        side where a shorter run leads, by stacks of .6 to 1.5 times the start, then of 3 times or a third of
        it.
    refine : int
        Further runs of "scratch": at the interpolated crossing, or where the loss bends in the middle of its
        bracket; side by side, four at once evenly inside it.
    side_by_side : bool
        Train the strengths of a round as one `Stack`: for small networks without batch norm.
    trained : Module, optional
        A clean model to start from, for "finetune" and "attack-only"; then only one seed makes sense.
    tuning : Tuning, optional
        Of "finetune"; its defaults follow ε through a whole schedule by FGM, beside a run without an attack,
        and again by the recipe's attack where FGM proves blind.
    train_loss : {"running", "evaluated"}
        Which of the two training losses of a `History` is L for "scratch"; the paper's is the running one.
        "finetune" takes the running one while it trains, "attack-only" evaluates.
    tolerance : float
        Relative accuracy of the attack-only root.
    checkpoints : path, optional
        Folder for the full state of every run; an interrupted search goes on from it.
    report : callable, optional
        Gets lines of progress.

    Raises
    ------
    ValueError, TypeError
        For bad input.
    DivergenceError
        If a training run diverges.
    """
    check_choice("method", method, METHODS)
    seeds, folder = check_seeds(seeds), check_folder("checkpoints", checkpoints)
    check_scratch(grid, refine, side_by_side)
    check_tuning(tuning)
    if trained is not None and len(seeds) > 1:
        raise ValueError(f"seeds must be one where a trained model is given, got {shown(seeds)}")
    if trained is not None and method == "scratch":
        raise ValueError("trained must be None for method 'scratch', which trains its own models")
    runs = []
    for seed in seeds:
        search = Search(
            model_factory,
            data,
            recipe,
            seed,
            trained=trained,
            train_loss=train_loss,
            tolerance=tolerance,
            checkpoints=None if folder is None else folder / f"seed-{seed}",
            report=report,
        )
        if method == "scratch":
            runs.append(search.scratch(grid, refine, side_by_side))
        else:
            runs.append(search.finetune(tuning) if method == "finetune" else search.attack_only())
    return runs[0] if len(runs) == 1 else summary(runs)
