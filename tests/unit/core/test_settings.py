"""Every variable that the settings read stands in the table of docs/settings.md, and the other way round."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from processors.feeds.vendors.registry import VENDORS

ROOT = Path(__file__).parents[3]


def test_the_table_of_settings_is_complete() -> None:
    read = set(re.findall(r"env\.\w+\(\"(\w+)\"", (ROOT / "platform_site/settings.py").read_text()))
    read |= set(re.findall(r"_positive\(\"(\w+)\"", (ROOT / "platform_site/settings.py").read_text()))
    read |= set(re.findall(r"env\.db_url\(\"(\w+)\"", (ROOT / "platform_site/settings.py").read_text()))
    read |= set(re.findall(r"environ\.get\(\"(SPARK_\w+)\"", (ROOT / "processors/gateway.py").read_text()))
    read |= set(re.findall(r"\"(KAFKA_\w+)\":", (ROOT / "processors/kafka.py").read_text()))
    read |= {f"{each.name.upper()}_URL" for each in VENDORS.values()}
    read |= {f"{each.name.upper()}_TOKEN" for each in VENDORS.values() if each.needs_token}
    told = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    assert told == read


@pytest.mark.parametrize(("name", "value"), [("SLOTS", "0"), ("SLOTS", "many"), ("RUNNER_MEMORY_MB", "-1")])
def test_a_wrong_value_stops_the_start_with_its_name(tmp_path: Path, name: str, value: str) -> None:
    env = {**os.environ, "STATE_DIR": str(tmp_path), name: value}
    done = subprocess.run(
        [sys.executable, "-c", "import platform_site.settings"], env=env, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode and name in done.stderr.splitlines()[-1]


def test_production_settings_pass_djangos_check_of_a_deployment(tmp_path: Path) -> None:
    production = {"STATE_DIR": str(tmp_path), "DEBUG": "false", "HTTPS": "true", "ALLOWED_HOSTS": "stocks.example"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"],
        env={**os.environ, **production},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "no issues (0 silenced)" in done.stdout, done.stdout + done.stderr
