#!/usr/bin/env python3
"""Weft on a Kubernetes of two nodes: installed by its chart under running traffic, a canary by kubectl, new weights, every component restarted,
the API server lost, taken out again; then the same with weft-control, which is restarted and lost, writes status, answers the webhook, and is upgraded with all
others to another version. A client that dials anew for each request counts what failed from beginning to end.
tools/dev test runs it; --keep leaves the cluster up for a look."""
import argparse
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import broken_story  # noqa: E402 pylint: disable=wrong-import-position
import chart_story  # noqa: E402 pylint: disable=wrong-import-position
import control_story  # noqa: E402 pylint: disable=wrong-import-position
import start_story  # noqa: E402 pylint: disable=wrong-import-position
import upgrade_story  # noqa: E402 pylint: disable=wrong-import-position
from machine import ClusterError, remove  # noqa: E402 pylint: disable=wrong-import-position
from machine_state import difference, state  # noqa: E402 pylint: disable=wrong-import-position
from scenario import Failed, Scenario  # noqa: E402 pylint: disable=wrong-import-position

# In this order; each needs the ones before.
STEPS = (
    Scenario.start, Scenario.deploy, Scenario.install, Scenario.enrol, Scenario.encrypt, Scenario.apply_canary, Scenario.change_weights,
    Scenario.restart_agent, Scenario.restart_proxy, Scenario.lose_api_server, Scenario.uninstall,
    # Once more, on the same cluster and under the same traffic.
    control_story.forget_annotations, control_story.install_control, control_story.check_cluster, control_story.ask_agents, Scenario.encrypt, Scenario.change_weights,
    start_story.first_moments, control_story.refuse_wrong,
    control_story.judge_route, control_story.restart_control, control_story.lose_control, broken_story.break_agent, upgrade_story.upgrade, Scenario.uninstall,
    chart_story.check_charts)


class Ended(Exception):
    """A signal asked us to end, as a time limit does."""


def end(number, _frame):
    raise Ended(signal.Signals(number).name)


def report(scenario):
    """What the programs said last."""
    for read in (lambda: scenario.cluster.logs(1500), scenario.mesh_logs):
        try:
            print(read(), flush=True)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            print(f"no logs: {error}", flush=True)


def run(scenario):
    """How many steps passed, and how many failed."""
    for number, step in enumerate(STEPS):
        started = time.monotonic()
        name = step.__name__
        try:
            said = step(scenario)
        except (Failed, ClusterError, Ended, subprocess.SubprocessError, OSError, RuntimeError, LookupError, ValueError) as error:
            said = f"FAILED  {name} after {time.monotonic() - started:.1f} s: {type(error).__name__}: "
            print(f"{said}{error}", flush=True)
            report(scenario)
            print(f"{said}{str(error).splitlines()[0] if str(error) else ''} (more above the logs)", flush=True)
            return number, 1
        print(f"ok      {name:<16} {time.monotonic() - started:5.1f} s  {said}", flush=True)
    return len(STEPS), 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin-dir", default=os.path.dirname(os.path.dirname(HERE)) + "/build/release/bin")
    parser.add_argument("--name", default="weft-k8s-test", help="of the cluster")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("*** SKIPPED, NOTHING WAS TESTED: not root ***")
        return 77
    try:
        scenario = Scenario(options.name, options.bin_dir)
    except ClusterError as error:
        parser.error(str(error))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    remove(options.name)
    before = state(options.name)
    passed, failed = 0, 1
    try:
        passed, failed = run(scenario)
    finally:
        # What was made is removed, whoever is in a hurry.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if options.keep:
            print(f"the cluster is up: tests/kubernetes/cluster --name {options.name} run")
        else:
            scenario.cluster.down()
            changed = difference(before, state(options.name))
            print("\n".join(changed) or "ok      the machine is as it was")
            passed, failed = passed + (not changed), failed + bool(changed)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
