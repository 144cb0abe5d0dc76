"""What a type checker says of a user's code: `accepted.py` and `refused.py` are checked, never run."""
