"""The vendors there are, by name: of the whole market now, and which of them have bars and instruments as well."""

from __future__ import annotations

from processors.feeds.vendors.akshare import AKShare
from processors.feeds.vendors.archive import Archive
from processors.feeds.vendors.base import Vendor
from processors.feeds.vendors.realtime import EastMoney, Sina
from processors.feeds.vendors.tushare import Tushare

VENDORS: dict[str, type[Vendor]] = {each.name: each for each in (Tushare, AKShare, EastMoney, Sina)}
ARCHIVES: dict[str, type[Archive]] = {name: each for name, each in VENDORS.items() if issubclass(each, Archive)}
