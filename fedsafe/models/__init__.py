"""A language model, its adapter and its generation; knows nothing of examples or safety."""
