"""The numbers next to a range that are not in it."""

import math


def beyond(allowed):
    """The nearest on either side; none where there is no end."""
    if allowed.above is not None:
        found = [allowed.above]
    else:
        found = [allowed.least - 1 if allowed.whole else math.nextafter(allowed.least, -math.inf)]
    if allowed.below is not None:
        found.append(allowed.below)
    else:
        found.append(allowed.most + 1 if allowed.whole else math.nextafter(allowed.most, math.inf))
    return [number for number in found if math.isfinite(number)]
