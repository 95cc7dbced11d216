"""``processors.toml``: what is refused and how that is told, what is taken over, and what running tasks keep."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from platform_process import ROOT, Platform, running, wait_for
from test_life import simulate

from tasks_app.client import Client, Problem

pytestmark = pytest.mark.timeout(300)

PLUGIN = """
from processors.contract import BatchProcessor, Params
from pydantic import Field

class CountParams(Params):
    to: int = Field(3, ge=1, le=1000)
    every_s: float = Field(0.0, ge=0, le=10)

class Count(BatchProcessor):
    title = "Count"
    Params = CountParams

    def run(self, params, context):
        context.running()
        context.stage("counting", 1, of=2)
        for number in range(params.to):
            if context.stopping.wait(params.every_s):
                break
            context.done((number + 1) / params.to / 2, counted=number + 1)
        context.stage("telling", 2, of=2)
        return {"counted": number + 1}
"""
STREAM = """
from processors.stream.stock_avg import StockAvg

class Mine(StockAvg):
    title = "Mine"
"""


class Plugins:
    """A platform with a package of plugins on its list, and its registry file."""

    def __init__(self, platform: Platform, package: Path, file: Path):
        self.platform, self.package, self.file = platform, package, file

    def write(self, name: str, source: str) -> None:
        (self.package / f"{name}.py").write_text(textwrap.dedent(source))

    def entry(self, name: str, *lines: str) -> None:
        with self.file.open("a") as file:
            file.write("\n".join((f"\n[{name}]", *lines)) + "\n")


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugins]:
    home = tmp_path_factory.mktemp("plugged")
    package, file = home / "plugins", home / "processors.toml"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(ROOT / "processors.toml", file)
    settings = {
        "PROCESSORS_FILE": str(file),
        "PROCESSOR_PACKAGES": "processors,plugins",
        "PYTHONPATH": f"{ROOT}:{home}",
    }
    with running(tmp_path_factory.mktemp("state"), **settings) as platform:
        yield Plugins(platform, package, file)


@pytest.fixture
def plugins(plugged: Plugins) -> Iterator[Plugins]:
    """The plugins with a registry as it was found afterwards."""
    before = plugged.file.read_text()
    yield plugged
    plugged.file.write_text(before)


@pytest.fixture(scope="module")
def api(plugged: Plugins) -> Iterator[Client]:
    with Client(plugged.platform.url, plugged.platform.token("manager", "registry"), timeout_s=120) as client:
        yield client


def refusal(api: Client) -> str:
    before = api.processors()
    with pytest.raises(Problem) as refused:
        api.reload_processors()
    assert refused.value.status == 422 and api.processors() == before
    return refused.value.detail


AS_IT_STANDS = {
    ('class = "plugins.count:Count"',): "needs class and kind",
    ('class = "plugins.count:Count"', 'kind = "chore"'): "kind is 'chore': expected one of feed, stream, batch",
    ('class = "plugins.count:Count"', 'kind = "batch"', 'colour = "red"'): "colour is not known",
    ('class = "plugins.count:Count"', 'kind = "batch"', "enabled = 1"): "enabled is 1: expected bool",
    ('class = "os:system"', 'kind = "batch"'): "'os:system' is in no allowed package",
    ('class = "plugins.count.Count"', 'kind = "batch"'): "expected package.module:Class",
}
BY_ITS_CLASS = {
    ('class = "plugins.nowhere:Count"', 'kind = "batch"'): "module plugins.nowhere is missing",
    ('class = "plugins.count:Lost"', 'kind = "batch"'): "class Lost is missing in module plugins.count",
    ('class = "plugins.count:CountParams"', 'kind = "batch"'): "is not a processor",
    ('class = "plugins.count:BatchProcessor"', 'kind = "batch"'): "is made in processors.contract",
    ('class = "plugins.count:Count"', 'kind = "stream"'): "is of kind 'batch': expected 'stream'",
    ('class = "plugins.count:Count"', 'kind = "batch"', "params = { to = 0 }"): "to is 0: Input should be",
    ('class = "plugins.count:Count"', 'kind = "batch"', "params = { too = 1 }"): "too: Count has no such",
    ('class = "plugins.broken:X"', 'kind = "batch"'): "broken.py, line 3",
    ('class = "plugins.syntax:X"', 'kind = "batch"'): "syntax.py, line 2",
    ('class = "plugins.nan:Nan"', 'kind = "stream"'): "result_is_json_and_input_untouched",
}


@pytest.mark.parametrize("broken", [AS_IT_STANDS, BY_ITS_CLASS], ids=["as it stands", "by its class"])
def test_each_broken_entry_is_named_with_file_and_line_and_changes_nothing(
    plugins: Plugins, api: Client, broken: dict[tuple[str, ...], str]
) -> None:
    plugins.write("count", PLUGIN)
    plugins.write("broken", "\n\n1 / 0\n")
    plugins.write("syntax", "x = 1\ndef\n")
    plugins.write(
        "nan",
        """
        from dataclasses import replace
        from processors.stream.stock_avg import StockAvg
        class Nan(StockAvg):
            def step(self, *given):
                state, result = super().step(*given)
                return state, replace(result, numbers={"x": float("nan")})
        """,
    )
    plugins.entry("good", 'class = "plugins.count:Count"', 'kind = "batch"')
    for number, lines in enumerate(broken):
        plugins.entry(f"bad_{number}", *lines)
    written = plugins.file.read_text().splitlines()
    problems = refusal(api).split(f"; {plugins.file}, ")
    assert len(problems) == len(broken), problems
    for number, (problem, told) in enumerate(zip(problems, broken.values(), strict=True)):
        name = f"[bad_{number}]"
        assert told in problem and f"line {written.index(name) + 1}: {name}" in problem, problem


def test_a_file_that_is_no_toml_is_named_with_its_line(plugins: Plugins, api: Client) -> None:
    plugins.file.write_text(plugins.file.read_text() + "\n[bad\n")
    assert str(plugins.file) in refusal(api) and "line" in refusal(api)


def test_a_good_file_is_taken_over_with_its_defaults_and_words(plugins: Plugins, api: Client) -> None:
    plugins.write("count", PLUGIN)
    plugins.entry(
        "count", 'class = "plugins.count:Count"', 'kind = "batch"', 'description = "Counts."', "params = { to = 5 }"
    )
    plugins.entry("off", 'class = "plugins.count:Count"', 'kind = "batch"', "enabled = false")
    assert "count" in api.reload_processors()
    found = {row.name: row for row in api.processors()}
    assert "off" not in found and found["count"].enabled and found["count"].description == "Counts."
    assert found["count"].schema_["properties"]["to"]["default"] == 5
    task = api.create("count")
    assert task.params == {"to": 5, "every_s": 0.0}
    ended = plugins.platform.reaches(task.id, "Finished")
    told = ended["progress"]
    assert (told["stage"], told["stage_number"], told["stages"], told["counted"]) == ("telling", 2, 2, 5)
    assert ended["code_hash"] == found["count"].code_hash


def test_what_is_no_longer_listed_is_off_and_takes_no_task(plugins: Plugins, api: Client) -> None:
    plugins.write("count", PLUGIN)
    without = plugins.file.read_text()
    plugins.entry("passing", 'class = "plugins.count:Count"', 'kind = "batch"')
    api.reload_processors()
    plugins.file.write_text(without)
    api.reload_processors()
    assert not {row.name: row for row in api.processors()}["passing"].enabled
    with pytest.raises(Problem) as refused:
        api.create("passing")
    assert "'passing' is not a registered processor" in str(refused.value)


def test_an_entry_point_of_an_installed_package_is_allowed_and_runs(plugins: Plugins, api: Client) -> None:
    """A distribution as pip leaves it behind: a package and its metadata on Python's path."""
    home = plugins.package.parent
    (home / "ideas.py").write_text(PLUGIN + "\nclass Hidden(Count):\n    title = 'Hidden'\n")
    metadata = home / "ideas-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ideas\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[live_stock.processors]\ncount = ideas:Count\n")
    plugins.entry("installed", 'class = "ideas:Count"', 'kind = "batch"')
    assert "installed" in api.reload_processors()
    task = api.create("installed", to=2)
    assert plugins.platform.reaches(task.id, "Finished")["progress"]["counted"] == 2
    plugins.entry("hidden", 'class = "ideas:Hidden"', 'kind = "batch"')
    assert "'ideas:Hidden' is in no allowed package" in refusal(api)


