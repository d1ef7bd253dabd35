"""Cabin as a server of the Model Context Protocol: processes, memory and skills for any client."""
