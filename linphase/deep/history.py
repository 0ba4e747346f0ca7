"""The record of a training run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from linphase.checks import check_choice, check_count, shown

COLUMNS = (
    "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "clean_test_loss",
    "clean_test_accuracy",
)  # fmt: skip


@dataclass(frozen=True)
class History:
    """Record of a run; arrays (E, S) for a stack of S networks, (E,) for one.

    Attributes
    ----------
    eps : array () or (S,)
        Training strength.
    lr, train_loss, train_accuracy : arrays
        Rate; running means over the epoch under the training attack, in train mode, of the plain loss on the
        inputs that training saw: what the paper's tables call training loss.
    test_loss, test_accuracy, clean_test_loss, clean_test_accuracy : arrays
        After the epoch, in eval mode, under the judging attack of strength ``eps`` (on as many examples as
        the recipe says) and without one; NaN where the recipe does not ask for them.
    best : array () or (S,) of int
        Epoch whose weights the model has, by the recipe's ``select``.
    evaluated_loss : array () or (S,)
        Training loss of these weights, evaluated again in eval mode under the judging attack, without
        augmentation; NaN if the recipe does not monitor.
    seconds : float
        Wall time, of all parts if the run was interrupted.
    passes : float
        Passes forward and backward over the training data's number of examples, for one network: an attack
        of k steps and the update are k + 1.
    """

    eps: NDArray[np.float64]
    lr: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    train_accuracy: NDArray[np.float64]
    test_loss: NDArray[np.float64]
    test_accuracy: NDArray[np.float64]
    clean_test_loss: NDArray[np.float64]
    clean_test_accuracy: NDArray[np.float64]
    best: NDArray[np.int64]
    evaluated_loss: NDArray[np.float64]
    seconds: float
    passes: float

    def at_best(self, name: str) -> NDArray[np.float64]:
        """Return a column at the best epoch, shape () or (S,)."""
        check_choice("name", name, COLUMNS)
        column: NDArray[np.float64] = getattr(self, name)
        return np.take_along_axis(column, self.best[None], 0)[0] if column.ndim > 1 else column[self.best]

    def member(self, index: int) -> History:
        """Return the history of one network of a stack, counted from 0."""
        if not self.eps.ndim:
            raise ValueError(
                f"index must be that of a network of a stack, this is of one alone, got {shown(index)}"
            )
        index = check_count("index", index, 0, len(self.eps) - 1)
        arrays = ((name, value) for name, value in vars(self).items() if isinstance(value, np.ndarray))
        own: dict[str, Any] = {name: value[..., index] for name, value in arrays}
        return replace(self, **own)
