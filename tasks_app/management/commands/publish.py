"""``manage.py publish``: a feed's snapshots or a task's results into a Kafka topic, each once."""

from __future__ import annotations

import json
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import closing
from typing import Any, get_args

import redis
import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from processors.bus import Bus, connect
from processors.feeds.uniform import of_feed
from processors.kafka import KafkaSettingsError
from processors.publish import Format, Outgoing, Publisher, Stopped, snapshots
from tasks_app.models import Task
from tasks_app.results import Item, Results

log = structlog.get_logger()


class Command(BaseCommand):
    help = "Publish a feed's snapshots or a task's results to a Kafka topic. Goes on where it stood."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--feed", help="name of a feed; volume in shares")
        what.add_argument("--task", type=int, help="number of a task; a result per message, as JSON")
        parser.add_argument("--topic", required=True)
        parser.add_argument("--format", choices=get_args(Format), default="json", help="of a feed (%(default)s)")
        parser.add_argument("--all", action="store_true", help="the first time, begin with all that is held, not now")

    def handle(self, *args: Any, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopping.set())
        source = _Feed(options, stopping) if options["feed"] else _Task(options, stopping)
        try:
            with closing(Publisher(source.name, options["topic"], stopping)) as publisher:
                after = publisher.position()
                if after is None:
                    after = 0 if options["all"] else source.newest()
                self.stdout.write(f"publishing {source.name} to {options['topic']} after {after}")
                self.stdout.flush()
                for outgoing in source.after(after):
                    publisher.send(outgoing)
        except Stopped:
            return
        except KafkaSettingsError as error:
            raise CommandError(str(error)) from error


class _Feed:
    def __init__(self, options: dict[str, Any], stopping: threading.Event) -> None:
        self.name, self.stopping, self.kind = f"feed-{options['feed']}", stopping, options["format"]
        self.bus = Bus(connect(settings.REDIS_URL), options["feed"])
        spec = self.bus.spec()
        if spec is None:
            raise CommandError(f"feed {options['feed']} has published nothing yet: start it first")
        self.zone = spec.zone

    def newest(self) -> int:
        last = self.bus.last()
        return last.seq if last else 0

    def after(self, seq: int) -> Iterator[Outgoing]:
        yield from snapshots(of_feed(self.bus, seq, self.stopping), self.kind, self.zone)


class _Task:
    def __init__(self, options: dict[str, Any], stopping: threading.Event) -> None:
        self.task, self.stopping = options["task"], stopping
        self.name = f"task-{self.task}"
        self.results = Results(connect(settings.REDIS_URL))
        if not Task.objects.filter(pk=self.task).exists():
            raise CommandError(f"there is no task {self.task}")

    def newest(self) -> int:
        latest = self.results.latest(self.task)
        return int(latest.id.partition("-")[0]) if latest else 0

    def after(self, seq: int) -> Iterator[Outgoing]:
        while not self.stopping.is_set():
            for item in self._wait(seq):
                seq = int(item.id.partition("-")[0])
                told: dict[str, str | bytes | None] = {"task": str(self.task), "seq": str(seq)}
                yield Outgoing(seq, [(str(self.task).encode(), json.dumps(item.as_json()).encode())], told)

    def _wait(self, seq: int) -> list[Item]:
        try:
            return self.results.wait(self.task, f"{seq}-0", block_ms=200)
        except redis.RedisError as error:
            log.warning("redis does not answer, waiting", task_id=self.task, error=str(error))
            self.stopping.wait(0.5)
            return []
