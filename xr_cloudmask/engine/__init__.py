"""How a model meets a chunked array: the window lattice, the kernel of one task, the graph."""
