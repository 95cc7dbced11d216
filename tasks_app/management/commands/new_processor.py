"""``manage.py new_processor NAME --kind stream``: a processor that works, its registry entry and its test."""

from __future__ import annotations

import keyword
import re
from argparse import ArgumentParser
from pathlib import Path
from string import Template
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from tasks_app import registry

SCAFFOLD = Path(__file__).resolve().parents[2] / "scaffold"
FOLDERS = {"feed": "feeds", "stream": "stream", "batch": "batch"}


class Command(BaseCommand):
    help = "Write a new processor that works, its entry in processors.toml and its test."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="a-z, 0-9 and _, a letter first")
        parser.add_argument("--kind", choices=sorted(FOLDERS), default="stream")
        parser.add_argument("--root", type=Path, default=settings.BASE_DIR, help="the checkout to write to")

    def handle(self, *args: Any, name: str, kind: str, root: Path, **options: Any) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name) or keyword.iskeyword(name):
            raise CommandError(f"{name!r} is no name: expected a-z, 0-9 and _, a letter first, at most 41")
        listed = root / "processors.toml" if root != settings.BASE_DIR else settings.PROCESSORS_FILE
        try:
            known = registry.read(listed)
        except registry.RegistryError as error:
            raise CommandError(str(error)) from error
        if name in known:
            raise CommandError(f"{listed} has a processor {name} already")
        for path in write(name, kind, root, listed):
            self.stdout.write(f"wrote {path.relative_to(root) if path.is_relative_to(root) else path}")
        self.stdout.write(f"Next: bin/test -k {name}, then manage.py reload_processors")


def write(name: str, kind: str, root: Path, listed: Path) -> list[Path]:
    """Write source, test and entry and return the files; raise CommandError where one is there already."""
    folder = FOLDERS[kind]
    words = {
        "name": name,
        "cls": "".join(part.capitalize() for part in name.split("_")),
        "title": name.replace("_", " ").capitalize(),
        "module": f"processors.{folder}.{name}",
    }
    source = root / "processors" / folder / f"{name}.py"
    test = root / "tests" / "unit" / "processors" / f"test_{name}.py"
    for path in (source, test):
        if path.exists():
            raise CommandError(f"{path} is there already")
    for path, template in ((source, f"{kind}.py.txt"), (test, f"{kind}_test.py.txt")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template((SCAFFOLD / template).read_text()).substitute(words))
    (source.parent / "__init__.py").touch()
    with listed.open("a") as file:
        file.write(f'\n[{name}]\nclass = "{words["module"]}:{words["cls"]}"\nkind = "{kind}"\n')
    return [source, test, listed]
