"""A graph as one compiled program: memory is assigned, steps run in one parallel region."""
