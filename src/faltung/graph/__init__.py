"""Networks as data: values, nodes, shapes; differentiation and fusion as passes over them."""
