"""Imports of recorded traffic from the layouts that its publishers ship, into the event-log file format.

An importer is one module with one object of the `Importer` protocol; `IMPORTERS` names those that need no arguments.
"""

from connect.adapters import ADAPTERS
from replay.importers.collected import Collected
from replay.importers.diginetica import Diginetica
from replay.importers.globo import Globo
from replay.importers.layout import (
    Broken,
    Hours,
    Imported,
    ImportedItems,
    Importer,
    ItemsImporter,
    import_items,
    import_log,
)
from replay.importers.otto import Otto
from replay.importers.retailrocket import RetailRocket
from replay.importers.table import ColumnMap, MappedTable
from replay.importers.trivago import Trivago
from replay.importers.yoochoose import YooChoose

IMPORTERS: dict[str, Importer] = {
    importer.name: importer for importer in (Globo(), RetailRocket(), Diginetica(), YooChoose(), Otto(), Trivago())
} | {vendor: Collected(vendor) for vendor in ADAPTERS}

__all__ = [
    "IMPORTERS",
    "Broken",
    "Collected",
    "ColumnMap",
    "Diginetica",
    "Globo",
    "Hours",
    "Imported",
    "ImportedItems",
    "Importer",
    "ItemsImporter",
    "MappedTable",
    "Otto",
    "RetailRocket",
    "Trivago",
    "YooChoose",
    "import_items",
    "import_log",
]
