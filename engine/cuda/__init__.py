"""CUDA: sources compiled and launched, cuBLAS on a handle of our own, recorded steps as CUDA graphs."""
