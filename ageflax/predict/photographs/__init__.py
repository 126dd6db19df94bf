"""Test of a model on whole photographs: detect, choose the labelled face, cut, predict, compare."""
