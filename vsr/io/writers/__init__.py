"""Writers of super-resolved (SR) movies. An output appears complete or not at all, and a killed run can be continued."""
