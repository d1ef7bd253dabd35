"""The arena: models answer the same prompts, pairs of answers are compared, strengths follow.

contestants    who takes part: local files and configured models, and what is known of them
prompts        what they are asked
answers        what they said, kept so that a killed run goes on
battles        who won, in a file that only grows
matchmaker     which two should meet next, to learn most
voting         battles decided by a person (or by anybody who rates)
judge          battles decided by a model that is asked both ways round
checker        battles decided by what can be verified
style          how long an answer is and how it is laid out
bradley_terry  strengths out of battles, and how sure they are
leaderboard    all of it in one table
simulate       arenas that never were, to try all of it
gap            the best open model against the best closed one, over time
"""
