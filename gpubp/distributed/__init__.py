"""Training in several processes, on one machine or many: each has a share of every batch, and gradients are summed."""
