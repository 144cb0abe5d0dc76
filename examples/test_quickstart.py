"""How an application tests its jobs: no Redis, no worker, no waiting.

pytest examples/test_quickstart.py
"""

import pytest
from quickstart import app, send_welcome

from ferryman.testing import Kit, attach, inline


@pytest.fixture(autouse=True)
def kit():
    """A store of each test's own, in memory."""
    with attach(app) as attached:
        yield attached


def test_a_welcome_waits_in_the_mail_queue(kit: Kit) -> None:
    send_welcome.options(delay=60).enqueue(42)
    kit.assert_enqueued(send_welcome, 42, language="en", queue="mail", within=60)
    kit.assert_not_enqueued(send_welcome, within=59)


def test_it_is_sent_in_the_users_language(kit: Kit) -> None:
    job = send_welcome.enqueue(42, language="fr")
    assert kit.drain(raise_on_failure=True).succeeded == 1
    assert job.result() == "Bienvenue, user 42!"


def test_an_unknown_language_is_a_dead_letter_after_six_attempts(kit: Kit) -> None:
    send_welcome.enqueue(42, language="tlh")
    done = kit.drain(ahead=3600)  # an hour passes, in no time
    assert (done.failed, done.dead) == (6, 1)
    assert kit.dead[0].error == "KeyError: 'tlh'"


def test_at_the_call(kit: Kit) -> None:
    with inline(app):
        assert send_welcome.enqueue(7).result() == "Welcome, user 7!"
