from hashlib import blake2b

import numpy as np
import pytest
from scipy import stats

from linphase.streams import stream

KEYS = [
    (),
    (1,),
    (1.0,),
    ("1",),
    (1, 2),
    (2, 1),
    (12,),
    ("ab", "c"),
    ("a", "bc"),
    ("abc",),
    (-1,),
    (0.1,),
    (np.inf,),
]


def draw(seed, *key):
    return stream(seed, *key).bit_generator.random_raw()


def test_the_same_key_gives_the_same_stream():
    # Any change of these numbers would change every result of the project.
    assert draw(0, "golden", 7, 0.5) == 17390085387225001099
    assert [draw(0, "golden", 7, 0.5) for _ in range(3)] == [17390085387225001099] * 3


def test_the_recipe_is_the_documented_one():
    parts = [b"i0", b"sgolden", b"i7", b"f" + (0.5).hex().encode()]
    text = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    words = np.frombuffer(blake2b(text, digest_size=32).digest(), "<u4")
    assert np.random.PCG64(np.random.SeedSequence(words)).random_raw() == draw(0, "golden", 7, 0.5)


@pytest.mark.parametrize("seed", [0, 1])
def test_different_keys_and_seeds_give_different_streams(seed):
    other = {draw(1 - seed, *key) for key in KEYS}
    mine = {draw(seed, *key) for key in KEYS}
    assert len(mine | other) == 2 * len(KEYS)


def test_seed_and_key_do_not_run_into_each_other():
    assert draw(1, 2, 3) != draw(12, 3)


@pytest.mark.parametrize(
    ("scalar", "number"),
    [
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float64(0.1), 0.1),
        (np.float32(0.5), 0.5),
        (np.str_("a"), "a"),
        (-0.0, 0.0),
    ],
)
def test_numpy_scalars_count_as_the_numbers_they_equal(scalar, number):
    assert draw(0, scalar) == draw(0, number)
    assert draw(np.int32(4), 1) == draw(4, 1)


def test_neighbouring_keys_give_independent_uniform_draws():
    u = np.array(
        [[stream(0, "replicate", r).random(), stream(0, "replicate", float(r)).random()] for r in range(2000)]
    )
    # Fixed seed: the draws never change, so the test has no false alarms; 1e-3 says how odd they may look.
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    assert stats.pearsonr(u[:, 0], u[:, 1]).pvalue > 1e-3
    assert stats.pearsonr(u[1:, 0], u[:-1, 0]).pvalue > 1e-3


@pytest.mark.parametrize("part", [None, True, 1j, (1, 2), b"a", np.array([1])])
def test_a_key_must_be_of_numbers_and_strings(part):
    with pytest.raises(TypeError, match="must be an int, a float or a string, got"):
        stream(0, part)


@pytest.mark.parametrize("seed", [None, True, 1.0, "1"])
def test_a_seed_must_be_an_integer(seed):
    with pytest.raises(TypeError, match="seed must be an integer, got"):
        stream(seed)


def test_what_has_no_code_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match=r"^seed must be of at most 4300 digits, got an object of type int$"):
        stream(10**5000)
    with pytest.raises(ValueError, match=r"^key must be a string of whole characters, got '\\ud800'$"):
        stream(0, "\ud800")
    with pytest.raises(TypeError, match=r"got np.timedelta64\(1\)$"):
        stream(0, np.timedelta64(1))
