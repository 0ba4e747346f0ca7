"""Time the exact solver beside its floor and its peers, in one run, one BLAS thread, as ratios with accuracy.

The floor of a solve is one Gram matrix (dsyrk) and one Cholesky factorisation (dpotrf); that of a batch is
drawing its data. Peers: cvxpy with Clarabel on the cone programme, scipy's L-BFGS-B on the loss with |r|
smoothed to √(r² + μ²) − μ, μ = 1e-4. Gaps are relative and ours: (loss − our lower bound)/loss.
"""

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.linalg.blas import dsyrk
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

import linphase as lp

SIZES = ("100x10", "200x400", "1000x100", "5000x200", "1000x2000", "10000x1000")
SHARES = (0.1, 0.5, 1.0)  # of √(d/n)
MU = 1e-4


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the shortest time in seconds of a few calls, and the last result."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        times.append(time.perf_counter() - start)
    return min(times), result


def floor(X: np.ndarray) -> None:
    """Factor the smaller Gram matrix."""
    A = X.T if X.shape[1] <= X.shape[0] else X
    G = dsyrk(1.0, A if A.flags.f_contiguous else A.T, trans=int(not A.flags.f_contiguous))
    G.flat[:: len(G) + 1] += len(X)
    lapack.dpotrf(G, overwrite_a=1)


def cone_programme(problem: lp.AdversarialProblem) -> np.ndarray:
    """Solve with cvxpy and Clarabel."""
    import cvxpy as cp

    theta = cp.Variable(problem.d)
    attacked = cp.abs(problem.y - problem.X @ theta) + problem.eps * cp.norm(theta)
    cp.Problem(cp.Minimize(cp.sum_squares(attacked) / problem.n)).solve(solver=cp.CLARABEL)
    return np.asarray(theta.value)


def smoothed(problem: lp.AdversarialProblem) -> np.ndarray:
    """Solve with L-BFGS-B on the smoothed loss."""
    X, y, eps, n = problem.X, problem.y, problem.eps, problem.n

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        r = y - X @ theta
        h = np.sqrt(r * r + MU * MU)
        b = math.sqrt(theta @ theta + MU * MU)
        a = h - MU + eps * b
        gradient = -X.T @ (a * r / h) + eps * a.sum() * theta / b
        return a @ a / n, 2 * gradient / n

    start = X.T @ y / np.linalg.norm(X, 2) ** 2
    options = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10}
    return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x


def solves(size: str, limit: float, slow: set[str]) -> None:
    """Print one line for each attack strength."""
    n, d = map(int, size.split("x"))
    X, y = lp.GaussianDesign(n, d).sample(lp.stream(0, "benchmark", n, d))
    base, _ = timed(lambda: floor(X), 5 if n * d < 10**6 else 2)
    print(f"\n{size}: floor {1e3 * base:.3g} ms")
    print("   eps/sqrt(d/n)   solve         x floor   gap      cvxpy x ours  gap      L-BFGS-B x ours  gap")
    taken_by_us = []
    for share in SHARES:
        problem = lp.AdversarialProblem(X, y, share * math.sqrt(d / n))
        seconds, ours = timed(lambda p=problem: lp.solve(p), 5 if n * d < 10**6 else 2)
        taken_by_us.append(seconds)
        cells = [f"{share:>16.1f}   {1e3 * seconds:9.3g} ms  {seconds / base:8.2f}   {ours.rel_gap:.0e}"]
        for name, peer in (("cvxpy", cone_programme), ("L-BFGS-B", smoothed)):
            if name in slow:
                cells.append("     (skipped)       ")
                continue
            taken, theta = timed(lambda p=problem, f=peer: f(p), 1)
            gap = problem.loss(theta) / (ours.loss - ours.dual_gap) - 1
            cells.append(f"  {taken / seconds:12.1f}  {max(gap, 0):.0e}")
            if taken > limit:
                slow.add(name)
        print(" ".join(cells))
    path_seconds, path = timed(lambda: lp.solve_path(X, y), 3 if n * d < 10**6 else 1)
    ratio, worst = path_seconds / np.mean(taken_by_us), f"gap {path.rel_gaps.max():.0e}"
    print(f"   path of {path.eps.size}: {ratio:.1f} solves (their mean), {path.n_iter} steps, {worst}")


def batches(m: int = 10_000, n: int = 100, d: int = 10) -> None:
    """Print the batch against drawing its data."""
    rng = lp.stream(0, "benchmark", "batch")

    def draw() -> tuple[np.ndarray, np.ndarray]:
        X = rng.standard_normal((m, n, d))
        return X, X.sum(axis=-1) / math.sqrt(d) + rng.standard_normal((m, n))

    drawing, (X, y) = timed(draw, 3)
    print(f"\n{m} problems of {n}x{d}: drawn in {drawing:.3g} s")
    for share in SHARES:
        seconds, batch = timed(lambda s=share: lp.solve_batch(X, y, s * math.sqrt(d / n)), 3)
        ratio, worst = seconds / drawing, f"gap {batch.rel_gaps.max():.0e}"
        print(f"{share:>16.1f}   {seconds:9.3g} s   {ratio:8.2f} x drawing   {worst}")


def main() -> None:
    """Parse the flags and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="NxD", help="rows x columns")
    parser.add_argument(
        "--limit", type=float, default=10.0, help="drop a peer after a solve longer than this (s)"
    )
    arguments = parser.parse_args()
    with threadpool_limits(1):
        solves("20x5", math.inf, {"cvxpy", "L-BFGS-B"})  # compile
        slow: set[str] = set()
        for size in arguments.sizes:
            solves(size, arguments.limit, slow)
        batches()


if __name__ == "__main__":
    main()
