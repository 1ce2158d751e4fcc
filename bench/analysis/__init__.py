"""Statistics over stored results; never imports Keras."""
