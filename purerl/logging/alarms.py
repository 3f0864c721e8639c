"""Named alarms: what a person who knows the method would see in the numbers of a run."""

import math
from collections.abc import Mapping

_GRADIENT_NORM = 100.0
_ENTROPY = -8.0
_SATURATED_SHARE = 0.9
_EXPLAINED_VARIANCE = -0.5
_APPROX_KL = 0.1
_CLIP_FRACTION = 0.5


def alarms(metrics: Mapping[str, float]) -> list[str]:
    """What looks wrong, one sentence each; none in a healthy run.

    Args:
        metrics: values of one chunk by name; absent ones and NaN ("no value yet") raise no alarm, infinite
            ones do.
    """

    def value(name: str, default: float) -> float:
        found = metrics.get(name, default)
        return default if math.isnan(found) else found

    kl, clipped = value("approx_kl", 0.0), value("clip_fraction", 0.0)
    gradient, entropy = value("gradient_norm", 0.0), value("entropy", 0.0)
    saturated, explained = value("saturated_share", 0.0), value("explained_variance", 0.0)
    rules = [
        (gradient > _GRADIENT_NORM, f"exploding gradient: norm {gradient:.3g}"),
        (entropy < _ENTROPY, f"collapsed entropy: {entropy:.3g} nat"),
        (saturated > _SATURATED_SHARE, f"saturated actions: {saturated:.0%} beyond their bounds"),
        (explained < _EXPLAINED_VARIANCE, f"failing critic: explained variance {explained:.2f}"),
        (
            kl > _APPROX_KL or clipped > _CLIP_FRACTION,
            _too_fast(kl, clipped, value("learning_rate", math.nan)),
        ),
    ]
    infinite = [f"not finite: {name}" for name, found in metrics.items() if math.isinf(found)]
    return [sentence for sounds, sentence in rules if sounds] + infinite


def _too_fast(kl: float, clipped: float, learning_rate: float) -> str:
    rate = "" if math.isnan(learning_rate) else f" {learning_rate:.2g}"
    return f"learning rate{rate} too high: KL {kl:.3f}, {clipped:.0%} clipped"
