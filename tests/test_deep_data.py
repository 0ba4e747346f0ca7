"""`Data`: what it accepts, subsets, scikit-learn's digits."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from linphase.deep.data import Data, digits, load  # noqa: E402


def made(n=40, n_test=10, classes=4, shape=(3, 8, 8), **changes):
    rng = np.random.default_rng(0)
    parts = {
        "name": "made",
        "x": torch.from_numpy(rng.random((n, *shape), np.float32)),
        "y": torch.from_numpy(rng.integers(0, classes or 2, n)),
        "x_test": torch.from_numpy(rng.random((n_test, *shape), np.float32)),
        "y_test": torch.from_numpy(rng.integers(0, classes or 2, n_test)),
        "classes": classes,
    }
    return Data(**(parts | changes))


class TestData:
    @pytest.mark.parametrize(
        ("changes", "error", "sentence"),
        [
            ({"name": 3}, TypeError, "name must be a string, got 3"),
            ({"classes": 1}, ValueError, "classes must be at least 2, got 1"),
            ({"classes": 2.0}, TypeError, r"classes must be an integer, got 2\.0"),
            (
                {"bounds": (0.0, np.inf)},
                ValueError,
                "every entry of bounds must be finite, got inf",
            ),
            ({"mean": (np.nan,)}, ValueError, "every entry of mean must be finite, got nan"),
            ({"bounds": (1.0, 0.0)}, ValueError, r"bounds must be finite \(low, high\).*got \(1\.0, 0\.0\)"),
            (
                {"bounds": (0.0, 0.5)},
                ValueError,
                r"x must lie in bounds \[0, 0\.5\], got values in \[.*, 0\.9",
            ),
            (
                {"x": np.zeros((40, 3, 8, 8))},
                TypeError,
                r"x must be a tensor, got an array of shape \(40, 3, 8, 8\)",
            ),
            ({"x": torch.zeros(40, 3, 8, 8).byte()}, TypeError, r"x must be .*, got torch\.uint8"),
            ({"x": torch.zeros(40)}, ValueError, r"x must have shape \(n, …\) with entries, got \(40,\)"),
            ({"x": torch.zeros(0, 2)}, ValueError, r"x must have shape \(n, …\) with entries, got \(0, 2\)"),
            ({"x": torch.zeros(39, 3, 8, 8)}, ValueError, r"y must have shape \(39,\).*got \(40,\)"),
            ({"y_test": torch.zeros(9).long()}, ValueError, r"y_test must have shape \(10,\).*got \(9,\)"),
            ({"y": [0] * 40}, TypeError, r"y must be a tensor, got \[0, 0, 0, "),
            ({"y": torch.zeros(40).int()}, TypeError, r"y must have dtype int64, got torch\.int32"),
            ({"y": torch.full((40,), 4)}, ValueError, r"y must lie in 0\.\.3, got labels in 4\.\.4"),
            ({"y_test": torch.full((10,), -1)}, ValueError, r"y_test must lie in 0\.\.3, got .* -1\.\.-1"),
            ({"classes": None}, TypeError, "y must be floating-point if classes is None"),
            (
                {"classes": None, "y": torch.full((40,), torch.nan)},
                ValueError,
                "y must be finite, it has NaN or infinity",
            ),
            ({"x_test": torch.zeros(10, 3, 8, 9)}, ValueError, "x and x_test must agree but in their first"),
            ({"augment": "mirror"}, ValueError, "augment must be one of crop-flip, .* or None, got 'mirror'"),
            ({"mean": (0.1, 0.2)}, ValueError, r"mean must have one entry or 3, got \(0\.1, 0\.2\)"),
            (
                {"std": (0.1, 0.2, 0.0)},
                ValueError,
                r"every entry of std must be positive and finite, got 0\.0",
            ),
        ],
    )
    def test_bad_input_gets_its_sentence(self, changes, error, sentence):
        with pytest.raises(error, match=sentence):
            made(**changes)

    @pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
    @pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
    def test_inputs_are_finite(self, value, bounds):
        x = torch.zeros(40, 3, 8, 8)
        x[7, 1, 2, 3] = value
        with pytest.raises(ValueError, match="x must be finite, it has NaN or infinity"):
            made(x=x, bounds=bounds)

    def test_features_and_small_images_are_not_augmented(self):
        with pytest.raises(ValueError, match="augment must be None unless inputs are images"):
            made(shape=(64,), augment="crop-flip")
        with pytest.raises(ValueError, match="of more than 4 pixels a side"):
            made(shape=(3, 4, 8), augment="crop-flip")

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
    def test_bounds_are_inclusive_in_the_precision_of_the_inputs(self, dtype):
        x = torch.tensor([[0.1], [0.3]], dtype=dtype)
        y = torch.tensor([0, 1])
        Data("ends", x, y, x, y, 2, bounds=(0.1, 0.3))
        with pytest.raises(ValueError, match="x must lie in bounds"):
            Data("ends", x * 1.01, y, x, y, 2, bounds=(0.1, 0.3))

    def test_unscaled_features_and_real_responses(self):
        y, y_test = torch.linspace(-3, 3, 40), torch.zeros(10)
        data = made(
            x=torch.randn(40, 5, generator=torch.Generator().manual_seed(0)),
            x_test=torch.zeros(10, 5),
            y=y,
            y_test=y_test,
            classes=None,
            bounds=None,
        )
        assert data.n == 40
        moved = data.to("cpu", torch.float64)
        assert {moved.x.dtype, moved.x_test.dtype, moved.y.dtype, moved.y_test.dtype} == {torch.float64}

    def test_is_frozen_and_says_little(self):
        data = made()
        with pytest.raises(AttributeError):
            data.x = data.x_test
        assert "tensor" not in repr(data)

    def test_to_keeps_values_and_label_type(self):
        data = made()
        moved = data.to("cpu", torch.float64, channels_last=True)
        assert moved.x.is_contiguous(memory_format=torch.channels_last)
        assert moved.x_test.is_contiguous(memory_format=torch.channels_last)
        assert moved.x.dtype == moved.x_test.dtype == torch.float64
        assert moved.y.dtype == torch.int64
        assert torch.equal(moved.x, data.x.double())
        plain = data.to("cpu")
        assert plain.x.is_contiguous()
        assert torch.equal(plain.x, data.x)

    def test_channels_last_is_idle_for_features(self):
        data = made(shape=(6,))
        assert torch.equal(data.to("cpu", channels_last=True).x, data.x)

    def test_to_takes_floating_point_only(self):
        with pytest.raises(
            ValueError, match=r"dtype must be a floating-point type of 16 to 64 bits, got torch\.int64"
        ):
            made().to("cpu", torch.int64)


class TestSubset:
    @pytest.mark.parametrize("n", [1, 3, 10, 37, 40])
    def test_shares_are_those_of_the_whole(self, n):
        data = made()
        subset = data.subset(n, seed=0)
        assert subset.n == len(subset.y) == n
        exact = data.y.bincount(minlength=4) * n / data.n
        assert ((subset.y.bincount(minlength=4) - exact).abs() < 1).all()
        assert subset.x_test is data.x_test

    def test_largest_remainders(self):
        labels = torch.tensor([0] * 6 + [1] * 3 + [2])
        data = Data("shares", torch.zeros(10, 1), labels, torch.zeros(1, 1), labels[:1], 3)
        # Exact shares of 4 are 2.4, 1.2, .4: the fourth goes to class 0 or 2, by lot.
        counts = {tuple(data.subset(4, seed).y.bincount(minlength=3).tolist()) for seed in range(30)}
        assert counts == {(3, 1, 0), (2, 1, 1)}
        assert data.subset(5, 0).y.bincount(minlength=3).tolist() in ([3, 2, 0], [3, 1, 1])
        assert data.subset(8, 0).y.bincount(minlength=3).tolist() == [5, 2, 1]

    def test_examples_are_those_of_the_whole_in_their_order_without_repeats(self):
        data = made(x=torch.arange(40.0).reshape(40, 1) / 40, x_test=torch.zeros(10, 1))
        subset = data.subset(20, seed=1)
        index = (subset.x[:, 0] * 40).round().long()
        assert (index.diff() > 0).all()
        assert torch.equal(subset.y, data.y[index])

    def test_draw_is_fixed_by_seed_name_and_n(self):
        data = made(200)
        first = data.subset(50, seed=0)
        others = [data.subset(50, seed) for seed in (1, 2, 3)]
        assert torch.equal(data.subset(50, seed=0).x, first.x)
        assert not any(torch.equal(first.x, other.x) for other in others)
        assert not torch.equal(replace(data, name="other").subset(50, seed=0).x, first.x)

    def test_regression_has_subsets(self):
        data = made(y=torch.linspace(0, 1, 40), y_test=torch.zeros(10), classes=None)
        assert data.subset(13, 0).n == 13

    def test_whole_set(self):
        data = made()
        assert torch.equal(data.subset(data.n, seed=5).x, data.x)

    def test_layout_is_kept(self):
        subset = made().to("cpu", channels_last=True).subset(9, 0)
        assert subset.x.is_contiguous(memory_format=torch.channels_last)

    @pytest.mark.parametrize(
        ("n", "error", "sentence"),
        [
            (0, ValueError, "n must be at least 1, got 0"),
            (41, ValueError, "n must be at most 40, the size of the training set, got 41"),
            (2.0, TypeError, r"n must be an integer, got 2\.0"),
        ],
    )
    def test_bad_n(self, n, error, sentence):
        with pytest.raises(error, match=sentence):
            made().subset(n, 0)


class TestDigits:
    def test_sizes_and_range(self):
        data = digits()
        assert data.x.shape == (1400, 64)
        assert data.x_test.shape == (397, 64)
        assert data.x.dtype == torch.float32
        assert data.x.min() == 0
        assert data.x.max() == 1
        assert (data.x * 16 == (data.x * 16).round()).all()
        assert (data.name, data.classes, data.augment, data.mean, data.std) == (
            "digits",
            10,
            None,
            (0.0,),
            (1.0,),
        )

    def test_split_is_stratified_and_a_partition(self):
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        data = digits()
        exact = np.bincount(labels) * 397 / 1797
        assert (np.abs(data.y_test.bincount().numpy() - exact) < 1).all()
        together = torch.cat(
            [torch.cat([data.x, data.x_test]) * 16, torch.cat([data.y, data.y_test])[:, None]], 1
        )
        whole = np.column_stack([pixels, labels])
        assert sorted(together.tolist()) == sorted(whole.tolist())

    def test_seeds(self):
        assert torch.equal(digits().x_test, digits(0).x_test)
        assert not torch.equal(digits(0).x_test, digits(1).x_test)

    def test_size_of_the_test_set(self):
        assert digits(n_test=97).n == 1700
        with pytest.raises(ValueError, match="n_test must be less than 1797, the number of digits, got 1797"):
            digits(n_test=1797)
        with pytest.raises(ValueError, match="n_test must be at least 1, got 0"):
            digits(n_test=0)

    def test_load_ignores_the_folder(self):
        assert torch.equal(load("digits", "/no/such/folder").x, digits().x)
