"""djongo's backend as this platform can use it: the ENGINE of the database alias ``history``.

djongo keeps one client per database name for all threads, closes it in whichever thread ends first, for ever, and takes
it along into forked processes, where a client of pymongo must not be used. Its translation of SQL is not used.
"""

from __future__ import annotations

import os
from typing import Any

from djongo import database as djongo_clients
from djongo.base import DatabaseWrapper as DjongoWrapper

os.register_at_fork(after_in_child=djongo_clients.clients.clear)


class DatabaseWrapper(DjongoWrapper):
    """A connection of one thread on the client of the whole process, which pools its sockets by itself."""

    def get_new_connection(self, connection_params: dict[str, Any]) -> Any:
        self.client_connection = None  # djongo would close what other threads are using
        return super().get_new_connection(dict(connection_params))

    def _close(self) -> None:
        """Leave the client open: it is everybody's."""
