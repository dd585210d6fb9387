"""Adam's direction in NumPy, float64, independent of the rules."""

import numpy as np

BETA1, BETA2, EPS = 0.8, 0.95, 1e-3


class Adam:
    """The moments of one tensor."""

    def __init__(self, shape):
        self.m, self.v, self.t = np.zeros(shape), np.zeros(shape), 0

    def direction(self, g):
        self.t += 1
        self.m = BETA1 * self.m + (1 - BETA1) * g
        self.v = BETA2 * self.v + (1 - BETA2) * g**2
        return self.m / (1 - BETA1**self.t) / (np.sqrt(self.v / (1 - BETA2**self.t)) + EPS)
