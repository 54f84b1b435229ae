"""The judge: looks at running experiments, says what their figures support, and stops or promotes where it may."""
