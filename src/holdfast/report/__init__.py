"""Self-contained HTML reports: one file that works from disk, without a network, with charts that
are also saved as pictures.
"""

from holdfast.report.charts import Chart
from holdfast.report.page import SEVERITIES, Details, Page, Section, Table, Tile
from holdfast.report.pair import Pair

__all__ = ["SEVERITIES", "Chart", "Details", "Page", "Pair", "Section", "Table", "Tile"]
