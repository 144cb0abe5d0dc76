"""Servers in groups that change their roles, and slots that move, while jobs flow through a fleet.

What `enqueue` promises there is promised by ``durability="replicated"``: a job whose call was refused with
`NotDurable` counts as offered, not as accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.conftest import FIGURE
from tests.chaos.scene import Load, Scene
from tests.support import history as judge
from tests.support.cluster import Cluster
from tests.support.sentinels import Sentinels

pytestmark = pytest.mark.timeout(300)  # an election takes its time on a busy machine

PATIENCE_S = 45.0  # longer than any failover here takes on a busy machine
Figure = Callable[[str, object], None]


def _hosts(group: Cluster | Sentinels) -> str:
    return ",".join(f"{host}:{port}" for host, port in group.addresses)


def _judge(scene: Scene, load: Load, pids: set[int], faults: int, record: Figure) -> None:
    found = scene.history()
    judge.assert_nothing_lost(found)
    assert {run.pid for run in found.runs} <= pids, "nobody had to be replaced"
    again, refused = len(judge.repeated(found)), len(load.refused)
    record(
        FIGURE, f"{len(found.accepted)} jobs, {faults} faults, 0 lost, {again} ran again, {refused} refused"
    )


def test_sentinels_elect_another_primary_again_and_again_and_the_fleet_carries_on(
    prefix: str, tmp_path: Path, record_property: Figure
) -> None:
    with Sentinels() as group:
        # Both replicas: whoever is elected has the job, also if the old primary does not yet know that it is.
        scene = Scene(
            f"redis+sentinel://{_hosts(group)}/{group.name}/0", prefix, tmp_path,
            patience_s=PATIENCE_S, durability="replicated:2",
        )  # fmt: skip
        with scene.fleet(processes=2, threads=4, timeout_s=2) as fleet:
            pids = set(fleet.worker_pids())
            with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(1, 20),)) as load:
                scene.wait_for_runs(60)
                group.failover()
                scene.wait_for_runs(60)
                group.kill_master()
                group.killed[0].restart()
                scene.wait_for_runs(60)
            scene.wait_drained(fleet)
            assert fleet.terminate() == 0, fleet.output()
        _judge(scene, load, pids, 2, record_property)
        scene.close()


def test_a_cluster_fails_over_and_moves_the_queue_and_the_fleet_carries_on(
    prefix: str, tmp_path: Path, record_property: Figure
) -> None:
    with Cluster() as group:
        slot = group.slot_of("default")
        scene = Scene(
            f"redis+cluster://{_hosts(group)}",
            prefix,
            tmp_path,
            patience_s=PATIENCE_S,
            durability="replicated:1",
        )
        with scene.fleet(processes=2, threads=4, timeout_s=2) as fleet:
            pids = set(fleet.worker_pids())
            with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(1, 20),)) as load:
                scene.wait_for_runs(60)
                group.failover(group.master_of(slot))
                scene.wait_for_runs(60)
                for atomic in (False, True):
                    group.reshard(slot, group.others(slot)[0], atomic=atomic)
                    scene.wait_for_runs(60)
                group.kill_master(slot)
                group.killed[0].restart()
                scene.wait_for_runs(60)
            scene.wait_drained(fleet)
            assert fleet.terminate() == 0, fleet.output()
        _judge(scene, load, pids, 4, record_property)
        scene.close()
