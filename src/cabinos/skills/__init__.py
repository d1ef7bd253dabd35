"""Skills: packages of instructions and checked knowledge, and the graph they make together."""
