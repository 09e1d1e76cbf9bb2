"""What pages made of many runs share: the runs that are missing, how numbers and tables stand in Markdown, figures."""
