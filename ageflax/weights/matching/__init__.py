"""Which of somebody else's tensors is which layer of ours, by name or by graph."""
