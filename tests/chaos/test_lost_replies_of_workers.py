"""A fleet behind a proxy that breaks its connections after the server has run a request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.scene import Load, Scene
from tests.support import history as judge
from tests.support.proxy import Proxy, is_command, is_script
from tests.support.server import RedisServer

FAULTS = 6


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    """A proxy in front of the shared server, for the fleet alone."""
    with Proxy(server.unix_url) as made:
        yield made


@pytest.mark.parametrize("how", ["lose_reply", "refuse"])
@pytest.mark.parametrize("script", ["fetch", "ack", "heartbeat"])
def test_a_broken_connection_costs_no_job_and_repeats_none(
    scene: Scene, proxy: Proxy, script: str, how: str
) -> None:
    every = 1 if script == "heartbeat" else 9
    faults = [getattr(proxy, how)(is_script(script), skip=every * (number + 1)) for number in range(FAULTS)]
    with scene.fleet(url=proxy.url, processes=2, threads=4, lease_s=2, timeout_s=2) as fleet:
        with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(1, 20),)):
            for fault in faults:
                assert fault.reached.wait(30), f"{script} was called too seldom\n{fleet.output()}"
            scene.wait_for_runs(50)
        scene.wait_drained(fleet)
        assert fleet.terminate() == 0, fleet.output()
    judge.assert_each_ran_once(scene.history())
    assert scene.leftovers() == []  # nothing is held by a name that nobody goes by


@pytest.mark.parametrize("script", ["register", "retire", "release"])
def test_a_reply_lost_at_the_beginning_or_the_end_of_a_lease_leaves_no_orphan(
    scene: Scene, proxy: Proxy, script: str
) -> None:
    fault = proxy.lose_reply(is_script(script), times=2)
    with scene.fleet(url=proxy.url, processes=2, threads=4, timeout_s=2) as fleet:
        scene.enqueue(scene.tasks.work, [(20,)] * 300)
        scene.wait_for_starts(50)
        assert fleet.terminate() == 0, fleet.output()
    with scene.fleet(processes=1, threads=4, words=["--burst"], ready=False) as second:
        assert second.end() == 0, second.output()
    assert fault.struck or script == "release"  # there may have been nothing to give back
    judge.assert_each_ran_once(scene.history())
    assert scene.leftovers() == []


def test_connections_that_fall_silent_are_left_for_new_ones(scene: Scene, proxy: Proxy) -> None:
    faults = [proxy.black_hole(is_command("EVALSHA"), skip=40 * (number + 1)) for number in range(3)]
    with scene.fleet(url=proxy.url, processes=2, threads=4, timeout_s=1) as fleet:
        with Load(scene, scene.tasks.work, lambda chance: (chance.uniform(1, 20),)):
            for fault in faults:
                assert fault.reached.wait(30), fleet.output()
            scene.wait_for_runs(100)
        scene.wait_drained(fleet)
        assert fleet.terminate() == 0, fleet.output()
    judge.assert_each_ran_once(scene.history())
    assert scene.leftovers() == []
