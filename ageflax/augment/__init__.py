"""Processing of pixels on the device, inside the jitted step."""
