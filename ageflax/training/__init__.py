"""From a config to tested folds: all folds > one fold > the loop > the step > the loss."""
