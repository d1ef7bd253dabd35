"""What a process runs: pure functions from (state, result) to (state, next syscall)."""
