"""PyTorch and CUDA: which builds exist, what a machine can run, and whether an environment has the right one."""
