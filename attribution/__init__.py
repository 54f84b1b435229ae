"""What was shown, and what came of it: facts, units, credit, cells and figures. Pure."""
