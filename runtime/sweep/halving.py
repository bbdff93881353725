"""Halving: the order in which a search tries points, and how it chooses among finalists."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist

from ...converter.errors import SimulationError
from ..metrics import paired_limit
from .measuring import CONFIDENCE, N_FINALISTS, Measuring
from .points import Method, Point
from .targets import Targets

LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
"""T that are tried."""


class Halving:
    """A search for targets among points that `measuring` measures; `n_layers` of neurons."""

    def __init__(self, measuring: Measuring, targets: Targets, n_layers: int) -> None:
        self._measuring = measuring
        self._targets = targets
        self._n_layers = n_layers

    def fewest_steps(self, methods: Sequence[Method]) -> tuple[Point, bool]:
        """Return the point with the fewest steps that is known to keep the accuracy, and True.

        If there is none, the one that comes nearest, and False.
        """
        best = None
        tried: list[Point] = []
        for place, method in enumerate(methods):  # the first that can be converted at all
            best, tried = self._bisect(method)
            if tried:
                methods = [*methods[:place], *methods[place + 1 :]]
                break
        self._expect(tried)
        limit = max(p.latency for p in tried)
        if best is not None:
            limit = max((t for t in LADDER if t < best.latency), default=0)
        while methods:
            found = self._measure_all(methods, limit)
            good = [point for point in found if self._is_likely(point)]
            best = min((*good, *([best] if best else ())), key=_cost, default=None)
            if best is None or not good:
                break
            limit = max((t for t in LADDER if t < best.latency), default=0)
            ranked = sorted(found, key=lambda point: point.drop)
            methods = [point.method for point in ranked[: math.ceil(len(ranked) / 2)]]
        return self._confirm_cheapest(best)

    def most_accurate(self, methods: Sequence[Method], allowed: int) -> Point:
        """Return the point of the best accuracy on unseen samples that takes `allowed` steps."""
        quarter = max(1, self._measuring.n_searched // 4)
        found = self._measure_all(methods, allowed, quarter)
        self._expect(found)
        better = sorted(found, key=lambda p: p.drop)[: max(2, math.ceil(len(found) / 2))]
        measured = (self._measuring.measure(p.method, p.n_steps) for p in better)
        ranked = sorted((p for p in measured if p), key=lambda p: (p.drop, p.operations))
        for part in (2, 4):  # what fewer steps would cost, for the front
            if allowed >= part:
                self._measure_all([ranked[0].method], allowed // part)
        confirmed = [self._measuring.confirm(point) for point in ranked[: N_FINALISTS - 1]]
        return min(confirmed, key=lambda point: (point.drop, *_cost(point)))

    def _bisect(self, method: Method) -> tuple[Point | None, list[Point]]:
        """Return the smallest T of a method that is likely to do, and everything measured."""
        allowed = self._allowed(method)
        ladder = sorted({t for t in LADDER if t < allowed} | {allowed} - {0})
        low, high = 0, len(ladder)  # everything from `high` on does
        tried: list[Point] = []
        best = None
        while low < high:
            middle = (low + high) // 2
            point = self._measuring.measure(method, ladder[middle])
            if point is None:
                break
            tried.append(point)
            if self._is_likely(point):
                high, best = middle, point
            else:
                low = middle + 1
        return best, tried

    def _measure_all(
        self, methods: Iterable[Method], most_steps: int, n_samples: int | None = None
    ) -> list[Point]:
        """Measure every method at its largest T of at most so many steps."""
        found = []
        for method in methods:
            n_steps = most_steps // self._steps_per_t(method)
            if n_steps > 0:
                found.append(self._measuring.measure(method, n_steps, n_samples))
        return [point for point in found if point is not None and point.latency <= most_steps]

    def _allowed(self, method: Method) -> int:
        """Return the largest T of a method."""
        return (self._targets.n_steps or LADDER[-1]) // self._steps_per_t(method)

    def _steps_per_t(self, method: Method) -> int:
        return self._n_layers if method.is_scheduled else 1

    def _is_likely(self, point: Point) -> bool:
        """Whether a point would be confirmed if unseen samples were like those of the search."""
        target = self._targets.accuracy_drop or 0.0
        scale = self._measuring.n_unseen / point.n_samples
        lost, won = round(point.n_lost * scale), round(point.n_won * scale)
        z = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / N_FINALISTS)
        return paired_limit(lost, won, self._measuring.n_unseen, z) <= target

    def _confirm_cheapest(self, best: Point | None) -> tuple[Point, bool]:
        """Measure finalists on unseen samples until one is known to do.

        The search favours what was lucky on its samples. So behind the cheapest point that seems
        to do, the same method with twice the steps and with the most steps wait, in case it does
        not; if it does, a cheaper one gets its chance.
        """
        points = list(self._measuring.points.values())
        safest = min(points, key=lambda point: (point.drop, *_cost(point)))
        first = safest if best is None else best
        most = self._allowed(first.method)
        confirmed = [self._measuring.confirm(first)]
        for n_steps in sorted({min(2 * first.n_steps, most), most} - {first.n_steps}):
            if self._is_known(confirmed[-1]):
                break
            dearer = self._measuring.measure(first.method, n_steps)
            if dearer is not None:
                confirmed.append(self._measuring.confirm(dearer))
        target = self._targets.accuracy_drop or 0.0
        cheaper = [p for p in points if p.latency < first.latency and p.drop <= target]
        if cheaper and self._is_known(confirmed[0]):
            nearest = min(cheaper, key=lambda point: (point.drop, *_cost(point)))
            confirmed.append(self._measuring.confirm(nearest))
        known = [point for point in confirmed if self._is_known(point)]
        if known:
            return min(known, key=_cost), True
        return min(confirmed, key=lambda point: point.drop_at_most), False

    def _is_known(self, point: Point) -> bool:
        return point.drop_at_most <= (self._targets.accuracy_drop or 0.0)

    def _expect(self, points: Sequence[Point]) -> None:
        """Raise if nothing could be measured."""
        if points:
            return
        self._measuring.raise_first()
        raise SimulationError(
            f"--target n-steps={self._targets.n_steps}: no method takes so few steps, expected at "
            f"least {self._n_layers}, a step for each of its layers",
            hint="raise the target, or name a causal recipe such as rate with --candidates",
        )


def _cost(point: Point) -> tuple[int, float]:
    return point.latency, point.operations
