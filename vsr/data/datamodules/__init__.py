"""A LightningDataModule per kind of data."""
