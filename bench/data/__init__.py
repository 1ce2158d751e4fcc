"""Datasets: reading pictures, splitting them, and decoding each one once."""
