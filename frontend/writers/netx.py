"""What NetX makes of the weights of a dense layer: scaled into 8 bits, then clipped and truncated.

Source: `optimize_weight_bits` of lava-dl 0.6.0, `clip_weights` and `truncate_weights` of lava-nc 0.10.0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def keeps_weights(weight: NDArray[Any]) -> bool:
    """Whether NetX's dense synapses send ``weight @ s``, bit for bit.

    >>> keeps_weights(np.array([[254, -256]])), keeps_weights(np.array([[300, -1]])), keeps_weights(np.array([[0]]))
    (True, False, False)
    """
    high, low = int(weight.max(initial=0)), int(weight.min(initial=0))
    if not weight.size or (high == 0 and low == 0):
        return False  # NetX divides by the largest weight
    whole_high, whole_low = int(weight.max()), int(weight.min())
    if (high > 254 and whole_low < 0) or (low < -256 and whole_high > 0):
        return False
    signed = int(whole_high >= 0 and whole_low < 0)
    if signed:
        scale = min(127 / whole_high if whole_high else math.inf, -128 / whole_low)
    else:
        scale = 255 / whole_high if whole_low >= 0 else -256 / whole_low
    bits = math.floor(math.log2(scale)) + signed
    if bits < 0:
        return False
    precision = max(n for n in range(9) if not (weight % 2**n).any()) - signed
    mixed = whole_low < 0 < whole_high
    dropped = bits + precision + mixed
    if not 0 <= dropped <= 31:
        return False
    scaled = weight.astype(np.int64) << bits
    magnitude = scaled if mixed else np.abs(scaled)
    kept = np.clip(magnitude, -256 if mixed else 0, 255) >> dropped << dropped
    return bool(np.array_equal(kept, magnitude))
