"""Comparisons: which of two answers somebody preferred, collected and kept.

pair         a prompt, two answers, and which was preferred: the one format
formats      other people's formats, and back
log          lines that are never lost
chance       sides and repeats, from a seed
collect      the loop that asks a rater, whoever that is
labelling    what `cabin label` asks: blind sides, repeats, undo
agreement    whether a rater agrees with themselves, and which side they lean to
simulate     a rater that knows the truth and errs at a known rate
"""
