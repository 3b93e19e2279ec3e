"""Forms of which every row is a record, one file for each."""
