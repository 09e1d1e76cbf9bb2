"""Every network at equal training budgets on every kind of data: the runs, what they scored, the page that shows them."""
