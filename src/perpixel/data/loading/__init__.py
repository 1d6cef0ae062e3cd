"""From splits to batches: samplers, workers, the data module."""
