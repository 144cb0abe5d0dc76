"""The groups of servers themselves: what an operator does to them is done, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.access import Access, Certificates
from tests.support.cluster import Cluster
from tests.support.sentinels import Sentinels
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # an election takes its time on a busy machine

USERS = {"producer": "on >secret ~app:* &* +@all"}


@pytest.fixture
def guarded(tmp_path: Path, redis_server_binary: Path) -> Access:
    """Passwords, an ACL user, and TLS with certificates on both sides: Debian's server only."""
    return Access("sesame", USERS, Certificates(tmp_path, clients_too=True))


def test_sentinels_elect_another_master_and_the_old_one_comes_back_as_a_replica() -> None:
    with Sentinels() as group:
        first = group.master()
        assert len(group.replicas()) == 2
        with first.client(socket_timeout=30) as client:
            client.set("kept", "yes")
            assert client.wait(2, 20_000) == 2
        second = group.kill_master()
        assert group.killed == [first]
        assert second is not first
        with second.client() as client:
            assert client.get("kept") == b"yes"
        first.restart()
        with first.client() as client:
            raw: Any = client
            wait_until(lambda: raw.role()[0] in (b"slave", "slave"), 30, group.log, ignoring=redis.RedisError)
        third = group.failover()
        assert third is group.master() is not second
    assert not any(server.alive() or server.directory.exists() for server in group.servers)


def test_guarded_sentinels_and_servers_let_in_whom_they_should(guarded: Access) -> None:
    with Sentinels("redis", access=guarded, sentinel_password="open") as group:
        assert group.failover() is group.master()
        with redis.Redis.from_url(group.master().url_for(Access.login_of("producer", "secret"))) as client:
            assert client.set("app:x", "1")
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.get("other")
        for server, password in ((group.sentinels[0], "wrong"), (group.master(), "open")):
            with (
                redis.Redis.from_url(server.url_for(Access.login_of("", password))) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()


def test_a_cluster_fails_over_and_moves_slots_with_their_keys() -> None:
    with Cluster() as cluster, redis.RedisCluster.from_url(cluster.url) as client:
        slot = cluster.slot_of("orders")
        assert len(cluster.masters()) == 3
        names = [f"{{orders}}:{number}" for number in range(250)]
        for name in names:
            client.set(name, name)
        first = cluster.master_of(slot)
        second = cluster.failover(first)
        assert cluster.master_of(slot) is second
        assert cluster.kill_master(slot) is first
        second.restart()
        cluster.wait_ready()
        assert cluster.replicas_of(first) == [second]
        for atomic in (False, True):
            target = cluster.others(slot)[0]
            cluster.reshard(slot, target, atomic=atomic)
            assert cluster.master_of(slot) is target
            assert [client.get(name) for name in names] == [name.encode() for name in names]
    assert not any(node.alive() or node.directory.exists() for node in cluster.nodes)


def test_a_slot_that_is_half_moved_refuses_commands_on_both_halves(guarded: Access) -> None:
    with Cluster("redis", access=guarded) as cluster:
        slot = cluster.slot_of("orders")
        source, target = cluster.master_of(slot), cluster.others(slot)[0]
        with source.client() as client:
            for number in range(4):
                client.set(f"{{orders}}:{number}", number)
            cluster.start_moving(slot, target)
            assert cluster.move_keys(slot, source, target, limit=2) == 2
            raw: Any = client
            with pytest.raises(redis.exceptions.TryAgainError):
                raw.mget([f"{{orders}}:{number}" for number in range(4)])
            assert cluster.move_keys(slot, source, target) == 2
            cluster.settle(slot, target)
            cluster.wait_owner(slot, target)
        with target.client() as client:
            assert client.get("{orders}:3") == b"3"
