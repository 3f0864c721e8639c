"""From a pure function to a compiled program: devices, XLA's options, branches by platform."""
