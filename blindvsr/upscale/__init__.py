"""`blindvsr upscale`: the command, the way from file to file, and the blur kernels over time."""
