"""A graph as one compiled program: memory placed, steps listed, one parallel region."""
