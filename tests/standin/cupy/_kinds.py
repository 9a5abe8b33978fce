"""Which functions of CuPy behave in which way."""

from __future__ import annotations


def names(text: str) -> frozenset[str]:
    """The names in a text."""
    return frozenset(text.split())


CREATION = names(
    "arange array array_equal asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray bartlett "
    "blackman broadcast_shapes empty eye fromfunction fromiter full hamming hanning identity indices isscalar "
    "kaiser linspace logspace ones tri tril_indices triu_indices zeros diag_indices mask_indices meshgrid"
)
"""What need not get an array."""
PLAIN = names("can_cast common_type iscomplexobj isfortran isrealobj isscalar ndim result_type shape size")
"""What gives no array."""
WAITS = names(
    "argwhere bincount compress digitize extract flatnonzero histogram histogram2d histogramdd intersect1d nonzero "
    "setdiff1d setxor1d shares_memory trim_zeros union1d unique unique_all unique_counts unique_inverse "
    "unique_values percentile quantile place putmask"
)
"""What waits for the device."""
CUBLAS = names("dot einsum inner kron matmul outer tensordot vdot convolve correlate cov corrcoef polyfit")
"""What calls cuBLAS."""
WRITES = names("fill_diagonal place put putmask put_along_axis")
"""What changes its first argument."""
KEEP_ORDER = names("copy empty_like full_like ones_like zeros_like asfortranarray array asarray")
"""What gives the strides that NumPy gives."""
LEFT_OUT = names(
    "array2string array_repr array_str base_repr binary_repr format_float_positional format_float_scientific "
    "frombuffer fromfile fromstring genfromtxt load loadtxt save savetxt savez savez_compressed show_config "
    "apply_along_axis apply_over_axes piecewise"
)
"""What the stand-in does not emulate: no engine needs it on a device."""
