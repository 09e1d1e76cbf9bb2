"""Tables made of many runs: what they are made of, the runs that are missing, the pages that show them."""
