"""Evaluation: predictions of any model on any dataset, and figures over them."""
