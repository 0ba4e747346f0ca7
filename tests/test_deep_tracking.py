"""A tracker: the strength that follows its own crossing during training."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from small_runs import RECIPE, blobs, network  # noqa: E402

from linphase.deep import Tracker, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("torch_state")


def test_a_tracker_begins_anew_with_each_run():
    tracker = Tracker(0.9, 0.05)
    seen = []
    for _ in range(2):
        train(network(), blobs(), RECIPE.but(epochs=2), tracker=tracker)
        seen.append((tracker.mean, tracker.loss, float(tracker.sums[0])))
    assert seen[0] == seen[1]


def test_a_tracker_moves_towards_the_level():
    tracker = Tracker(target=2.0, start=0.1, gain=0.05)
    tracker.observe(torch.tensor(1.0), 0.5)
    assert float(tracker.eps) == pytest.approx(0.1 * np.exp(0.025))
    tracker.observe(torch.tensor(3.0), 0.5)
    assert float(tracker.eps) == pytest.approx(0.1)
    tracker.observe(torch.tensor(1e6), 0.5)
    assert float(tracker.eps) == pytest.approx(0.1 * np.exp(-0.2))


def test_a_tracker_stays_above_its_least():
    tracker = Tracker(target=2.0, start=0.1, least=0.09)
    for _ in range(3):
        tracker.observe(torch.tensor(1e6), 0.5)
    assert float(tracker.eps) == 0.09
    tracker.observe(torch.tensor(1.0), 1.0)
    assert float(tracker.eps) == pytest.approx(0.09 * np.exp(0.025))
    assert tracker.mean == 0.09


def test_a_tracker_averages_over_its_tail():
    tracker = Tracker(target=2.0, start=0.1, tail=0.5)
    for step in range(4):
        tracker.observe(torch.tensor(2.0 if step < 2 else 1.0), (step + 1) / 4)
    assert tracker.mean == pytest.approx(0.1 * (1 + np.exp(0.025)) / 2)
    assert tracker.loss == 1.0


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_the_tail_of_a_short_run_is_not_empty(epochs):
    for batch_size in (20, None):
        tracker = Tracker(0.9, 0.05)
        train(network(), blobs(), RECIPE.but(epochs=epochs, batch_size=batch_size), tracker=tracker)
        assert 0 < tracker.mean < 1
        assert np.isfinite(tracker.loss)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0.0, 0.1), "target must be positive"),
        ((1.0, 0.0), "start must be positive"),
        ((1.0, 0.1, 0), "gain must be"),
        ((1.0, 0.1, 0.05, 0.25, 0.2), r"least must lie in \[0, start = 0.1\], got 0.2"),
    ],
)
def test_bad_trackers_have_their_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Tracker(*arguments)
