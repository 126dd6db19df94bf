"""Every face of a split through the network once, and what comes of it."""
