"""Bench: measured answers about transfer learning with Keras' pretrained image models."""

__version__ = "0.1.0"
