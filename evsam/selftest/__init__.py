"""Checks of the CUDA kernels for whoever has the hardware: what ``evsam selftest --gpu`` runs."""
