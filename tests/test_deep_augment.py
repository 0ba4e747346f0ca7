"""Augmentation: crops, flips and rotations of a batch at once."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import pad  # noqa: E402

from linphase.deep.augment import KINDS, augment, rotate, shift  # noqa: E402


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, shape=(3, 9, 7), dtype=torch.float32):
    return torch.rand(n, *shape, generator=generator(7), dtype=dtype)


class TestAugment:
    def test_none_returns_the_batch(self):
        x = images()
        assert augment(x, None, generator()) is x

    def test_unknown_kind(self):
        with pytest.raises(ValueError, match="augment must be one of crop-flip, crop-flip-rotate or None"):
            augment(images(), "cutout", generator())

    @pytest.mark.parametrize("kind", KINDS)
    def test_constant_images_stay(self, kind):
        x = torch.linspace(0.1, 0.9, 5).reshape(5, 1, 1, 1).expand(5, 3, 8, 8).contiguous()
        torch.testing.assert_close(augment(x, kind, generator()), x)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_range_shape_and_type_stay(self, kind, dtype):
        x = 0.25 + 0.5 * images(200, dtype=dtype)
        before = x.clone()
        result = augment(x, kind, generator())
        assert result.shape == x.shape
        assert result.dtype == dtype
        assert result.min() >= x.min()
        assert result.max() <= x.max()
        assert torch.equal(x, before)

    @pytest.mark.parametrize("kind", KINDS)
    def test_binary_images_stay_in_the_unit_interval(self, kind):
        result = augment(images(500).round(), kind, generator())
        assert result.min() == 0
        assert result.max() == 1

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_generator_fixes_the_draws(self, kind):
        x = images()
        assert torch.equal(augment(x, kind, generator(3)), augment(x, kind, generator(3)))
        assert not torch.equal(augment(x, kind, generator(3)), augment(x, kind, generator(4)))
        same = generator(3)
        assert not torch.equal(augment(x, kind, same), augment(x, kind, same))

    @pytest.mark.parametrize("kind", KINDS)
    def test_draws_do_not_depend_on_precision(self, kind):
        x = images()
        high = augment(x.double(), kind, generator())
        torch.testing.assert_close(augment(x, kind, generator()).double(), high, atol=1e-5, rtol=0)

    def test_the_global_generator_is_left_alone(self):
        before = torch.random.get_rng_state()
        augment(images(), "crop-flip-rotate", generator())
        assert torch.equal(torch.random.get_rng_state(), before)

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_image_has_its_own_draw(self, kind):
        x = images(1, (1, 20, 20)).expand(400, 1, 20, 20)
        distinct = len(augment(x, kind, generator()).flatten(1).unique(dim=0))
        # 9 × 9 windows, flipped or not: 400 draws from 162 hit about 149 of them; angles are all different.
        assert distinct > 130 if kind == "crop-flip" else distinct == 400

    @pytest.mark.parametrize("kind", KINDS)
    def test_channels_move_together(self, kind):
        x = images(20, (1, 8, 8)).expand(20, 3, 8, 8)
        result = augment(x, kind, generator())
        assert torch.equal(result[:, 0], result[:, 1])
        assert torch.equal(result[:, 0], result[:, 2])

    def test_crop_is_that_of_a_slow_loop(self):
        x = images(50)
        result = augment(x, "crop-flip", generator(5))
        same = generator(5)
        down, right = torch.randint(-4, 5, (2, 50), generator=same)
        flipped = torch.randint(0, 2, (50,), generator=same)
        assert {-4, 4} <= set(down.tolist()) | set(right.tolist())
        for i in range(50):
            padded = pad(x[i : i + 1], (4, 4, 4, 4), mode="reflect")[0]
            top, left = 4 + int(down[i]), 4 + int(right[i])
            window = padded[:, top : top + 9, left : left + 7]
            assert torch.equal(result[i], window.flip(-1) if flipped[i] else window)

    def test_flips_and_windows_are_uniform(self):
        # One bright pixel tells where the window stood, an odd one beside it whether it was flipped.
        x = torch.zeros(1, 1, 32, 32)
        x[0, 0, 16, 16], x[0, 0, 16, 17] = 1, 0.5
        result = augment(x.expand(8100, 1, 32, 32), "crop-flip", generator())[:, 0].flatten(1)
        row, column = result.argmax(1) // 32, result.argmax(1) % 32
        flipped = (result == 0.5).int().argmax(1) < result.argmax(1)
        assert abs(flipped.double().mean() - 0.5) < 4 * 0.5 / 90
        for counts in (row.bincount()[12:21], torch.where(flipped, 31 - column, column).bincount()[12:21]):
            assert len(counts) == 9
            assert counts.sum() == 8100
            assert ((counts - 900) ** 2 / 900).sum() < 30  # chi-squared of 8 degrees of freedom: p = 2e-4

    def test_flipping_twice_changes_nothing(self):
        x, still, flip = images(), torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.bool)
        once = shift(x, still, still, flip)
        assert torch.equal(once, x.flip(-1))
        assert torch.equal(shift(once, still, still, flip), x)

    def test_rotation_by_nothing(self):
        x = images()
        torch.testing.assert_close(rotate(x, torch.zeros(6)), x, atol=1e-5, rtol=0)

    def test_rotation_by_quarters(self):
        x = images(4, (3, 8, 8), torch.float64)
        turned = rotate(x, torch.tensor([0.0, 90.0, 180.0, -90.0]))
        expected = [x[0], x[1].rot90(1, (1, 2)), x[2].rot90(2, (1, 2)), x[3].rot90(-1, (1, 2))]
        torch.testing.assert_close(turned, torch.stack(expected), atol=1e-5, rtol=0)

    def test_rotation_keeps_lengths_on_oblong_images(self):
        # A disc stays a disc: its second moments along and across stay equal.
        rows, columns = torch.meshgrid(torch.arange(24.0) - 11.5, torch.arange(48.0) - 23.5, indexing="ij")
        disc = torch.exp(-(rows**2 + columns**2) / 18).expand(1, 1, 24, 48)
        turned = rotate(disc, torch.tensor([15.0]))
        torch.testing.assert_close(turned, disc.contiguous(), atol=0.02, rtol=0)

    def test_angles_are_within_fifteen_degrees(self, monkeypatch):
        seen = []
        monkeypatch.setattr("linphase.deep.augment.rotate", lambda x, degrees: seen.append(degrees) or x)
        augment(images(4000), "crop-flip-rotate", generator())
        degrees = seen[0]
        assert -15 <= degrees.min() < -14.9
        assert 14.9 < degrees.max() <= 15
        assert abs(degrees.mean()) < 4 * 15 / np.sqrt(3 * 4000)

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_layout_in_memory_stays(self, kind, layout):
        x = images().contiguous(memory_format=layout)
        result = augment(x, kind, generator())
        assert result.is_contiguous(memory_format=layout)
        torch.testing.assert_close(result, augment(images(), kind, generator()), atol=1e-6, rtol=0)

    @pytest.mark.gpu
    @pytest.mark.parametrize("kind", KINDS)
    def test_runs_where_the_batch_lies(self, kind):
        draws = torch.Generator("cuda").manual_seed(0)
        result = augment(images(64).cuda(), kind, draws)
        assert result.is_cuda
        assert result.min() >= 0
        assert result.max() <= 1
