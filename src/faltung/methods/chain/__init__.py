"""Steps that run other steps, a band of rows at a time."""
