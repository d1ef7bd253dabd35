"""Scaling laws: what a larger run will cost and reach, from many small ones.

shapes      models of any size between those that the depth gives
ladder      which runs to make under a compute budget
cost        seconds, energy and money, measured here or assumed for named hardware
work        the runs, one after the other or side by side, whoever is killed
points      (parameters, tokens, loss) from a ladder, a table or the stored set
law, fit    L = E + A / N^alpha + B / D^beta, with intervals
isoflop     the best size for each budget, by parabolas
journal     predictions that were written down before their runs
roadmap     the best size, tokens, time, energy and cost for a budget
draw, text  pictures as PNG and in the terminal
"""
