"""Tables, figures and pages of scores."""
