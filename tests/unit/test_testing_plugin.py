"""The pytest plugin, in test runs of its own."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APP = """
    from ferryman import Ferryman

    app = Ferryman("redis://127.0.0.1:1/0", patience_s=0)

    @app.task(queue="mail")
    def send(user: int) -> str:
        return f"hello {user}"
"""

pytest_plugins = ["pytester"]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An application with one task, and its tests still to be written."""
    # An inner run forgets the modules that it imported first, so what takes long is imported before it.
    for name in ("ferryman.location", "ferryman.testing", "fakeredis"):
        importlib.import_module(name)
    pytester.makepyfile(shop_jobs=APP)
    pytester.syspathinsert()
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # Other plugins have no say, and ours is named: whether this checkout is installed is chance.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester


def run(project: pytest.Pytester, ini: str = "ferryman_app = shop_jobs:app") -> pytest.RunResult:
    project.makeini(f"[pytest]\n{ini}\n")
    return project.runpytest_inprocess("-p", "ferryman.testing.plugin", "--strict-markers")


def test_the_plugin_that_pyproject_names_exists() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        plugins = tomllib.load(file)["project"]["entry-points"]["pytest11"]
    assert plugins == {"ferryman": "ferryman.testing.plugin"}
    assert importlib.import_module(plugins["ferryman"]).pytest_addoption


def test_each_test_gets_an_empty_kit_for_the_app_of_the_ini_file(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from shop_jobs import send

        @pytest.mark.parametrize("user", [1, 2])
        def test_send(ferryman_testing, user):
            job = send.enqueue(user)
            ferryman_testing.assert_enqueued(send, user, count=1)
            assert ferryman_testing.drain().succeeded == 1
            assert job.result() == f"hello {user}"
    """)
    run(project).assert_outcomes(passed=2)


def test_inline_is_a_fixture_too(project: pytest.Pytester) -> None:
    project.makepyfile("""
        from shop_jobs import send

        def test_send(ferryman_inline, ferryman_testing):
            assert send.enqueue(1).result() == "hello 1"
            assert ferryman_inline is ferryman_testing
    """)
    run(project).assert_outcomes(passed=1)


def test_the_app_can_be_given_by_overriding_its_fixture(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from ferryman import Ferryman

        @pytest.fixture
        def ferryman_app():
            return Ferryman("redis://127.0.0.1:1/0")

        def test_another_app(ferryman_app, ferryman_testing, ferryman_attach):
            assert ferryman_testing.app is ferryman_app
            second = Ferryman("redis://127.0.0.1:1/0")
            assert ferryman_attach(second, raise_on_failure=True).app is second
    """)
    run(project, "").assert_outcomes(passed=1)


def test_isolation_attaches_a_kit_to_every_test_that_is_not_marked_real(project: pytest.Pytester) -> None:
    project.makepyfile("""
        import pytest
        from ferryman import StoreUnavailable
        from shop_jobs import app, send

        def test_without_a_fixture():
            assert send.enqueue(1).state == "queued"

        def test_again():
            assert len(app.queue("mail")) == 0

        @pytest.mark.ferryman_real
        def test_real():
            with pytest.raises(StoreUnavailable):
                send.enqueue(1)
    """)
    run(project, "ferryman_app = shop_jobs:app\nferryman_isolate = true").assert_outcomes(passed=3)


def test_without_isolation_a_test_that_asks_for_nothing_meets_the_real_store(
    project: pytest.Pytester,
) -> None:
    project.makepyfile("""
        import pytest
        from ferryman import StoreUnavailable
        from shop_jobs import send

        def test_real():
            with pytest.raises(StoreUnavailable):
                send.enqueue(1)
    """)
    run(project).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    "ini, told",
    [
        ("", "*which app is under test? Say ferryman_app = shop.jobs:app*"),
        ("ferryman_app = shop_jobs:ap", "*ferryman_app = shop_jobs:ap: *did you mean shop_jobs:app?*"),
        ("ferryman_app = shop_job", "*ferryman_app = shop_job: there is no module 'shop_job'*"),
    ],
)
def test_an_app_that_is_not_found_is_told_in_a_line(project: pytest.Pytester, ini: str, told: str) -> None:
    project.makepyfile("def test_send(ferryman_testing): ...")
    result = run(project, ini)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([told])
