"""Training: modules, callbacks, budgets, resume."""
