"""Search for the best chain of assistants in densely guided knowledge distillation."""
