"""Arms measured in turns, because a machine's speed drifts by more than what is to be seen: every round runs each arm once, in an
order drawn anew, and what counts is the median of the rounds' ratios with a bootstrap interval of 95 % (as paired.h does for two
arms). Pure but for the running of slices. Used by measures.py."""
import random
import statistics

RESAMPLES = 2000


class Interval:
    """Median and the 2.5 and 97.5 % points of resampled medians."""

    def __init__(self, samples):
        self.samples = list(samples)
        self.value = statistics.median(self.samples)
        # The same numbers give the same interval.
        drawn = random.Random(1)
        medians = sorted(statistics.median(drawn.choices(self.samples, k=len(self.samples))) for _ in range(RESAMPLES))
        self.low = medians[RESAMPLES * 25 // 1000]
        self.high = medians[RESAMPLES * 975 // 1000]


def in_turns(loads, rounds, run, order=None):
    """{arm: [figures of each round]}. `run` takes a load and returns the figures of one slice of it."""
    order = order or random.Random()
    results = {name: [] for name in loads}
    for _ in range(rounds):
        names = list(loads)
        order.shuffle(names)
        for name in names:
            results[name].append(run(loads[name]))
    return results


def series(rounds, pick):
    """One number of each round."""
    return [pick(figures) for figures in rounds]


def ratios(ours, theirs):
    """Round by round; a round in which theirs is nothing says nothing."""
    return [a / b for a, b in zip(ours, theirs) if b > 0]


def better(candidates, pick, smallest=True):
    """Name of the arm with the better median; None without candidates."""
    if not candidates:
        return None
    choose = min if smallest else max
    return choose(candidates, key=lambda name: statistics.median(series(candidates[name], pick)))
