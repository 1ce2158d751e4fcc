"""How fast Bench is, measured beside plain Keras scripts on the same machine in one run."""
