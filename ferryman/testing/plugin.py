"""The plugin for pytest, loaded by itself where Ferryman is installed: fixtures that hand a test its kit.

Two ini options: ``ferryman_app = shop.jobs:app`` names the project's app, and ``ferryman_isolate = true``
gives every test a kit of its own whether it asks for one or not, so that none enqueues into a real Redis by
accident; a test marked ``ferryman_real`` is left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ferryman import Ferryman
    from ferryman.testing import Kit

_REAL = "ferryman_real"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini options."""
    parser.addini("ferryman_app", "the app under test: MODULE or MODULE:APP", default="")
    parser.addini("ferryman_isolate", "give every test a ferryman kit of its own", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark; isolate tests if that is asked for."""
    config.addinivalue_line("markers", f"{_REAL}: the test's app keeps its own store (see ferryman_isolate)")
    if config.getini("ferryman_isolate"):
        config.pluginmanager.register(Isolation(), "ferryman-isolation")


@pytest.fixture(scope="session")
def ferryman_app(pytestconfig: pytest.Config) -> Ferryman:
    """The app under test: what the ini option ``ferryman_app`` names. Override it if need be."""
    from ferryman.errors import FerrymanError
    from ferryman.location import find_app

    location = pytestconfig.getini("ferryman_app")
    if not location:
        pytest.fail(
            "which app is under test? Say ferryman_app = shop.jobs:app among pytest's ini options, "
            "or override the fixture 'ferryman_app'",
            pytrace=False,
        )
    try:
        return find_app(location)
    except FerrymanError as error:
        pytest.fail(f"ferryman_app = {location}: {error}", pytrace=False)


@pytest.fixture
def ferryman_attach() -> Iterator[Callable[..., Kit]]:
    """`ferryman.testing.attach`, with kits detached after the test: for other apps and options."""
    from ferryman.testing import attach

    with contextlib.ExitStack() as attached:

        def attach_for_this_test(app: Ferryman, **options: Any) -> Kit:
            return attached.enter_context(attach(app, **options))

        yield attach_for_this_test


@pytest.fixture
def ferryman_testing(ferryman_app: Ferryman, ferryman_attach: Callable[..., Kit]) -> Kit:
    """A `ferryman.testing.Kit` of this test's own, attached to the app under test."""
    return ferryman_attach(ferryman_app)


@pytest.fixture
def ferryman_inline(ferryman_testing: Kit) -> Iterator[Kit]:
    """As ``ferryman_testing``, and each job runs at the call that enqueues it; a failure raises there."""
    with ferryman_testing.inline():
        yield ferryman_testing


class Isolation:
    """Gives every test a kit. A plugin of its own, so that a run which did not ask for it pays nothing."""

    @pytest.fixture(autouse=True)
    def ferryman_isolated(self, request: pytest.FixtureRequest) -> None:
        """Attach the app under test, unless the test is marked ``ferryman_real``."""
        if request.node.get_closest_marker(_REAL) is None:
            request.getfixturevalue("ferryman_testing")
