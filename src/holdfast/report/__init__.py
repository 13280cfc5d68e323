"""Self-contained HTML reports: one file that works from disk, without a network, with charts that are also saved as pictures."""

from holdfast.report.charts import Chart
from holdfast.report.page import Details, Page, Section, Table, Tile

__all__ = ["Chart", "Details", "Page", "Section", "Table", "Tile"]
