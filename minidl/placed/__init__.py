"""A step whose ops have an order and whose tensors have places: its data, its file, its proof."""