def test_progress_of_a_batch_task_is_told_while_it_runs(plugins: Plugins, api: Client) -> None:
    plugins.write("count", PLUGIN)
    plugins.entry("count", 'class = "plugins.count:Count"', 'kind = "batch"')
    api.reload_processors()
    task = api.create("count", to=1000, every_s=0.05).id
    shares = {wait_for("share", lambda: api.task(task).progress.share, 30)}
    wait_for("more of it", lambda: (api.task(task).progress.share or 0) > max(shares), 10)
    assert api.task(task).progress.python_mb
    api.stop(task)
    assert plugins.platform.reaches(task, "Stopped", 5)["progress"]["counted"] < 1000


def test_a_running_task_keeps_its_code_and_the_next_one_has_the_new(plugins: Plugins, api: Client) -> None:
    platform = plugins.platform
    feed = simulate(platform, "kept")
    plugins.write("mine", STREAM)
    plugins.entry("mine", 'class = "plugins.mine:Mine"', 'kind = "stream"')
    api.reload_processors()
    old = api.create("mine", "kept").id
    platform.predicts(old)
    changed = "def step(self, state, header, *rest):\n        state, result = super().step(state, header, *rest)\n"
    changed += "        result.numbers['changed'] = True\n        return state, result\n"
    plugins.write("mine", STREAM + f"\n    {changed}")
    api.reload_processors()
    new = api.create("mine", "kept").id
    assert platform.predicts(new).numbers["changed"] is True
    seen = platform.predicts(old, above=platform.results.latest(old).numbers["index"] + 2)  # type: ignore[union-attr]
    assert "changed" not in seen.numbers
    hashes = api.task(old).code_hash, api.task(new).code_hash
    assert hashes[0] != hashes[1] == {row.name: row.code_hash for row in api.processors()}["mine"]
    for task in (old, new, feed):
        api.stop(task)


