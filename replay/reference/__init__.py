"""What the event log means, read plainly: one thread, one event at a time, nothing let go. The oracle of the flows.

It shares the rules that give events their meaning (the schema, hashes, where a click comes from, what it pairs with),
and none of the arrays, kernels, bounds or shortcuts by which the flows compute the same.
"""
