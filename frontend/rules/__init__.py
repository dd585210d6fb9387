"""The pruning rules by name. A new one is a file with a subclass of `rule.Rule`, and a line here.

>>> sorted(RULES)
['deep-r', 'dense', 'grad-r', 'rigl', 'set', 'stds']
"""

from .deep_r import DeepR
from .dense import Dense
from .drop_and_grow import RigL, Set
from .grad_r import GradR
from .rule import Rule, Settings, connectivity
from .stds import Stds

RULES: dict[str, type[Rule]] = {
    "grad-r": GradR,
    "deep-r": DeepR,
    "stds": Stds,
    "rigl": RigL,
    "set": Set,
    "dense": Dense,
}

__all__ = ["RULES", "Rule", "Settings", "connectivity"]
