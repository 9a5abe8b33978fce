"""Proofs of gradients: for our primitives, and for functions of your own."""
