"""Stage 3, from rewards: GRPO on tasks whose answers can be checked."""
