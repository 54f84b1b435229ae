"""What is wrong with a stack: facts are gathered at the edge, and judged by pure checks."""
