"""The report's tables, reproduced: the runs, their scores and the page."""
