"""A suite's trials: worker processes, the runner and the store of results."""
