"""Plots: `gallery` holds all of them; each module here draws some."""
