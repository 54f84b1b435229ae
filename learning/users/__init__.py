"""Models for visitors with a history, and the evaluation that judges them. Offline: nothing here serves."""
