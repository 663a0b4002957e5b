"""From samples of a process to a verdict: how fast descriptors and memory grow once it is warm. Pure. Used by soak.py."""
import statistics

# A window holds every phase of the traffic, so that its mean does not depend on where in a phase it is cut.
WINDOWS = 24
# More than so many descriptors gained within the measured time is a leak, of those that are of no connection, and of all. How many connections
# there are wanders with how busy the machine is, by some within minutes. So is more memory than both.
DESCRIPTORS = 2.0
CONNECTIONS = 25.0
KIB = 512.0
KIB_PER_HOUR = 1024.0


def windows(samples, count=WINDOWS):
    """[(mean time, mean value)] of equal parts of the time. `samples`: [(seconds, value)] in order."""
    first, last = samples[0][0], samples[-1][0]
    width = (last - first) / count or 1
    parts = [[] for _ in range(count)]
    for at, value in samples:
        parts[min(count - 1, int((at - first) / width))].append((at, value))
    return [(statistics.fmean(at for at, _ in part), statistics.fmean(value for _, value in part)) for part in parts if part]


def slope(points):
    """Median of the slopes between all pairs of points (Theil-Sen), per second: one strange window does not move it."""
    slopes = [(b - a) / (tb - ta) for i, (ta, a) in enumerate(points) for tb, b in points[i + 1:] if tb > ta]
    return statistics.median(slopes) if slopes else 0.0


def growth(samples, warm_up):
    """(per hour, within the time after `warm_up` seconds, that time in seconds)."""
    warm = [(at, value) for at, value in samples if at >= warm_up]
    points = windows(warm)
    seconds = warm[-1][0] - warm[0][0]
    per_second = slope(points)
    return per_second * 3600, per_second * seconds, seconds


def descriptors_leak(gained):
    return gained > DESCRIPTORS


def connections_leak(gained):
    return gained > CONNECTIONS


def memory_leaks(gained_kib, seconds):
    return gained_kib > max(KIB, KIB_PER_HOUR * seconds / 3600)
