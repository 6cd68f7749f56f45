"""Faltung inside PyTorch."""
