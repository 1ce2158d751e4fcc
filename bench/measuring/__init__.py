"""What a trial costs: throughput, memory, FLOPs."""
