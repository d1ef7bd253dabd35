"""The kernel: processes, memory, syscalls, policy. Knows devices only by the shape in `driver`."""
