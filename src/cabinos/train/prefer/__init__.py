"""Stage 3, from comparisons: a reward model, and DPO."""
