"""Imports of recorded traffic from the layouts that its publishers ship, into the event-log file format.

An importer is one module with one object of the `Importer` protocol; `IMPORTERS` names them all.
"""

from replay.importers.globo import Globo
from replay.importers.layout import Broken, Hours, Imported, Importer, import_log

IMPORTERS: dict[str, Importer] = {importer.name: importer for importer in (Globo(),)}

__all__ = ["IMPORTERS", "Broken", "Globo", "Hours", "Imported", "Importer", "import_log"]
