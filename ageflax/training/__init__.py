"""Training and testing of a run: cross_validation (all folds) > run_fold > loop > step > loss."""
