"""What a tensor is and how gradients flow; knows no single operation."""
