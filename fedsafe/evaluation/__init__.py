"""What the model says, and what it is worth: outcomes, rates, intervals."""
