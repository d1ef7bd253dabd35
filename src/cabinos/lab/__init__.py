"""Instruments: measure and look inside."""
