"""Who goes first on the CPU that clients, services and those who disturb them share: what is to be seen is the proxy, and not how long a
process of less weight goes on before one that wakes gets its turn. With lazy preemption (Linux 6.18) that is until its next system call
or tick, some 4 ms. Used by the benchmarks of floods and fairness."""
import contextlib
import os

# The same of both: a client that goes before its service wakes at each answer, the two no longer work off what has gathered, and half of the
# capacity of before is all that is left.
SERVICE, CLIENT = 1, 1


def before_all_else(process, priority):
    os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(priority))


def after_all_else(process):
    os.sched_setscheduler(process.pid, os.SCHED_IDLE, os.sched_param(0))


@contextlib.contextmanager
def first(client, service):
    """These two go before all else while it lasts. For work at a rate: who works as fast as it can would leave nothing to others."""
    before_all_else(client, CLIENT)
    before_all_else(service, SERVICE)
    try:
        yield
    finally:
        for process in (client, service):
            os.sched_setscheduler(process.pid, os.SCHED_OTHER, os.sched_param(0))
