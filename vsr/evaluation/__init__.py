"""What is done with scores: tables, confidence intervals, figures, files and a page to open in a browser."""
