"""IMDB-WIKI: crawled faces of public persons, with years and gender, in five folds by subject."""
