"""Many runs side by side: tables, plots and a page, refused where scores are not of the same pixels."""
