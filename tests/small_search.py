"""What the tests of the search for ε* share: three classes that overlap, a network and its recipe."""

from functools import partial

import small_runs

from linphase.deep import Attack, Recipe, mlp

SMALL = Recipe(
    epochs=10, batch_size=10, lr=0.2, attack=Attack(steps=2), precision="float64", weight_decay=0.0
)
factory = partial(mlp, (5, 8, 3))
blobs = partial(small_runs.blobs, 40, tests=200)
