"""Reports: what one contains, and how it is laid out as values, as a workbook and on pages."""
