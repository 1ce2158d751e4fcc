"""Tables and reports made from stored results; never imports Keras."""
