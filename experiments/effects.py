"""What a treatment changed: the difference of two variants' figures, with the variance of that difference. Pure.

A figure is a mean a unit, or a ratio of two sums (clicks of pages seen) whose units are visitors: its variance follows
by the delta method (Deng, Knoblich and Lu 2018). What the same visitor did before the experiment, the covariate, takes
off the part of the variance that it explains (CUPED; Deng, Xu, Kohavi and Walker 2013). Both hold for many looks at
once: the arrays have any leading shape (...).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from experiments.moments import Floats, Moments


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of the moments is what. A covariate may be a ratio as the value is."""

    value: int = 0
    denominator: int | None = None
    covariate: int | None = None
    covariate_denominator: int | None = None


VALUE: Final = Columns()
"""A mean a unit, of the first column."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Arrays (...). `difference` is treatment less control, `lift` the same relative to the control's figure.

    Variances are those of the estimates: the squares of their standard errors. `explained` is the share of the
    variance that the covariate took off, 0 without one.
    """

    control: Floats
    treatment: Floats
    control_variance: Floats
    treatment_variance: Floats
    explained: Floats
    units: Floats

    @property
    def difference(self) -> Floats:
        return self.treatment - self.control

    @property
    def variance(self) -> Floats:
        return self.control_variance + self.treatment_variance

    @property
    def lift(self) -> Floats:
        return self.treatment / np.where(self.control != 0.0, self.control, np.nan) - 1.0

    def lift_interval(self, errors: ArrayLike) -> tuple[Floats, Floats]:
        """Return the lifts that an interval of so many standard errors of the difference does not rule out.

        Fieller (1954): a lift r stays where treatment - (1 + r) control is within its own interval around 0. So the
        lift leaves out 0 exactly where the difference does, however few conversions there are. Infinite ends: the
        control's figure cannot be told from 0.
        """
        wide = np.asarray(errors, dtype=np.float64) ** 2
        below = self.control**2 - wide * self.control_variance
        across = self.control * self.treatment
        root = across**2 - below * (self.treatment**2 - wide * self.treatment_variance)
        told = (below > 0.0) & (root >= 0.0)
        below, root = np.where(told, below, 1.0), np.sqrt(np.where(told, root, 0.0))
        ends = [np.where(told, (across + side * root) / below - 1.0, side * np.inf) for side in (-1.0, 1.0)]
        return ends[0], ends[1]


def effect(control: Moments, treatment: Moments, columns: Columns = VALUE) -> Effect:
    """Return what the treatment changed. NaN: fewer than two units; the lift over a control of 0."""
    both = control + treatment
    theta = _theta(both, columns)
    sides = [_adjusted(one, both, columns, theta) for one in (control, treatment)]
    (old, old_variance, old_plain), (new, new_variance, new_plain) = sides
    plain = old_plain + new_plain
    return Effect(
        control=old,
        treatment=new,
        control_variance=old_variance,
        treatment_variance=new_variance,
        explained=1.0 - (old_variance + new_variance) / np.where(plain > 0.0, plain, np.nan),
        units=both.count,
    )


def _theta(both: Moments, columns: Columns) -> Floats:
    """Return how much of the covariate is taken off: the slope of the value on it."""
    if columns.covariate is None:
        return np.zeros(both.count.shape)
    value, past = _gradients(both, columns)
    over = _form(past, both.covariance, past)
    return np.where(over > 0.0, _form(value, both.covariance, past) / np.where(over > 0.0, over, 1.0), 0.0)


def _adjusted(one: Moments, both: Moments, columns: Columns, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """Return a variant's figure, and the variance of that estimate with and without the covariate."""
    value, past = _gradients(one, columns)
    figure = _figure(one, columns.value, columns.denominator)
    plain = _form(value, one.covariance, value) / one.count
    if columns.covariate is None:
        return figure, plain, plain
    names = columns.covariate, columns.covariate_denominator
    kept = value - theta[..., None] * past
    figure = figure - theta * (_figure(one, *names) - _figure(both, *names))
    return figure, _form(kept, one.covariance, kept) / one.count, plain


def _figure(one: Moments, value: int, denominator: int | None) -> Floats:
    below = 1.0 if denominator is None else one.mean[..., denominator]
    return np.asarray(one.mean[..., value] / below)


def _gradients(one: Moments, columns: Columns) -> tuple[Floats, Floats]:
    """Return the slopes of figure and covariate in the means of the columns, each (..., k)."""
    value = _gradient(one, columns.value, columns.denominator)
    if columns.covariate is None:
        return value, np.zeros_like(value)
    return value, _gradient(one, columns.covariate, columns.covariate_denominator)


def _gradient(one: Moments, value: int, denominator: int | None) -> Floats:
    slopes = np.zeros_like(one.mean)
    below = np.ones(one.count.shape) if denominator is None else one.mean[..., denominator]
    slopes[..., value] = 1.0 / below
    if denominator is not None:
        slopes[..., denominator] = -one.mean[..., value] / below**2
    return slopes


def _form(left: Floats, matrix: Floats, right: Floats) -> Floats:
    """Return left' matrix right, of each leading index. Of a side with itself rounding makes it no less than 0."""
    found = np.asarray(np.einsum("...i,...ij,...j->...", left, matrix, right))
    return np.maximum(found, 0.0) if left is right else found
