"""Results as pages, and two results compared."""
