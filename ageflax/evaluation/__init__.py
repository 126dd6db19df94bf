"""Any model on any dataset: which faces, in which classes, and the figures that come of them."""
