"""Devices: one file each, an async function with a declared effect for each operation."""
