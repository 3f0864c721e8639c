"""The inner affairs of our own networks: products, attention and convolutions, features first, samples last.

Nothing outside `purerl.networks` needs to know them. On a CPU the last axis is the one that vector units run
over, so the batch belongs there; gradients are written out where XLA's own are slow.
"""
