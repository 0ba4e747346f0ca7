"""The settings by which the clean model is fine-tuned to find ε*."""

from __future__ import annotations

from dataclasses import dataclass, replace

from linphase.checks import check_amount, check_count, check_entries, check_flag, check_kind
from linphase.deep.attacks import FGM, Attack
from linphase.deep.checks import settle
from linphase.deep.recipe import FASTEST, Recipe

LONGEST = 1e3
"""Runs are at most this long, in units of the recipe's."""
FARTHEST = 1e6
"""Strengths are at most this large, in units of the attack-only root."""


@dataclass(frozen=True)
class Tuning:
    """How the clean model is fine-tuned to find ε*.

    Attributes
    ----------
    length : float
        Epochs of a run, as a share of the recipe's; at least one epoch. ε* grows with the length of training:
        a shorter run finds a smaller one.
    attack : Attack
        Its norm is the recipe's. With ``follow``, ε follows the loss under this attack. Where training by
        `FGM` overfits catastrophically below the crossing (see `catastrophic_overfitting`), that loss stays
        low, and ε would come out too large: if in the end the loss under the recipe's attack is 1.5 times as
        large, on some examples, the run is repeated by the recipe's attack, and the result says so
        (``masked``).
    follow : bool
        One run whose ε follows the crossing (see `Tracker`). Otherwise the paper's approximation: runs at
        ``strengths``, and the least-squares line of (0, L(0)) and their losses continued to R.
    strengths : tuple of float
        In units of the attack-only root on a few examples; with ``follow`` the first is where ε starts.
    examples : int
        How many of the training examples say where the clean model's attacked loss is about R, and whether a
        followed attack is blind.
    lr : float
        Rate, as a share of the recipe's; falls at the recipe's milestones.
    control : bool
        With ``follow``: train the clean model on without an attack as well, for as long, and follow the
        crossing of R less what this alone takes off its training loss. A followed network has been trained
        twice as long as one from scratch, and where the recipe's schedule does not fit the data, its loss is
        lower for that reason too: without the control ε came out ten times too large on CIFAR-10 after 15
        epochs, where L(0) was .94 R. So near to R the control takes off too much: train longer first. For a
        model given from outside L(0) is evaluated, so that with augmentation it takes off too little.
    """

    length: float = 1.0
    attack: Attack = FGM
    follow: bool = True
    strengths: tuple[float, ...] = (1.5,)
    lr: float = 1.0
    examples: int = 512
    control: bool = True

    def __post_init__(self) -> None:
        check_kind("attack", self.attack, Attack, "an Attack")
        settle(
            self,
            length=check_amount("length", self.length, LONGEST),
            follow=check_flag("follow", self.follow),
            strengths=tuple(
                check_amount("every entry of strengths", strength, FARTHEST)
                for strength in check_entries("strengths", self.strengths, "positive numbers")
            ),
            lr=check_amount("lr", self.lr, FASTEST),
            examples=check_count("examples", self.examples),
            control=check_flag("control", self.control),
        )

    def recipe(self, recipe: Recipe) -> Recipe:
        """Return the recipe of a run; without a warm-up, as its loss is to be of one ε."""
        return recipe.but(
            attack=replace(self.attack, norm=recipe.attack.norm),
            epochs=max(1, round(self.length * recipe.epochs)),
            lr=self.lr * recipe.lr,
            eps_warmup=0,
            select="last",
            monitor=False,
        )
