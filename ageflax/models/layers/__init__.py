"""The layers that the trunks are built of."""
