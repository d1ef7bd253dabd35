"""Attacks on Cabin's own monitor, and on others in the same harness."""
