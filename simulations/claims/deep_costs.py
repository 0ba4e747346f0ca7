"""The deep simulations as studies that say before they run what they cost: passes over the training data."""

from collections.abc import Callable, Mapping
from typing import Any

from claims.deep_sets import FLAGS, attack_steps, judged, judged_every, recipe
from linphase.deep import Tuning
from linphase.deep.checks import describe_device, find_device
from linphase.study import Flag, Options, Part, Study

TESTS = {"digits": 397, "svhn": 26_032}


def training(s: Mapping[str, Any], steps: int, judge: int | None = None, every: int | None = None) -> float:
    """Passes of a training run by an attack of so many steps, with its scores."""
    tests = TESTS.get(s["dataset"], 10_000)
    judge = steps if judge is None else judge
    attacked = (judged(s) or tests) * (1 + judge) if judge else 0
    return float(s["epochs"] * (1 + steps + (tests + attacked) / s["n"] / (every or judged_every(s))))


def searching(s: Mapping[str, Any], scratch: bool = True) -> float:
    """Passes of the clean model and of a search for ε*, from scratch or by following it."""
    steps = attack_steps(s)
    followed = training(s, 0) + 3 * Tuning().recipe(recipe(s)).epochs
    if not scratch:
        return followed
    stacked = s["network"] == "mlp" and not s.get("tuned")
    runs = 6 if stacked else 1 if s.get("once") else 3
    return followed + 12 * (1 + steps) + runs * training(s, steps)


def study(
    name: str, about: str, parts: Mapping[Part, Callable[[Mapping[str, Any]], float]], *more: Flag
) -> Study:
    """Return a study of parts, each given with the passes that a seed of a setting takes.

    It has a variant for each data set, and for what further flags choose.
    """
    return Study(
        name,
        about,
        list(parts),
        flags=(*FLAGS, *more),
        variants=("dataset", *(flag.key for flag in more)),
        dry_run=dry_run(parts),
        facts=lambda options: {"device": describe_device(find_device(options.own["device"]))},
    )


def dry_run(parts: Mapping[Part, Callable[[Mapping[str, Any]], float]]) -> Callable[[Options], str]:
    """Return what says the cost of parts."""

    def say(options: Options) -> str:
        lines, total = [], 0.0
        every = [
            (e, s, passes(s))
            for p, passes in parts.items()
            for e in p.experiments(options)
            for s in e.settings
        ]
        for experiment, s, passes in every:
            seeds = experiment.replicates(s, options.reps)
            total += seeds * passes * s["n"]
            network = f"{s['network']} {s['width']} on {s['dataset']}, n = {s['n']}, {s['epochs']} epochs"
            lines.append(f"{network}: {seeds} seed(s), each about {passes:.0f} passes over the training data")
        kept = "a killed run goes on from its last finished epoch"
        return "\n".join([*lines, f"in all about {total:.2g} examples forward and backward; {kept}"])

    return say