def test_a_new_processor_from_the_template_passes_its_own_test_and_runs(
    plugins: Plugins, api: Client, tmp_path: Path
) -> None:
    """In a copy of the checkout, so that nothing stays behind in this one."""
    shutil.copytree(ROOT / "processors", tmp_path / "processors")
    shutil.copytree(ROOT / "tasks_app", tmp_path / "tasks_app")
    shutil.copytree(ROOT / "platform_site", tmp_path / "platform_site")
    for name in ("processors.toml", "manage.py", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    env = {**plugins.platform.env, "PYTHONPATH": str(tmp_path)}
    env |= {"PROCESSORS_FILE": str(tmp_path / "processors.toml"), "STATE_DIR": str(tmp_path / "state")}
    for kind in ("stream", "batch", "feed"):
        command = [sys.executable, "manage.py", "new_processor", f"my_{kind}", "--kind", kind]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        again = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
        assert again.returncode and f"has a processor my_{kind} already" in again.stderr
    for command in (
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/processors"],
        [sys.executable, "-m", "ruff", "check", "processors", "tests"],
        [sys.executable, "-m", "ruff", "format", "--check", "processors", "tests"],
        [sys.executable, "manage.py", "migrate", "-v0"],
        [sys.executable, "manage.py", "reload_processors"],
    ):
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert all(f"my_{kind}" in done.stdout for kind in ("stream", "batch", "feed"))


def test_the_admin_reloads_too(plugins: Plugins) -> None:
    http = plugins.platform.http
    form = {
        "action": "reload_all",
        "_selected_action": "1",
        "csrfmiddlewaretoken": http.cookies["csrftoken"],
    }
    plugins.entry("bad", 'class = "os:system"', 'kind = "batch"')
    page = http.post(
        "/admin/tasks_app/processor/", data=form, headers={"Referer": plugins.platform.url}, follow_redirects=True
    )
    assert "Nothing was changed" in page.text and "no allowed package" in page.text
    told = plugins.platform.http.get("/api/processors/reload").json()
    assert (told["who"], told["outcome"]) == ("admin", "failed") and "no allowed package" in told["details"]
