"""Measuring what a model can do: `cabin eval`.

scoring      numbers and words in answers, token F1, intervals: pure functions
suite        what a suite, a case and a verdict are
sets         the sets that are only measured on, verified
converse     a conversation with a model in a kernel of its own, and what is left of it after
templates, clinc, arithmetic, bfcl, xquad    suites that converse
logprob      summed log-probabilities through the engine
cloze        which of some candidates a sentence makes likeliest
blimp, facts, sums, text                     suites that score texts
results      verdicts in a file, so that an evaluation goes on where it was
run          cases to verdicts, many at once
emergence    some of them for every snapshot of a training run
"""
