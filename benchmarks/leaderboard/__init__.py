"""The leaderboard: training, scoring and tables of all networks at equal training budgets."""
